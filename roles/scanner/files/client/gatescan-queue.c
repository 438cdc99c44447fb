/*
 * gatescan-queue: what qmail runs as $QMAILQUEUE. It stands in for qmail-queue(8).
 *
 *   descriptor 0  the message, to end of file           descriptor 1  then the envelope: F..\0 T..\0 ... \0
 *
 * Both go into memory files. When the envelope is whole, and only then, the two are handed to the scanner's
 * daemon over a unix socket, and one reply comes back: pass, held, or an exit code of qmail-queue. To pass a
 * message on, this process becomes the next queue program: same process id, whose exit status (or signal) is
 * what the caller sees. So a message is acknowledged by the queue itself or by the quarantine, and by nothing else.
 *
 *   gatescan-queue [PROGRAM ARGUMENT...]   the next queue program, else $GATESCAN_NEXT, else qmail-queue
 *   qmail-scanner-queue -g | -r | -v | -h | -z   as in qmail-scanner; becomes the gatescan command
 *
 * Environment: GATESCAN_SOCKET, GATESCAN_NEXT, GATESCAN_TIMEOUT (seconds to wait for the verdict), and
 * GATESCAN_TEXT_FD: the descriptor on which the caller reads a refusal's text (6 for notqmail, 4 for netqmail
 * with the custom error patch). Without it no text is sent. The next program inherits that descriptor, and
 * no other one above 2.
 *
 * Build: cc -O2 -Wall -Wextra -Werror -static -no-pie -o gatescan-queue gatescan-queue.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef GATESCAN_SOCKET
#define GATESCAN_SOCKET "/run/gatescan/gatescan.sock"
#endif
#ifndef GATESCAN_PROGRAM
#define GATESCAN_PROGRAM "/usr/local/bin/gatescan"
#endif
#ifndef GATESCAN_NEXT
#define GATESCAN_NEXT "/var/qmail/bin/qmail-queue"
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* Exit codes of qmail-queue(8) that this program gives itself. */
enum {
  ADDRESS_TOO_LONG = 11,
  REFUSED = 31,
  GAVE_UP = 52,
  WRITE_ERROR = 53,
  READ_ERROR = 54,
  TRY_AGAIN = 71,
  TIMED_OUT = 72,
  TEXT_FOLLOWS = 82,
  BAD_ENVELOPE = 91,
  NO_NEXT = 120
};

enum {
  VERSION = 1,                     /* of the talk with the daemon, see protocol.py */
  HEADER_ROOM = 4096,              /* bytes kept free in front of the message for the daemon's header lines */
  ADDRESS_LIMIT = 1003,            /* as in qmail-queue: an address and its NUL */
  ENVELOPE_LIMIT = 64 << 20,       /* bytes; some two million recipients */
  LAST_RESORT = 86400,             /* seconds, as qmail-queue's own */
  DEFAULT_TIMEOUT = 240,           /* seconds; well under what SMTP clients wait after the final dot */
  WHOLE_MESSAGE_WAIT = 20,         /* milliseconds, see read_message */
  PIPE_SIZE = 1 << 17,             /* bytes */
  VALUE_LIMIT = 512,               /* bytes of one variable; the remote host's name is the sender's to choose */
  TEXT_LIMIT = 255,                /* bytes that qmail-smtpd reads */
  REPLY_HEAD = 8                   /* bytes: version, code, start (4), length of the text (2) */
};

/* What the daemon is told of the caller. */
static const char *const reported[] = {
  "PROTO", "TCPREMOTEIP", "TCPREMOTEHOST", "TCPREMOTEINFO", "TCPREMOTEPORT", "TCPLOCALIP", "TCPLOCALHOST",
  "TCPLOCALPORT", "RELAYCLIENT", "SMTPAUTHUSER", "QS_SPAMASSASSIN", "GATESCAN_POLICY"
};
#define REPORTED (sizeof reported / sizeof *reported)

static char buffer[1 << 16];
static int text_fd = -1;

static void gave_up(int signal_number)
{
  (void) signal_number;
  _exit(GAVE_UP);
}

/* A number from the environment, or `fallback` if it is absent or not from 1 to `limit`. */
static int number(const char *name, int fallback, int limit)
{
  const char *value = getenv(name);
  char *end;
  long n;

  if (!value || !*value) return fallback;
  n = strtol(value, &end, 10);
  return *end || n < 1 || n > limit ? fallback : (int) n;
}

static void close_all_between(unsigned first, unsigned last)
{
  if (first > last || close_range(first, last, 0) == 0) return;
  for (unsigned fd = first; fd <= last && fd < 1024; ++fd) close((int) fd);
}

/* What the caller left open above 2 is not ours to keep: it could make the caller wait for an end of file. */
static void close_inherited(void)
{
  if (text_fd < 3) {
    close_all_between(3, ~0U);
    return;
  }
  close_all_between(3, (unsigned) text_fd - 1);
  close_all_between((unsigned) text_fd + 1, ~0U);
}

static int memory_file(const char *name)
{
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);

  if (fd == -1 && errno == EINVAL) fd = memfd_create(name, flags); /* Linux before 6.3 */
  if (fd == -1) _exit(WRITE_ERROR);
  return fd;
}

static void write_all(int fd, const char *data, size_t length)
{
  while (length) {
    ssize_t n = write(fd, data, length);
    if (n == -1 && errno == EINTR) continue;
    if (n <= 0) _exit(WRITE_ERROR);
    data += n;
    length -= (size_t) n;
  }
}

static size_t read_some(int fd, char *data, size_t length)
{
  ssize_t n;

  do n = read(fd, data, length);
  while (n == -1 && errno == EINTR);
  if (n == -1) _exit(READ_ERROR);
  return (size_t) n;
}

/*
 * Descriptor 0 to end of file, behind HEADER_ROOM bytes of zeros.
 * qmail-smtpd writes a kilobyte at a time. To be woken for each would cost more than all the rest here, so
 * sleep until the writer is done (no event but a hang-up is asked for), or until it has had a moment to fill the pipe.
 */
static int read_message(void)
{
  int fd = memory_file("message");
  struct pollfd writer = { .fd = 0, .events = 0 };
  ssize_t n;

  if (ftruncate(fd, HEADER_ROOM) == -1 || lseek(fd, HEADER_ROOM, SEEK_SET) == -1) _exit(WRITE_ERROR);
  if (fcntl(0, F_SETPIPE_SZ, PIPE_SIZE) > 0) poll(&writer, 1, WHOLE_MESSAGE_WAIT);
  while ((n = splice(0, NULL, fd, NULL, 1 << 20, SPLICE_F_MOVE)) != 0) {
    if (n > 0 || errno == EINTR) continue;
    if (errno == EINVAL) break; /* not a pipe */
    _exit(errno == ENOSPC || errno == ENOMEM || errno == EFBIG ? WRITE_ERROR : READ_ERROR);
  }
  if (n == -1)
    for (size_t length; (length = read_some(0, buffer, sizeof buffer)) != 0;) write_all(fd, buffer, length);
  return fd;
}

/* Descriptor 1 to the envelope's final NUL. Until that is read there is no message: end here, tell nobody. */
static int read_envelope(void)
{
  enum { SENDER_MARK, ADDRESS, RECIPIENT_MARK } expected = SENDER_MARK;
  int fd = memory_file("envelope");
  size_t address = 0, total = 0;

  for (;;) {
    size_t length = read_some(1, buffer, sizeof buffer);
    if (!length) _exit(BAD_ENVELOPE);
    total += length;
    if (total > ENVELOPE_LIMIT) _exit(REFUSED);
    for (size_t i = 0; i < length; ++i) {
      const char byte = buffer[i];
      switch (expected) {
      case ADDRESS:
        if (!byte) expected = RECIPIENT_MARK;
        else if (++address >= ADDRESS_LIMIT) _exit(ADDRESS_TOO_LONG);
        break;
      case RECIPIENT_MARK:
        if (!byte) {
          write_all(fd, buffer, i + 1);
          return fd;
        }
        /* fallthrough */
      case SENDER_MARK:
        if (byte != (expected == SENDER_MARK ? 'F' : 'T')) _exit(BAD_ENVELOPE);
        expected = ADDRESS;
        address = 0;
      }
    }
    write_all(fd, buffer, length);
  }
}

/* The request's text: the version, then NAME=VALUE and a NUL for each reported variable that is set. */
static size_t request_text(char *text)
{
  char *end = text;

  *end++ = VERSION;
  for (size_t i = 0; i < REPORTED; ++i) {
    const char *value = getenv(reported[i]);
    if (!value) continue;
    end = stpcpy(end, reported[i]);
    *end++ = '=';
    end = mempcpy(end, value, strnlen(value, VALUE_LIMIT));
    *end++ = '\0';
  }
  return (size_t) (end - text);
}

static void send_request(int daemon, int message, int envelope)
{
  static char text[1 + REPORTED * (32 + VALUE_LIMIT)];
  struct iovec body = { .iov_base = text, .iov_len = request_text(text) };
  union {
    struct cmsghdr head;
    char space[CMSG_SPACE(2 * sizeof(int))];
  } control = { 0 };
  struct msghdr packet = {
    .msg_iov = &body, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space
  };
  const int files[2] = { message, envelope };

  control.head.cmsg_level = SOL_SOCKET;
  control.head.cmsg_type = SCM_RIGHTS;
  control.head.cmsg_len = CMSG_LEN(sizeof files);
  memcpy(CMSG_DATA(&control.head), files, sizeof files);
  if (sendmsg(daemon, &packet, MSG_NOSIGNAL) == -1) _exit(TRY_AGAIN);
}

/* Hand both files to the daemon; its reply is left in `reply`, checked, with a NUL behind the text. */
static void ask(int message, int envelope, unsigned char *reply, size_t space)
{
  const char *path = getenv("GATESCAN_SOCKET");
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  struct pollfd answer = { .events = POLLIN };
  const int timeout = number("GATESCAN_TIMEOUT", DEFAULT_TIMEOUT, 3600);
  ssize_t n;
  int ready;

  if (!path || !*path) path = GATESCAN_SOCKET;
  if (strlen(path) >= sizeof address.sun_path) _exit(TRY_AGAIN);
  strcpy(address.sun_path, path);
  answer.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (answer.fd == -1) _exit(TRY_AGAIN);
  /* Nobody there, or no room to wait in: the caller hears it at once. */
  if (connect(answer.fd, (struct sockaddr *) &address, sizeof address) == -1) _exit(TRY_AGAIN);
  send_request(answer.fd, message, envelope);

  alarm((unsigned) timeout + 5); /* last resort: what follows has a timeout of its own */
  do ready = poll(&answer, 1, timeout * 1000);
  while (ready == -1 && errno == EINTR);
  if (ready == 0) _exit(TIMED_OUT);
  n = recv(answer.fd, reply, space - 1, MSG_TRUNC);
  if (n < REPLY_HEAD || (size_t) n >= space || reply[0] != VERSION) _exit(TRY_AGAIN);
  if (n - REPLY_HEAD != (reply[6] | reply[7] << 8)) _exit(TRY_AGAIN);
  reply[n] = '\0';
}

/* A refusal: `text` to the caller, if it reads one, else the plain code of the same class. */
static _Noreturn void refuse(int code, const char *text)
{
  const int permanent = code >= 11 && code <= 40;
  struct stat at;
  size_t length = strlen(text);

  if (!length) _exit(code);
  if (text_fd == -1 || fstat(text_fd, &at) == -1 || !S_ISFIFO(at.st_mode)) _exit(permanent ? REFUSED : TRY_AGAIN);
  if (length > TEXT_LIMIT) length = TEXT_LIMIT;
  signal(SIGPIPE, SIG_IGN);
  if (write(text_fd, text, length) != (ssize_t) length) _exit(permanent ? REFUSED : TRY_AGAIN);
  _exit(TEXT_FOLLOWS);
}

/* Become the next queue program, the message from `start` on its descriptor 0, the envelope on 1. */
static _Noreturn void pass_on(int message, uint32_t start, int envelope, char **next)
{
  const char *program = getenv("GATESCAN_NEXT");
  char *alone[2] = { (char *) (program && *program ? program : GATESCAN_NEXT), NULL };

  if (lseek(message, start, SEEK_SET) == -1 || lseek(envelope, 0, SEEK_SET) == -1) _exit(READ_ERROR);
  if (dup2(message, 0) == -1 || dup2(envelope, 1) == -1) _exit(READ_ERROR);
  alarm(0);
  if (!*next) next = alone;
  execv(*next, next);
  _exit(NO_NEXT);
}

/* The options of qmail-scanner-queue: become `gatescan` with the words that mean the same today. */
static _Noreturn void become_command(const char *option)
{
  static const struct { char letter; const char *words[2]; } commands[] = {
    { 'g', { "rules", "build" } }, { 'r', { "rules", "list" } }, { 'v', { "version", NULL } },
    { 'z', { "version", NULL } }, { 'h', { "--help", NULL } }
  };

  for (size_t i = 0; i < sizeof commands / sizeof *commands; ++i)
    if (option[1] == commands[i].letter && !option[2])
      execl(GATESCAN_PROGRAM, "gatescan", commands[i].words[0], commands[i].words[1], (char *) NULL);
  _exit(NO_NEXT);
}

int main(int argc, char **argv)
{
  static unsigned char reply[REPLY_HEAD + 1024];
  int message, envelope;
  uint32_t start;

  if (argc > 1 && argv[1][0] == '-') become_command(argv[1]);
  text_fd = number("GATESCAN_TEXT_FD", -1, 255);
  close_inherited();
  signal(SIGALRM, gave_up);
  alarm(LAST_RESORT);

  message = read_message();
  envelope = read_envelope();
  if (fcntl(message, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == -1) _exit(WRITE_ERROR);
  if (fcntl(envelope, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == -1) _exit(WRITE_ERROR);
  ask(message, envelope, reply, sizeof reply);

  start = reply[2] | reply[3] << 8 | reply[4] << 16 | (uint32_t) reply[5] << 24;
  if (reply[1]) refuse(reply[1], (char *) reply + REPLY_HEAD);
  if (!start) _exit(0); /* held: the quarantine has it */
  pass_on(message, start, envelope, argv + 1);
}

/*
 * gatescan-queue: what qmail runs as $QMAILQUEUE. It stands in for qmail-queue(8).
 *
 *   descriptor 0  the message, to end of file           descriptor 1  then the envelope: F..\0 T..\0 ... \0
 *
 * Both go into memory files; a message of more than SPILL bytes goes into a file without a name in the spool, so that
 * many large ones do not take the host's memory, and one of more bytes than may be is refused. When the envelope is
 * whole, and only then, the two are handed to the scanner's daemon over a unix socket, and one reply comes back: pass, held, or an exit code of qmail-queue. To pass a
 * message on, this process becomes the next queue program: same process id, whose exit status (or signal) is
 * what the caller sees. So a message is acknowledged by the queue itself or by the quarantine, and by nothing else.
 *
 *   gatescan-queue [PROGRAM ARGUMENT...]   the next queue program, else $GATESCAN_NEXT, else qmail-queue
 *   qmail-scanner-queue -g | -r | -v | -h | -z   as in qmail-scanner; becomes the gatescan command
 *
 * With GATESCAN_AUTH, the path of gatekeeper's socket, a stranger's message is first shown there in the same way: who is
 * it from? The answer goes on to the daemon as GATEKEEPER_AUTH. So nobody but this process waits for name servers.
 *
 * RELAYSENDERS, beside RELAYCLIENT, names for whom a relay client sends (domains, `.domain` for all below it, addresses,
 * with blanks between them). A message of anybody else's is a stranger's: it goes on without RELAYCLIENT.
 *
 * Environment: GATESCAN_AUTH, GATESCAN_SOCKET, GATESCAN_NEXT, GATESCAN_SPOOL, GATESCAN_TIMEOUT (seconds to wait for the
 * verdict), DATABYTES, else GATESCAN_DATABYTES (bytes of the largest message, as qmail-smtpd knows it), and
 * GATESCAN_TEXT_FD: the descriptor on which the caller reads a refusal's text (6 for notqmail, 4 for netqmail
 * with the custom error patch). Without it no text is sent. The next program inherits that descriptor, and
 * no other one above 2.
 *
 * Build: make, by the Makefile beside this file.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "bare.h"

#ifndef GATESCAN_SOCKET
#define GATESCAN_SOCKET "/run/gatescan/gatescan.sock"
#endif
#ifndef GATESCAN_PROGRAM
#define GATESCAN_PROGRAM "/usr/local/bin/gatescan"
#endif
#ifndef GATESCAN_NEXT
#define GATESCAN_NEXT "/var/qmail/bin/qmail-queue"
#endif
#ifndef GATESCAN_SPOOL
#define GATESCAN_SPOOL "/var/spool/gatescan/incoming"
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* Exit codes of qmail-queue(8) that this program gives itself. */
enum {
  ADDRESS_TOO_LONG = 11,
  REFUSED = 31,
  WRITE_ERROR = 53,
  READ_ERROR = 54,
  TRY_AGAIN = 71,
  TIMED_OUT = 72,
  TEXT_FOLLOWS = 82,
  BAD_ENVELOPE = 91,
  NO_NEXT = 120
};

enum {
  VERSION = 1,              /* of the talk with the daemon, see protocol.py */
  HEADER_ROOM = 4096,       /* bytes kept free in front of the message for the daemon's header lines */
  ADDRESS_LIMIT = 1003,     /* as in qmail-queue: an address and its NUL */
  ENVELOPE_LIMIT = 8 << 20, /* bytes; some two hundred thousand recipients */
  SPILL = 4 << 20,          /* bytes of a message that are kept in memory */
  DATABYTES = 100000000,    /* bytes of the largest message, if nobody says otherwise */
  LARGEST = 240000000,      /* and whatever anybody says; the daemon takes a little more */
  DATA_ROOM = 1 << 20,      /* bytes beyond qmail-smtpd's own limit: it answers 552, and adds a line */
  LAST_RESORT = 86400,      /* seconds, as qmail-queue's own: then SIGALRM ends this, a crash to the caller */
  AUTH_TIMEOUT = 60,        /* seconds to wait for gatekeeper, which answers within 40 */
  AUTH_LIMIT = 512,         /* bytes of its answer */
  DEFAULT_TIMEOUT = 240,    /* seconds; well under what SMTP clients wait after the final dot */
  WHOLE_MESSAGE_WAIT = 20,  /* milliseconds, see read_message */
  PIPE_SIZE = 1 << 17,      /* bytes */
  VALUE_LIMIT = 512,        /* bytes of one variable; the remote host's name is the sender's to choose */
  SENDER_LIMIT = 1100,      /* bytes of the envelope in which its sender stands */
  TEXT_LIMIT = 255,         /* bytes that qmail-smtpd reads */
  REPLY_HEAD = 8            /* bytes: version, code, start (4), length of the text (2) */
};

/* What the daemon is told of the caller. */
static const char *const reported[] = {
  "PROTO",        "TCPREMOTEIP",  "TCPREMOTEHOST",   "TCPREMOTEINFO",   "TCPREMOTEPORT",
  "TCPLOCALIP",   "TCPLOCALHOST", "TCPLOCALPORT",    "RELAYCLIENT",     "SMTPAUTHUSER",
  "SSL_PROTOCOL", "SSL_CIPHER",   "QS_SPAMASSASSIN", "GATESCAN_POLICY",
};
#define REPORTED (sizeof reported / sizeof *reported)

static char **environment;
static char buffer[1 << 16];
static int text_fd = -1;
static const char *authentication; /* what gatekeeper says of the message; NULL if it was not asked */

/* A variable's value, or `fallback` if it is absent or empty. */
static const char *setting(const char *name, const char *fallback)
{
  const char *value = variable(environment, name);

  return value && *value ? value : fallback;
}

/* A number from the environment, or `fallback` if it is absent or not from 1 to `limit`. */
static int number(const char *name, int fallback, int limit)
{
  const char *value = setting(name, "");
  int n = 0;

  for (; *value >= '0' && *value <= '9' && n <= limit; ++value) n = n * 10 + *value - '0';
  return *value || n < 1 || n > limit ? fallback : n;
}

static void end_after(int seconds)
{
  const struct itimerval timer = { .it_value = { .tv_sec = seconds } };

  CALL(SYS_setitimer, ITIMER_REAL, &timer, NULL);
}

/* Wait for `events`, or a hang-up, on a descriptor; 0 when so many milliseconds have passed. */
static long wait_for(int fd, short events, int milliseconds)
{
  struct pollfd one = { .fd = fd, .events = events };
  struct timespec left = { .tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L };
  long ready;

  do ready = CALL(SYS_ppoll, &one, 1, &left, NULL); /* the kernel takes what has passed off `left` */
  while (ready == -EINTR);
  return ready;
}

static void close_between(unsigned first, unsigned last)
{
  if (first > last || CALL(SYS_close_range, first, last, 0) == 0) return;
  for (unsigned fd = first; fd <= last && fd < 1024; ++fd) CALL(SYS_close, fd); /* Linux before 5.9 */
}

/* What the caller left open above 2 is not ours to keep: it could make the caller wait for an end of file. */
static void close_inherited(void)
{
  if (text_fd < 3) {
    close_between(3, ~0U);
    return;
  }
  close_between(3, (unsigned) text_fd - 1);
  close_between((unsigned) text_fd + 1, ~0U);
}

static int memory_file(const char *name)
{
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  long fd = CALL(SYS_memfd_create, name, flags | MFD_NOEXEC_SEAL);

  if (fd == -EINVAL) fd = CALL(SYS_memfd_create, name, flags); /* Linux before 6.3 */
  if (fd < 0) leave(WRITE_ERROR);
  return (int) fd;
}

/* A refusal: `text` to the caller, if it reads one, else the plain code of the same class. */
static _Noreturn void refuse(int code, const char *text);

/* A file without a name in the spool. Not every file system has O_TMPFILE. */
static int spool_file(void)
{
  const char *spool = setting("GATESCAN_SPOOL", GATESCAN_SPOOL);
  const size_t length = length_of(spool, sizeof buffer / 2);
  long fd = CALL(SYS_openat, AT_FDCWD, spool, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
  char *end;

  if (fd != -EOPNOTSUPP && fd != -EISDIR) {
    if (fd < 0) leave(WRITE_ERROR);
    return (int) fd;
  }
  end = append(append(buffer, spool, length), "/", 1);
  for (unsigned long pid = (unsigned long) CALL(SYS_getpid, 0); pid; pid /= 10) *end++ = (char) ('0' + pid % 10);
  *end = '\0';
  fd = CALL(SYS_openat, AT_FDCWD, buffer, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0 || CALL(SYS_unlinkat, AT_FDCWD, buffer, 0) < 0) leave(WRITE_ERROR);
  return (int) fd;
}

/* Bytes of the largest message: qmail-smtpd's own limit, and some room so that it is the one to answer. */
static long largest(void)
{
  const int told = number("DATABYTES", number("GATESCAN_DATABYTES", DATABYTES, INT32_MAX), INT32_MAX);

  return (told < LARGEST - DATA_ROOM ? told + DATA_ROOM : LARGEST);
}

static void write_all(int fd, const char *data, size_t length)
{
  while (length) {
    long n = CALL(SYS_write, fd, data, length);
    if (n == -EINTR) continue;
    if (n <= 0) leave(WRITE_ERROR);
    data += n;
    length -= (size_t) n;
  }
}

static size_t read_some(int fd, char *data, size_t length)
{
  long n;

  do n = CALL(SYS_read, fd, data, length);
  while (n == -EINTR);
  if (n < 0) leave(READ_ERROR);
  return (size_t) n;
}

/* What a memory file holds, in a file of the spool that stands at its end; the memory is free again. */
static int moved_to_spool(int memory)
{
  const int fd = spool_file();
  long n;

  if (CALL(SYS_lseek, memory, 0, SEEK_SET) < 0) leave(READ_ERROR);
  while ((n = CALL(SYS_sendfile, fd, memory, NULL, 1 << 30)) != 0)
    if (n < 0 && n != -EINTR) leave(WRITE_ERROR);
  CALL(SYS_close, memory);
  return fd;
}

/*
 * Descriptor 0 to end of file, behind HEADER_ROOM bytes of zeros.
 * qmail-smtpd writes a kilobyte at a time. To be woken for each would cost more than all the rest here, so
 * sleep until the writer is done (no event but a hang-up is asked for), or until it has had a moment to fill
 * the pipe.
 */
static int read_message(int *spooled)
{
  const long limit = largest();
  int fd = memory_file("message");
  long n, total = 0, pipe = 1;

  if (CALL(SYS_ftruncate, fd, HEADER_ROOM) < 0 || CALL(SYS_lseek, fd, HEADER_ROOM, SEEK_SET) < 0) leave(WRITE_ERROR);
  if (CALL(SYS_fcntl, 0, F_SETPIPE_SZ, PIPE_SIZE) > 0) wait_for(0, 0, WHOLE_MESSAGE_WAIT);
  *spooled = 0;
  for (;;) {
    if (pipe) {
      n = CALL(SYS_splice, 0, NULL, fd, NULL, 1 << 20, SPLICE_F_MOVE);
      if (n == -EINTR) continue;
      if (n == -EINVAL) {
        pipe = 0; /* something else */
        continue;
      }
      if (n < 0) leave(n == -ENOSPC || n == -ENOMEM || n == -EFBIG || n == -EDQUOT ? WRITE_ERROR : READ_ERROR);
    } else {
      n = (long) read_some(0, buffer, sizeof buffer);
      write_all(fd, buffer, (size_t) n);
    }
    if (n == 0) return fd;
    total += n;
    if (total > limit) refuse(REFUSED, "Dsorry, that message size exceeds my limit (#5.3.4)");
    if (total > SPILL && !*spooled) {
      fd = moved_to_spool(fd);
      *spooled = 1;
    }
  }
}

/* Descriptor 1 to the envelope's final NUL. Until that is read there is no message: end here, tell nobody. */
static int read_envelope(void)
{
  enum { SENDER_MARK, ADDRESS, RECIPIENT_MARK } expected = SENDER_MARK;
  int fd = memory_file("envelope");
  size_t address = 0, total = 0;

  for (;;) {
    size_t length = read_some(1, buffer, sizeof buffer);
    if (!length) leave(BAD_ENVELOPE);
    total += length;
    if (total > ENVELOPE_LIMIT) leave(REFUSED);
    for (size_t i = 0; i < length; ++i) {
      const char byte = buffer[i];
      switch (expected) {
      case ADDRESS:
        if (!byte) expected = RECIPIENT_MARK;
        else if (++address >= ADDRESS_LIMIT) leave(ADDRESS_TOO_LONG);
        break;
      case RECIPIENT_MARK:
        if (!byte) {
          write_all(fd, buffer, i + 1);
          return fd;
        }
        /* fallthrough */
      case SENDER_MARK:
        if (byte != (expected == SENDER_MARK ? 'F' : 'T')) leave(BAD_ENVELOPE);
        expected = ADDRESS;
        address = 0;
      }
    }
    write_all(fd, buffer, length);
  }
}

/* Neither file can be cut off, or grow, under the daemon's feet. */
static void seal(int fd)
{
  if (CALL(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) leave(WRITE_ERROR);
}

/* The request's text: the version, then NAME=VALUE and a NUL for each reported variable that is set. */
static size_t request_text(char *text)
{
  char *end = text;

  *end++ = VERSION;
  for (size_t i = 0; i < REPORTED; ++i) {
    const char *value = variable(environment, reported[i]);
    if (!value) continue;
    end = append(end, reported[i], length_of(reported[i], VALUE_LIMIT));
    *end++ = '=';
    end = append(end, value, length_of(value, VALUE_LIMIT));
    *end++ = '\0';
  }
  if (authentication) {
    end = append(end, "GATEKEEPER_AUTH=", 16);
    end = append(end, authentication, length_of(authentication, AUTH_LIMIT));
    *end++ = '\0';
  }
  return (size_t) (end - text);
}

static void send_request(int daemon, int message, int envelope)
{
  static char text[1 + REPORTED * (32 + VALUE_LIMIT) + 32 + AUTH_LIMIT];
  static union {
    struct cmsghdr head;
    char space[CMSG_SPACE(2 * sizeof(int))];
  } control;
  struct iovec body = { .iov_base = text, .iov_len = request_text(text) };
  struct msghdr packet = {
    .msg_iov = &body, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space
  };
  int *files = (int *) (void *) CMSG_DATA(&control.head);

  control.head.cmsg_level = SOL_SOCKET;
  control.head.cmsg_type = SCM_RIGHTS;
  control.head.cmsg_len = CMSG_LEN(2 * sizeof(int));
  files[0] = message;
  files[1] = envelope;
  if (CALL(SYS_sendmsg, daemon, &packet, MSG_NOSIGNAL) < 0) leave(TRY_AGAIN);
}

/* Hand both files to who listens at `path`; the reply is left in `reply`, checked, with a NUL behind the text. */
static void ask(const char *path, int timeout, int message, int envelope, unsigned char *reply, size_t space)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  const size_t length = length_of(path, sizeof address.sun_path);
  const int daemon = (int) CALL(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  long n;

  if (daemon < 0 || length == sizeof address.sun_path) leave(TRY_AGAIN);
  append(address.sun_path, path, length);
  /* Nobody there, or no room to wait in: the caller hears it at once. */
  if (CALL(SYS_connect, daemon, &address, sizeof address) < 0) leave(TRY_AGAIN);
  send_request(daemon, message, envelope);

  if (wait_for(daemon, POLLIN, timeout * 1000) == 0) leave(TIMED_OUT);
  n = CALL(SYS_recvfrom, daemon, reply, space - 1, MSG_TRUNC, NULL, NULL);
  if (n < REPLY_HEAD || (size_t) n >= space || reply[0] != VERSION) leave(TRY_AGAIN);
  if (n - REPLY_HEAD != (reply[6] | reply[7] << 8)) leave(TRY_AGAIN);
  reply[n] = '\0';
  CALL(SYS_close, daemon);
}

static int is_pipe(int fd)
{
  struct stat at;

#ifdef SYS_newfstatat
  return CALL(SYS_newfstatat, fd, "", &at, AT_EMPTY_PATH) == 0 && S_ISFIFO(at.st_mode);
#else
  return fstat(fd, &at) == 0 && S_ISFIFO(at.st_mode);
#endif
}

static _Noreturn void refuse(int code, const char *text)
{
  const int plain = code >= 11 && code <= 40 ? REFUSED : TRY_AGAIN;
  const size_t length = length_of(text, TEXT_LIMIT);

  if (!length) leave(code);
  if (text_fd == -1 || !is_pipe(text_fd)) leave(plain);
  if (CALL(SYS_write, text_fd, text, length) != (long) length) leave(plain);
  leave(TEXT_FOLLOWS);
}

/* Become the next queue program, the message from `from` on its descriptor 0, the envelope on 1. */
static _Noreturn void pass_on(int message, uint32_t from, int envelope, char **next)
{
  const char *alone[2] = { setting("GATESCAN_NEXT", GATESCAN_NEXT), NULL };

  if (CALL(SYS_lseek, message, from, SEEK_SET) < 0 || CALL(SYS_lseek, envelope, 0, SEEK_SET) < 0) leave(READ_ERROR);
  if (CALL(SYS_dup3, message, 0, 0) < 0 || CALL(SYS_dup3, envelope, 1, 0) < 0) leave(READ_ERROR);
  end_after(0);
  if (*next) CALL(SYS_execve, *next, next, environment);
  else CALL(SYS_execve, *alone, alone, environment);
  leave(NO_NEXT);
}

/* The same file for somebody who may not write to it, and cannot open it anew either. */
static int only_to_read(int fd)
{
  char path[32] = "/proc/self/fd/";
  char *end = path + 14;
  long read_only;

  if (fd >= 100) *end++ = (char) ('0' + fd / 100 % 10);
  if (fd >= 10) *end++ = (char) ('0' + fd / 10 % 10);
  *end++ = (char) ('0' + fd % 10);
  *end = '\0';
  if (CALL(SYS_fchmod, fd, 0600) < 0) leave(TRY_AGAIN);
  read_only = CALL(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (read_only < 0) leave(TRY_AGAIN);
  return (int) read_only;
}

static int is_same(const char *a, const char *b, size_t length)
{
  for (size_t i = 0; i < length; ++i) {
    const char upper = 'A' <= b[i] && b[i] <= 'Z' ? (char) (b[i] + 'a' - 'A') : b[i];

    if (a[i] != upper) return 0;
  }
  return 1;
}

/* Whether an entry of RELAYSENDERS, in lower case, names a sender whose domain has so many bytes. */
static int names(const char *entry, size_t length, const char *sender, size_t size, size_t domain)
{
  int is_address = 0;

  for (size_t i = 0; i < length; ++i) is_address |= entry[i] == '@';
  if (*entry == '.') return domain > length && is_same(entry, sender + size - length, length);
  return length == (is_address ? size : domain) && is_same(entry, sender + size - length, length);
}

/* Whether a relay client sends for whom it may. Bounces, and qmail's bounces of bounces, it always may. */
static int is_spoken_for(const char *sender, size_t size, const char *entries)
{
  size_t domain = 0;

  if (!size || (size == 4 && is_same("#@[]", sender, size))) return 1;
  while (size && sender[size - 1] == '.') --size; /* as gatekeeper takes it */
  while (domain < size && sender[size - 1 - domain] != '@') ++domain;
  if (domain == size) return 0; /* it has no domain */
  for (size_t length; *entries; entries += length + (entries[length] == ' ')) {
    for (length = 0; entries[length] && entries[length] != ' ';) ++length;
    if (length && names(entries, length, sender, size, domain)) return 1;
  }
  return 0;
}

/* Forget RELAYCLIENT if the envelope's sender is not one of RELAYSENDERS. */
static void look_at_sender(int envelope)
{
  const char *entries = variable(environment, "RELAYSENDERS");
  const long got = entries ? CALL(SYS_pread64, envelope, buffer, SENDER_LIMIT, 0) : 0;
  long size = 1; /* behind the F */
  char **left = environment;

  if (!entries) return;
  while (size < got && buffer[size]) ++size;
  if (got > 0 && size < got && is_spoken_for(buffer + 1, (size_t) size - 1, entries)) return;
  for (char **one = environment; *one; ++one) {
    char *alone[2] = { *one, NULL };

    if (!variable(alone, "RELAYCLIENT")) *left++ = *one;
  }
  *left = NULL;
}

/* Have gatekeeper say who a stranger's message is from. It refuses nothing itself. */
static void authenticate(int message, int envelope)
{
  static unsigned char reply[REPLY_HEAD + AUTH_LIMIT];
  const char *path = setting("GATESCAN_AUTH", "");
  int message_seen, envelope_seen;

  if (!*path || variable(environment, "RELAYCLIENT") || !variable(environment, "TCPREMOTEIP")) return;
  message_seen = only_to_read(message);
  envelope_seen = only_to_read(envelope);
  ask(path, AUTH_TIMEOUT, message_seen, envelope_seen, reply, sizeof reply);
  CALL(SYS_close, message_seen);
  CALL(SYS_close, envelope_seen);
  if (reply[1] || !reply[REPLY_HEAD]) leave(TRY_AGAIN);
  authentication = (char *) reply + REPLY_HEAD;
}

/* The options of qmail-scanner-queue: become `gatescan` with the words that mean the same today. */
static _Noreturn void become_command(const char *option)
{
  static const struct {
    char letter;
    const char *words[4];
  } commands[] = {
    { 'g', { "gatescan", "rules", "build", NULL } }, { 'r', { "gatescan", "rules", "list", NULL } },
    { 'v', { "gatescan", "version", NULL, NULL } },  { 'z', { "gatescan", "version", NULL, NULL } },
    { 'h', { "gatescan", "--help", NULL, NULL } },
  };

  for (size_t i = 0; i < sizeof commands / sizeof *commands; ++i)
    if (option[1] == commands[i].letter && !option[2])
      CALL(SYS_execve, GATESCAN_PROGRAM, commands[i].words, environment);
  leave(NO_NEXT);
}

static int start(int argc, char **argv, char **environment_given)
{
  static unsigned char reply[REPLY_HEAD + 1024];
  int message, envelope, spooled;
  uint32_t from;

  environment = environment_given;
  if (argc > 1 && argv[1][0] == '-') become_command(argv[1]);
  text_fd = number("GATESCAN_TEXT_FD", -1, 255);
  close_inherited();
  end_after(LAST_RESORT);

  message = read_message(&spooled);
  envelope = read_envelope();
  if (!spooled) seal(message); /* a file of the spool cannot be sealed: the daemon copies it */
  seal(envelope);
  look_at_sender(envelope);
  authenticate(message, envelope);
  ask(setting("GATESCAN_SOCKET", GATESCAN_SOCKET), number("GATESCAN_TIMEOUT", DEFAULT_TIMEOUT, 3600), message, envelope,
      reply, sizeof reply);

  from = reply[2] | reply[3] << 8 | reply[4] << 16 | (uint32_t) reply[5] << 24;
  if (reply[1]) refuse(reply[1], (char *) reply + REPLY_HEAD);
  if (!from) return 0; /* held: the quarantine has it */
  pass_on(message, from, envelope, argc > 0 ? argv + 1 : argv);
}

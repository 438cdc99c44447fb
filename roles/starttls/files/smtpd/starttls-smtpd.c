/*
 * starttls-smtpd PROGRAM [ARGUMENT...]: STARTTLS (RFC 3207) in front of an SMTP server that does not know it.
 *
 *   tcpserver ... starttls-smtpd qmail-smtpd
 *
 * Environment: STARTTLS, which tcpserver's rules may set for a network: optional (also if unset), required, never.
 * The program is not readable for who runs it, so that the kernel opens it to nobody's eyes from its first moment on: PROGRAM runs
 * as the same user and could otherwise take the descriptor of the key out of one that has just been started.
 * Descriptor 9: the file of key and certificates. Root opens it before tcpserver gives its rights up, so that no
 * process that speaks with the network may open it. Without it STARTTLS is not offered.
 *
 * Until the first command of a transaction, commands are looked at, one at a time: the reply to EHLO gets one line
 * more, and STARTTLS is answered here. From then on bytes pass as they are, both ways: nothing that belongs to a
 * message is looked at or changed, so line ends mean to PROGRAM what they would mean without this.
 * After the handshake PROGRAM is started anew, with SSL_PROTOCOL and SSL_CIPHER in its environment: nothing that was
 * said in plain text is known to it, and what came pipelined behind STARTTLS is thrown away.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tls.h"

enum {
  CLIENT = 0,              /* the connection, as tcpserver gives it */
  SLOTS = 8,               /* this connection's place among all, if something in front of this has taken one */
  PEM = 9,                 /* key and certificates */
  ROOM = 16384,            /* bytes of a stream's buffer: a TLS record; a command or a reply must fit in */
  IDLE = 1500 * 1000,      /* milliseconds; PROGRAM's own limit (timeoutsmtpd, 1200 s) comes first */
  REPLY_WAIT = 300 * 1000, /* milliseconds for a reply to a command that is no transaction */
  WRITE_WAIT = 300 * 1000, /* milliseconds for a client that does not read */
  LAST_WORDS = 60,         /* seconds for a client to read what PROGRAM said before it ended */
  HANDSHAKE_WAIT = 60 * 1000,
  OWN_LIMIT = 50, /* commands that are refused here, which PROGRAM does not hear of to count them */
  TRY_AGAIN = 111
};

enum policy { OPTIONAL, REQUIRED, NEVER };

/* Bytes on their way in one direction: data[start] to data[end - 1]. ended: no more will come. */
struct stream {
  char data[ROOM];
  size_t start, end;
  int ended;
};

/* PROGRAM: `in` is where it reads, -1 when closed; `out` is where it writes. */
struct server {
  pid_t pid;
  int in, out;
};

/* How the talk in plain text ended. */
enum outcome { OVER, TRANSACTION, WANTS_TLS };

static char **program;
static struct server server = { .in = -1, .out = -1 };
static struct stream from_client, from_server;
static struct tls tls;
static int encrypted;

static void note(const char *what, const char *more)
{
  dprintf(2, "starttls: %d %s%s%s\n", (int) getpid(), what, *more ? ": " : "", more);
}

static _Noreturn void die(const char *what)
{
  note(what, strerror(errno));
  _exit(TRY_AGAIN);
}

/* PROGRAM */

static _Noreturn void become_program(void)
{
  execvp(*program, program);
  die(*program);
}

static void describe_tls(void)
{
  const int known =
      !encrypted
      || (setenv("SSL_PROTOCOL", tls_version(&tls), 1) == 0 && setenv("SSL_CIPHER", tls_cipher(&tls), 1) == 0);

  if (!known) die("environment");
}

static void start_server(void)
{
  int in[2], out[2];

  if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) die("pipe");
  server.pid = fork();
  if (server.pid < 0) die("fork");
  if (server.pid == 0) {
    if (dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0) die("dup2");
    signal(SIGPIPE, SIG_DFL);
    fcntl(SLOTS, F_SETFD, FD_CLOEXEC);
    describe_tls();
    become_program();
  }
  close(in[0]);
  close(out[1]);
  server.in = in[1];
  server.out = out[0];
  if (fcntl(server.in, F_SETFL, O_NONBLOCK) < 0 || fcntl(server.out, F_SETFL, O_NONBLOCK) < 0) die("fcntl");
}

static void close_server_input(void)
{
  if (server.in >= 0) close(server.in);
  server.in = -1;
}

/* Its exit status, so that tcpserver's log says of PROGRAM what it would say without this. */
static int end_of_server(void)
{
  int status;

  close_server_input();
  close(server.out);
  while (waitpid(server.pid, &status, 0) < 0)
    if (errno != EINTR) return TRY_AGAIN;
  return WIFEXITED(status) ? WEXITSTATUS(status) : TRY_AGAIN;
}

/* The one that spoke plain text has begun no transaction: nothing is lost with it. */
static void discard_server(void)
{
  kill(server.pid, SIGTERM);
  end_of_server();
  from_server.start = from_server.end = 0;
}

/* Streams */

static size_t waiting(const struct stream *stream)
{
  return stream->end - stream->start;
}

static char *text_of(struct stream *stream)
{
  return stream->data + stream->start;
}

static size_t room_in(struct stream *stream)
{
  if (stream->start) {
    memmove(stream->data, text_of(stream), waiting(stream));
    stream->end -= stream->start;
    stream->start = 0;
  }
  return sizeof stream->data - stream->end;
}

static int would_block(void)
{
  return errno == EAGAIN || errno == EINTR;
}

static ssize_t plain_result(ssize_t n)
{
  return n >= 0 ? n : would_block() ? TLS_WAIT : TLS_GONE;
}

static ssize_t client_read(void *data, size_t length)
{
  return encrypted ? tls_read(&tls, data, length) : plain_result(read(CLIENT, data, length));
}

static ssize_t client_write(const void *data, size_t length)
{
  return encrypted ? tls_write(&tls, data, length) : plain_result(write(CLIENT, data, length));
}

/* Each of these four moves what can be moved without waiting, and tells whether anything happened. */

static int read_client(void)
{
  const size_t room = from_client.ended ? 0 : room_in(&from_client);
  const ssize_t n = room ? client_read(from_client.data + from_client.end, room) : TLS_WAIT;

  if (n == TLS_WAIT) return 0;
  if (n > 0) from_client.end += (size_t) n;
  else from_client.ended = 1;
  return 1;
}

static int write_server(void)
{
  const size_t length = waiting(&from_client);
  const ssize_t n = length && server.in >= 0 ? write(server.in, text_of(&from_client), length) : 0;

  if (n > 0) from_client.start += (size_t) n;
  if (n < 0 && !would_block()) close_server_input(); /* it has ended; what it said is still to be read */
  if (server.in < 0) from_client.start = from_client.end;
  if (from_client.ended && !waiting(&from_client)) close_server_input();
  return n > 0;
}

static int read_server(void)
{
  const size_t room = from_server.ended ? 0 : room_in(&from_server);
  const ssize_t n = room ? plain_result(read(server.out, from_server.data + from_server.end, room)) : TLS_WAIT;

  if (n == TLS_WAIT) return 0;
  if (n > 0) from_server.end += (size_t) n;
  else from_server.ended = 1;
  return 1;
}

/* A client that is gone does not keep PROGRAM from ending what it is at: the message may be in the queue already. */
static int write_client(void)
{
  const size_t length = waiting(&from_server);
  const ssize_t n = length ? client_write(text_of(&from_server), length) : TLS_WAIT;

  if (n == TLS_WAIT) return 0;
  if (n > 0) from_server.start += (size_t) n;
  else {
    from_server.start = from_server.end;
    from_client.ended = 1;
  }
  return 1;
}

static time_t seconds(void)
{
  struct timespec at;

  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec;
}

static int wait_for(int fd, short events, int milliseconds)
{
  struct pollfd one = { .fd = fd, .events = events };
  int ready;

  do ready = poll(&one, 1, milliseconds);
  while (ready < 0 && errno == EINTR);
  return ready > 0;
}

/* Wait until one of the four can move something; 0 when nothing has happened for so many milliseconds. */
static int wait_for_any(int patience)
{
  const short reads = encrypted ? tls.reads_on : POLLIN;
  const short writes = encrypted ? tls.writes_on : POLLOUT;
  const int hears = !from_client.ended && room_in(&from_client);
  struct pollfd all[3] = {
    { .fd = CLIENT, .events = (short) ((hears ? reads : 0) | (waiting(&from_server) ? writes : 0)) },
    { .fd = server.in, .events = waiting(&from_client) ? POLLOUT : 0 },
    { .fd = server.out, .events = !from_server.ended && room_in(&from_server) ? POLLIN : 0 },
  };

  /* poll(2) reports a hang-up also where nothing is asked for, again and again */
  for (size_t i = 0; i < 3; ++i)
    if (!all[i].events) all[i].fd = -1;
  return poll(all, 3, patience) != 0;
}

/* Bytes as they are, both ways, until PROGRAM has ended and all it said is delivered. */
static void pass_all(void)
{
  time_t last_words = 0;

  for (;;) {
    const int moved = read_client() | write_server() | read_server() | write_client();

    if (from_server.ended && !waiting(&from_server)) return;
    /* a client that takes the last words byte by byte is not waited for for ever */
    if (from_server.ended && !last_words) last_words = seconds();
    if (last_words && seconds() - last_words > LAST_WORDS) return;
    if (!moved && !wait_for_any(last_words ? LAST_WORDS * 1000 : IDLE)) return;
  }
}

/* The talk in plain text */

static int tell_client(const char *text, size_t length)
{
  while (length) {
    const ssize_t n = client_write(text, length);

    if (n == TLS_GONE || (n == TLS_WAIT && !wait_for(CLIENT, POLLOUT, WRITE_WAIT))) return 0;
    if (n <= 0) continue;
    text += n;
    length -= (size_t) n;
  }
  return 1;
}

static int say(const char *text)
{
  return tell_client(text, strlen(text));
}

/* Length of the whole reply at the front of what PROGRAM said, 0 if its end is not there; `last` is its last line. */
static size_t whole_reply(size_t *last)
{
  const char *text = text_of(&from_server), *end = text + waiting(&from_server), *line = text, *newline;

  while ((newline = memchr(line, '\n', (size_t) (end - line))) != NULL) {
    if (newline - line < 4 || line[3] != '-') {
      *last = (size_t) (line - text);
      return (size_t) (newline + 1 - text);
    }
    line = newline + 1;
  }
  return 0;
}

/* Wait for a whole reply. If PROGRAM ends, or talks without end, all that it has said counts as one. */
static size_t await_reply(size_t *last)
{
  size_t length;

  while ((length = whole_reply(last)) == 0) {
    if (read_server()) {
      if (!from_server.ended) continue;
    } else if (room_in(&from_server) && wait_for(server.out, POLLIN, REPLY_WAIT)) continue;
    *last = 0;
    from_server.ended = 1;
    return waiting(&from_server);
  }
  return length;
}

/* Hand a reply on; to EHLO, if it was accepted, with one more line. 0: nobody is there any more.
 * It leaves in one write: some clients take what they read first for the whole, and would see no STARTTLS. */
static int relay_reply(int with_starttls)
{
  static const char offer[] = "250 STARTTLS\r\n";
  char reply[ROOM + sizeof offer];
  size_t last, length = await_reply(&last);
  const int adds = with_starttls && strncmp(text_of(&from_server), "250", 3) == 0 && length - last >= 4;

  memcpy(reply, text_of(&from_server), length);
  from_server.start += length;
  if (adds) {
    reply[last + 3] = '-';
    memcpy(reply + length, offer, sizeof offer - 1);
    length += sizeof offer - 1;
  }
  return tell_client(reply, length) && !from_server.ended;
}

/* Length of the command at the front of what the client said, with its end of line; 0 if that has not come. */
static size_t whole_command(void)
{
  const char *newline = memchr(text_of(&from_client), '\n', waiting(&from_client));

  return newline ? (size_t) (newline + 1 - text_of(&from_client)) : 0;
}

static int wait_for_either_side(void)
{
  struct pollfd both[2] = { { .fd = CLIENT, .events = POLLIN }, { .fd = server.out, .events = POLLIN } };

  return poll(both, 2, IDLE) != 0;
}

/* Wait for a command. What PROGRAM says meanwhile is handed on: that it has waited too long, as a rule. */
static size_t await_command(void)
{
  for (;;) {
    const size_t length = whole_command();

    if (length) return length;
    if (read_server()) {
      if (!tell_client(text_of(&from_server), waiting(&from_server)) || from_server.ended) return 0;
      from_server.start = from_server.end;
    } else if (read_client()) {
      if (from_client.ended) return 0;
    } else if (!room_in(&from_client)) {
      say("500 5.5.2 that line is too long\r\n");
      return 0;
    } else if (!wait_for_either_side()) return 0;
  }
}

static int is_blank(char c)
{
  return c == ' ' || c == '\r' || c == '\n';
}

/* Whether a command of this length begins with a word, in either case. */
static int is_command(const char *line, size_t length, const char *word)
{
  const size_t end = strlen(word);

  return length > end && strncasecmp(line, word, end) == 0 && is_blank(line[end]);
}

static int stands_alone(const char *line, size_t length, const char *word)
{
  for (size_t i = strlen(word); i < length; ++i)
    if (!is_blank(line[i])) return 0;
  return 1;
}

/* Commands that begin no transaction, and that RFC 3207 lets a client give before it asks for TLS. */
static int is_harmless(const char *line, size_t length)
{
  static const char *const words[] = { "ehlo", "helo", "noop", "rset", "quit" };

  for (size_t i = 0; i < sizeof words / sizeof *words; ++i)
    if (is_command(line, length, words[i])) return 1;
  return 0;
}

static int hand_on_command(size_t length)
{
  const char *line = text_of(&from_client);
  size_t done = 0;

  while (done < length) {
    const ssize_t n = plain_result(write(server.in, line + done, length - done));

    if (n == TLS_GONE || (n == TLS_WAIT && !wait_for(server.in, POLLOUT, REPLY_WAIT))) return 0;
    if (n > 0) done += (size_t) n;
  }
  from_client.start += length;
  return 1;
}

/* Answer STARTTLS. OVER stands for: go on in plain text. */
static enum outcome answer_starttls(int alone, int available)
{
  if (!alone) say("501 5.5.4 STARTTLS takes no argument\r\n");
  else if (!available || tls_prepare(PEM) < 0) {
    note("cannot offer TLS", available ? tls_problem() : "no certificate");
    say("454 4.7.0 TLS is not available now\r\n");
  } else return WANTS_TLS;
  return OVER;
}

/* Count a command that was refused here. 0: it was one too many. */
static int may_go_on(void)
{
  static int refused;

  if (++refused <= OWN_LIMIT) return 1;
  say("421 4.7.0 too many errors\r\n");
  return 0;
}

static enum outcome talk(enum policy policy, int available)
{
  size_t length;

  if (!relay_reply(0)) return OVER;
  while ((length = await_command()) != 0) {
    const char *line = text_of(&from_client);
    const int is_ehlo = is_command(line, length, "ehlo");

    if (is_command(line, length, "starttls")) {
      const int alone = stands_alone(line, length, "starttls");

      from_client.start += length;
      if (answer_starttls(alone, available) == WANTS_TLS) return WANTS_TLS;
      if (!may_go_on()) return OVER;
    } else if (is_harmless(line, length)) {
      if (!hand_on_command(length) || !relay_reply(is_ehlo && available)) return OVER;
    } else if (policy == REQUIRED) {
      from_client.start += length;
      if (!say("530 5.7.0 this server takes mail from you by TLS only: STARTTLS first\r\n") || !may_go_on())
        return OVER;
    } else return TRANSACTION;
  }
  return OVER;
}

/* TLS */

/* What came behind STARTTLS was sent by whoever could write into the plain text: it must not count as encrypted. */
static void discard_pipelined(void)
{
  if (waiting(&from_client)) note("pipelined behind STARTTLS", "discarded");
  from_client.start = from_client.end = 0;
}

static int go_encrypted(void)
{
  size_t last, greeting;

  discard_pipelined();
  if (!say("220 2.0.0 go ahead\r\n")) return 0;
  if (tls_accept(&tls, CLIENT, HANDSHAKE_WAIT) < 0) {
    note("no handshake", tls_problem());
    return 0;
  }
  encrypted = 1;
  note(tls_version(&tls), tls_cipher(&tls));
  start_server();
  greeting = await_reply(&last);
  /* The client has been greeted. Any other word, such as 421, it must hear. */
  if (strncmp(text_of(&from_server), "220", greeting < 3 ? greeting : 3) == 0) from_server.start += greeting;
  return 1;
}

/* A reply of PROGRAM may come in more than one write; by default the second would wait until the first is acknowledged. */
static void send_at_once(void)
{
  const int yes = 1;

  setsockopt(CLIENT, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

static enum policy policy_of(const char *word)
{
  if (!word || !*word || strcasecmp(word, "optional") == 0) return OPTIONAL;
  return strcasecmp(word, "never") == 0 ? NEVER : REQUIRED; /* a word that is not known must not lower the guard */
}

static int has_certificate(void)
{
  struct stat file;

  return fcntl(PEM, F_SETFD, FD_CLOEXEC) == 0 && fstat(PEM, &file) == 0 && S_ISREG(file.st_mode) && file.st_size > 0;
}

int main(int argc, char **argv)
{
  const enum policy policy = policy_of(getenv("STARTTLS"));
  const int available = has_certificate();

  if (argc < 2) _exit(100);
  program = argv + 1;
  unsetenv("SSL_PROTOCOL");
  unsetenv("SSL_CIPHER");
  if (policy == NEVER || (policy == OPTIONAL && !available)) become_program();

  prctl(PR_SET_DUMPABLE, 0); /* it is so already where it is not readable, as it is installed */
  signal(SIGPIPE, SIG_IGN);
  if (fcntl(CLIENT, F_SETFL, O_NONBLOCK) < 0) die("fcntl");
  send_at_once();
  start_server();
  switch (talk(policy, available)) {
  case TRANSACTION: pass_all(); break;
  case WANTS_TLS:
    discard_server();
    if (!go_encrypted()) return TRY_AGAIN;
    pass_all();
    tls_close(&tls);
    break;
  case OVER: break;
  }
  return end_of_server();
}

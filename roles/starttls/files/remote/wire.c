#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tls.h"

enum {
  OUT = 16384, /* bytes sent at once: a TLS record */
  IN = 4096,
  HANDSHAKE_SECONDS = 60
};

static int wire = -1;
static int patience = 1200;
static struct tls tls;
static int encrypted;
static char out[OUT], in[IN];
static size_t out_length, in_start, in_end;
static long long reply_deadline;

static long long now(void)
{
  struct timespec at;

  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000LL + at.tv_nsec / 1000000;
}

/* Whether the socket is ready before a moment. */
static int wait_for(short events, long long deadline)
{
  for (;;) {
    struct pollfd one = { .fd = wire, .events = events };
    const long long left = deadline - now();
    const int ready = left > 0 ? poll(&one, 1, (int) left) : 0;

    if (ready >= 0 || errno != EINTR) return ready > 0;
  }
}

static int finish_connecting(int seconds)
{
  int error = 0;
  socklen_t length = sizeof error;

  if (!wait_for(POLLOUT, now() + seconds * 1000LL)) error = ETIMEDOUT;
  else if (getsockopt(wire, SOL_SOCKET, SO_ERROR, &error, &length) < 0) error = errno;
  errno = error;
  return error ? -1 : 0;
}

int wire_connect(struct in_addr host, unsigned port, int seconds)
{
  const struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((in_port_t) port), .sin_addr = host };
  int result, why;

  wire = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (wire < 0) return -1;
  result = connect(wire, (const struct sockaddr *) &to, sizeof to);
  if (result < 0 && errno == EINPROGRESS) result = finish_connecting(seconds);
  if (result < 0) {
    why = errno;
    close(wire);
    wire = -1;
    errno = why;
  }
  return result;
}

void wire_patience(int seconds)
{
  patience = seconds;
}

static int would_block(void)
{
  return errno == EAGAIN || errno == EINTR;
}

static ssize_t write_some(const char *data, size_t length)
{
  ssize_t n;

  if (encrypted) return tls_write(&tls, data, length);
  n = write(wire, data, length);
  return n >= 0 ? n : would_block() ? TLS_WAIT : TLS_GONE;
}

static ssize_t read_some(char *data, size_t length)
{
  ssize_t n;

  if (encrypted) return tls_read(&tls, data, length);
  n = read(wire, data, length);
  return n >= 0 ? n : would_block() ? TLS_WAIT : TLS_GONE;
}

int wire_flush(void)
{
  const long long deadline = now() + patience * 1000LL;
  size_t done = 0;

  while (done < out_length) {
    const ssize_t n = write_some(out + done, out_length - done);

    if (n > 0) done += (size_t) n;
    else if (n != TLS_WAIT || !wait_for(encrypted ? tls.writes_on : POLLOUT, deadline)) return -1;
  }
  out_length = 0;
  return 0;
}

int wire_put(const char *data, size_t length)
{
  while (length) {
    const size_t room = sizeof out - out_length, part = length < room ? length : room;

    memcpy(out + out_length, data, part);
    out_length += part;
    data += part;
    length -= part;
    if (out_length == sizeof out && wire_flush() < 0) return -1;
  }
  return 0;
}

void wire_await(void)
{
  reply_deadline = now() + patience * 1000LL;
}

int wire_get(void)
{
  while (in_start == in_end) {
    const ssize_t n = now() < reply_deadline ? read_some(in, sizeof in) : TLS_GONE;

    in_start = in_end = 0;
    if (n > 0) in_end = (size_t) n;
    else if (n != TLS_WAIT || !wait_for(encrypted ? tls.reads_on : POLLIN, reply_deadline)) return -1;
  }
  return (unsigned char) in[in_start++];
}

int wire_has_more(void)
{
  struct pollfd one = { .fd = wire, .events = POLLIN };

  return in_start < in_end || poll(&one, 1, 0) != 0;
}

int wire_encrypt(const char *host)
{
  const int seconds = patience < HANDSHAKE_SECONDS ? patience : HANDSHAKE_SECONDS;

  if (tls_connect(&tls, wire, seconds * 1000, host) < 0) return -1;
  encrypted = 1;
  return 0;
}

const struct tls *wire_tls(void)
{
  return encrypted ? &tls : NULL;
}

void wire_leave(const char *word)
{
  if (*word) write_some(word, strlen(word));
  if (encrypted) tls_close(&tls);
  close(wire);
  wire = -1;
}

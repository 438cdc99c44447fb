/*
 * qmail-remote HOST SENDER RECIPIENT...: hands a delivery to gatepost's daemon.
 *
 * qmail-rspawn finds this in PATH before qmail's own program. The arguments and the message (descriptor 0) go to the daemon
 * over a unix socket in one packet; one packet comes back, which is the report that qmail-rspawn reads on descriptor 1. When
 * the daemon is down, full or does not answer, the report says "try again": there is no other way out for the message.
 *
 * Build: see the Makefile beside this file.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef GATEPOST_SOCKET
#define GATEPOST_SOCKET "/run/gatepost/gatepost.sock"
#endif
#ifndef RESTART
#define RESTART 30 /* seconds that a daemon may take to come back */
#endif
#ifndef PATIENCE
#define PATIENCE (3 * 3600) /* seconds: longer than the daemon gives a delivery */
#endif

enum { PACKET_LIMIT = 128 * 1024, VERSION = '1' };

static char packet[PACKET_LIMIT];

static _Noreturn void report(const char *text, size_t length)
{
  while (length) {
    const ssize_t n = write(1, text, length);

    if (n < 0 && errno != EINTR) _exit(111);
    if (n > 0) {
      text += n;
      length -= (size_t) n;
    }
  }
  _exit(0);
}

/* Nothing has left the host. */
static _Noreturn void try_again(const char *text)
{
  report(text, strlen(text) + 1);
}

/* The version and the arguments, each with its NUL; 0 if they are too long. */
static size_t pack(char **arguments)
{
  size_t length = 0;

  packet[length++] = VERSION;
  for (; *arguments; ++arguments) {
    const size_t size = strlen(*arguments) + 1;

    if (size > sizeof packet - length) return 0;
    memcpy(packet + length, *arguments, size);
    length += size;
  }
  return length;
}

/* A daemon that is just being restarted is waited for: a deferral would cost the message minutes. */
static int connect_daemon(void)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

  strncpy(address.sun_path, GATEPOST_SOCKET, sizeof address.sun_path - 1);
  for (int tries = 0; fd >= 0 && tries <= RESTART * 10; ++tries) {
    if (connect(fd, (struct sockaddr *) &address, sizeof address) == 0) return fd;
    poll(NULL, 0, 100);
  }
  return -1;
}

/* Send the packet with descriptor 0. */
static int hand_over(int fd, size_t length)
{
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
  } control = { 0 };
  struct iovec data = { .iov_base = packet, .iov_len = length };
  struct msghdr message = {
    .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room
  };
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  ssize_t n;

  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int));
  memset(CMSG_DATA(head), 0, sizeof(int)); /* the message's descriptor is 0 */
  do n = sendmsg(fd, &message, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n == (ssize_t) length ? 0 : -1;
}

int main(int argc, char **argv)
{
  struct pollfd answer = { .events = POLLIN };
  ssize_t n;
  size_t length;

  if (argc < 4) try_again("Zqmail-remote was called without a recipient. (#4.3.5)\n");
  length = pack(argv + 1);
  if (!length) try_again("Zqmail-remote was called with too many recipients. (#4.3.0)\n");
  answer.fd = connect_daemon();
  if (answer.fd < 0) try_again("Zgatepost, the delivery service, is not running. (#4.3.2)\n");
  if (hand_over(answer.fd, length) < 0) try_again("Zgatepost, the delivery service, takes no more mail. (#4.3.2)\n");

  do n = poll(&answer, 1, PATIENCE * 1000);
  while (n < 0 && errno == EINTR);
  if (n == 1) do
      n = recv(answer.fd, packet, sizeof packet, 0);
    while (n < 0 && errno == EINTR);
  /* It may have died after the server took the message. */
  if (n <= 0) try_again("Zgatepost, the delivery service, ended before its report. Possible duplicate! (#4.3.0)\n");
  report(packet, (size_t) n);
}

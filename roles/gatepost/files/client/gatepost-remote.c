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
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "bare.h"

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
    const long n = CALL(SYS_write, 1, text, length);

    if (n < 0 && n != -EINTR) leave(111);
    if (n > 0) {
      text += n;
      length -= (size_t) n;
    }
  }
  leave(0);
}

/* Nothing has left the host. */
static _Noreturn void try_again(const char *text)
{
  report(text, length_of(text, PACKET_LIMIT) + 1);
}

/* The version and the arguments, each with its NUL; 0 if they are too long. */
static size_t pack(char **arguments)
{
  size_t length = 0;

  packet[length++] = VERSION;
  for (; *arguments; ++arguments) {
    const size_t room = sizeof packet - length, size = length_of(*arguments, room) + 1;

    if (size > room) return 0;
    append(packet + length, *arguments, size);
    length += size;
  }
  return length;
}

/* A daemon that is just being restarted is waited for: a deferral would cost the message minutes. */
static int connect_daemon(void)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = GATEPOST_SOCKET };
  const int fd = (int) CALL(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

  for (int tries = 0; fd >= 0 && tries <= RESTART * 10; ++tries) {
    struct timespec pause = { .tv_nsec = 100 * 1000000L };

    if (CALL(SYS_connect, fd, &address, sizeof address) == 0) return fd;
    CALL(SYS_ppoll, NULL, 0, &pause, NULL);
  }
  return -1;
}

/* Send the packet with descriptor 0. */
static int hand_over(int fd, size_t length)
{
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
  } control = { .room = { 0 } };
  struct iovec data = { .iov_base = packet, .iov_len = length };
  struct msghdr message = {
    .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room
  };
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  long n;

  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int)); /* the message's descriptor is 0, as the room's bytes are */
  do n = CALL(SYS_sendmsg, fd, &message, MSG_NOSIGNAL);
  while (n == -EINTR);
  return n == (long) length ? 0 : -1;
}

static int start(int argc, char **argv, char **environment)
{
  struct pollfd answer = { .events = POLLIN };
  struct timespec patience = { .tv_sec = PATIENCE };
  long n;
  size_t length;

  (void) environment;

  if (argc < 4) try_again("Zqmail-remote was called without a recipient. (#4.3.5)\n");
  length = pack(argv + 1);
  if (!length) try_again("Zqmail-remote was called with too many recipients. (#4.3.0)\n");
  answer.fd = connect_daemon();
  if (answer.fd < 0) try_again("Zgatepost, the delivery service, is not running. (#4.3.2)\n");
  if (hand_over(answer.fd, length) < 0) try_again("Zgatepost, the delivery service, takes no more mail. (#4.3.2)\n");

  do n = CALL(SYS_ppoll, &answer, 1, &patience, NULL);
  while (n == -EINTR);
  if (n == 1) do
      n = CALL(SYS_recvfrom, answer.fd, packet, sizeof packet, 0, NULL, NULL);
    while (n == -EINTR);
  /* It may have died after the server took the message. */
  if (n <= 0) try_again("Zgatepost, the delivery service, ended before its report. Possible duplicate! (#4.3.0)\n");
  report(packet, (size_t) n);
}

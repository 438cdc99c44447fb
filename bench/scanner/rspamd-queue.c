/*
 * A queue program in front of qmail-queue that asks rspamd over HTTP and does nothing else: the least that anybody who
 * wants rspamd before the queue has to do. For measuring only: it trusts rspamd's answer by its form.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[1 << 16];
static char envelope[4096]; /* of one recipient, as the bench's mail has */

static off_t copy(int from, int to)
{
  off_t total = 0;
  ssize_t n;

  while ((n = read(from, buffer, sizeof buffer)) > 0) {
    if (write(to, buffer, (size_t) n) != n) _exit(53);
    total += n;
  }
  if (n < 0) _exit(54);
  return total;
}

int main(void)
{
  struct sockaddr_in there = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
  int message = memfd_create("message", MFD_CLOEXEC), behind = memfd_create("envelope", MFD_CLOEXEC);
  int rspamd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  off_t size = copy(0, message), sent = 0;
  const char *recipient = envelope;
  size_t got = 0;
  ssize_t n;

  copy(1, behind);
  if (pread(behind, envelope, sizeof envelope - 1, 0) < 4) _exit(54);
  recipient += strlen(envelope) + 1;
  there.sin_port = htons(atoi(getenv("RSPAMD_PORT")));
  if (connect(rspamd, (struct sockaddr *) &there, sizeof there)) _exit(71);
  n = snprintf(buffer, sizeof buffer,
               "POST /checkv2 HTTP/1.1\r\nConnection: close\r\nContent-Length: %ld\r\n"
               "IP: %s\r\nHelo: bench.example\r\nFrom: %s\r\nRcpt: %s\r\n\r\n",
               (long) size, getenv("TCPREMOTEIP"), envelope + 1, recipient + 1);
  if (write(rspamd, buffer, (size_t) n) != n) _exit(71);
  while (sent < size)
    if (sendfile(rspamd, message, &sent, (size_t) (size - sent)) <= 0) _exit(71);
  while (got < sizeof buffer - 1 && (n = read(rspamd, buffer + got, sizeof buffer - 1 - got)) > 0) got += (size_t) n;
  buffer[got] = '\0';
  if (!strstr(buffer, " 200 ") || !strstr(buffer, "\"action\"")) _exit(71);
  if (strstr(buffer, "\"action\":\"reject\"")) _exit(31);
  lseek(message, 0, SEEK_SET);
  lseek(behind, 0, SEEK_SET);
  dup2(message, 0);
  dup2(behind, 1);
  execl(NEXT, NEXT, (char *) 0);
  _exit(120);
}

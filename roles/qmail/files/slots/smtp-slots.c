/*
 * smtp-slots STRANGERS EACH RELAYS EACH_RELAY PROGRAM [ARGUMENT...]: a place for this connection, or 421.
 *
 *   tcpserver -H ... smtp-slots 40 10 20 15 starttls-smtpd qmail-smtpd
 *
 * Relay clients (RELAYCLIENT is set, by tcpserver's rules) have places of their own, so that strangers can never take the last
 * one: STRANGERS and RELAYS are how many connections there may be at once, EACH and EACH_RELAY how many of them one source may
 * have. A source is an IPv4 address or an IPv6 /64; an IPv6 /48 may have twice as many, strangers of an IPv4 /24 three times.
 *
 * Descriptor 8: a file that root opens before tcpserver gives its rights up. A place is a record of it: who has it, under a
 * lock of fcntl(2), which stays with the process through exec(3) and is gone with it, however it ends. So places are right
 * also when tcpserver was started anew while sessions go on. Without the file nobody is counted, and mail flows.
 *
 * GREETWAIT, in the environment: seconds for which a stranger waits for the greeting. Who speaks before it hears 554, and that
 * was all: mail servers wait (RFC 5321, 3.1), programs that only throw mail at many servers often do not.
 *
 * The client's name is looked up here, and not by tcpserver, before a place is taken: a stranger's dead name servers then cost
 * places of strangers only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <resolv.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
  SLOTS = 8,         /* the file of places */
  MOST = 4096,       /* places of a kind */
  RECORD = 16,       /* bytes: an address */
  GATE = 1 << 30,    /* the byte of the file that is locked while a place is looked for */
  GATE_SECONDS = 10, /* that this is waited for */
  WHOLE = 16,        /* bytes of an address that are compared */
  SUBNET = 8,        /* a /64 */
  SITE = 6,          /* a /48 */
  NET = 15,          /* an IPv4 /24, in IPv6's form */
  NAME_SECONDS = 3,  /* to learn the client's name */
  GREET_MOST = 60,   /* seconds before the greeting, at most */
  TRY_AGAIN = 111
};

/* What there is of a kind of clients. */
struct kind {
  off_t start;   /* of its records */
  unsigned most; /* connections at once */
  unsigned each; /* of one source; 0: as many as there are */
  unsigned nets; /* times that an IPv4 /24 may have that; 0: it has no bound of its own */
};

static void note(const char *what)
{
  const char *address = getenv("TCPREMOTEIP");

  dprintf(2, "slots: %d %s: %s\n", (int) getpid(), address ? address : "unknown", what);
}

static _Noreturn void refuse(const char *reply, const char *why)
{
  note(why);
  dprintf(1, "%s\r\n", reply);
  _exit(TRY_AGAIN);
}

static unsigned number(const char *text)
{
  char *end;
  const unsigned long value = strtoul(text, &end, 10);

  if (!*text || *end || value > MOST) _exit(100);
  return (unsigned) value;
}

/* Addresses */

/* The client's address, IPv4 in IPv6's form; all zero if it is none that is known. */
static void read_address(unsigned char address[RECORD])
{
  const char *text = getenv("TCPREMOTEIP");
  struct in_addr four;

  memset(address, 0, RECORD);
  if (!text || inet_pton(AF_INET6, text, address) == 1 || inet_pton(AF_INET, text, &four) != 1) return;
  address[10] = address[11] = 0xff;
  memcpy(address + 12, &four, sizeof four);
}

static int is_four(const unsigned char address[RECORD])
{
  return IN6_IS_ADDR_V4MAPPED((const struct in6_addr *) address);
}

/* Places */

static int lock(int command, short type, off_t at)
{
  struct flock wanted = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };

  return fcntl(SLOTS, command, &wanted);
}

static int is_taken(off_t at)
{
  struct flock held = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };

  return fcntl(SLOTS, F_GETLK, &held) == 0 && held.l_type != F_UNLCK;
}

/* Take a place, if there is one for this address. NULL, or why not. */
static const char *take(const struct kind *kind, const unsigned char address[RECORD])
{
  const size_t same = is_four(address) ? WHOLE : SUBNET, near = is_four(address) ? NET : SITE;
  const unsigned times = is_four(address) ? kind->nets : 2;
  unsigned source = 0, site = 0;
  unsigned char other[RECORD];
  off_t place = -1;

  for (unsigned i = 0; i < kind->most; ++i) {
    const off_t at = kind->start + (off_t) i * RECORD;

    if (!is_taken(at)) {
      if (place < 0) place = at;
      continue;
    }
    if (pread(SLOTS, other, RECORD, at) != RECORD) continue;
    if (is_four(address) != is_four(other)) continue;
    source += memcmp(address, other, same) == 0;
    site += memcmp(address, other, near) == 0;
  }
  if (place < 0) return "all places are taken";
  if (kind->each && source >= kind->each) return "too many of one source";
  if (kind->each && times && site >= times * kind->each) return "too many of one network";
  if (lock(F_SETLK, F_WRLCK, place) < 0) return "no place to be had";
  if (pwrite(SLOTS, address, RECORD, place) != RECORD) note("whose place it is cannot be written down");
  return NULL;
}

static void wake(int signal)
{
  (void) signal;
}

/* One at a time looks for a place, but nobody waits for that for ever. */
static int enter_gate(void)
{
  struct sigaction action = { .sa_handler = wake };
  int entered;

  sigaction(SIGALRM, &action, NULL);
  alarm(GATE_SECONDS);
  entered = lock(F_SETLKW, F_WRLCK, GATE);
  alarm(0);
  signal(SIGALRM, SIG_DFL);
  return entered;
}

static void find_place(const struct kind *kind, const unsigned char address[RECORD])
{
  const char *why;

  if (fcntl(SLOTS, F_GETFD) < 0) {
    note("no file of places, so nobody is counted");
    return;
  }
  if (enter_gate() < 0) refuse("421 this server is busy, please try again later (#4.3.2)", "the gate is held");
  why = take(kind, address);
  lock(F_SETLK, F_UNLCK, GATE);
  if (why) refuse("421 too many connections at once, please try again later (#4.7.0)", why);
}

/* The client's name */

static void reverse_name(const unsigned char address[RECORD], char name[NS_MAXDNAME])
{
  size_t length = 0;

  if (is_four(address)) {
    snprintf(name, NS_MAXDNAME, "%d.%d.%d.%d.in-addr.arpa", address[15], address[14], address[13], address[12]);
    return;
  }
  for (int i = RECORD - 1; i >= 0; --i)
    length += (size_t) snprintf(name + length, NS_MAXDNAME - length, "%x.%x.", address[i] & 15, address[i] >> 4);
  snprintf(name + length, NS_MAXDNAME - length, "ip6.arpa");
}

static int is_name(const char *name)
{
  const size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");

  return length && !name[length] && length < 256;
}

/* As tcpserver does it: the first name, not proved, and none at all if none comes. */
static void learn_name(const unsigned char address[RECORD])
{
  static unsigned char answer[NS_MAXMSG];
  char question[NS_MAXDNAME], name[NS_MAXDNAME];
  ns_msg message;
  ns_rr record;
  int length;

  if (res_init() < 0) return;
  _res.retrans = NAME_SECONDS;
  _res.retry = 1;
  reverse_name(address, question);
  length = res_query(question, ns_c_in, ns_t_ptr, answer, sizeof answer);
  if (length < 0 || ns_initparse(answer, length, &message) < 0) return;
  for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
    if (ns_parserr(&message, ns_s_an, i, &record) < 0) return;
    if (ns_rr_type(record) != ns_t_ptr) continue;
    if (ns_name_uncompress(ns_msg_base(message), ns_msg_end(message), ns_rr_rdata(record), name, sizeof name) < 0)
      return;
    if (is_name(name)) setenv("TCPREMOTEHOST", name, 1);
    return;
  }
}

/* Before the greeting */

static void wait_before_greeting(void)
{
  const char *text = getenv("GREETWAIT");
  unsigned long seconds = text ? strtoul(text, NULL, 10) : 0;
  struct pollfd client = { .fd = 0, .events = POLLIN };
  char said[512];
  int waiting = 0;

  if (seconds > GREET_MOST) seconds = GREET_MOST;
  if (!seconds || poll(&client, 1, (int) seconds * 1000) <= 0) return;
  if (ioctl(0, FIONREAD, &waiting) < 0 || !waiting) {
    note("it hung up before the greeting");
    _exit(0);
  }
  if (read(0, said, sizeof said) < 0) _exit(0); /* what is unread when a connection is closed can cost the reply */
  refuse("554 you spoke before this server's greeting (#5.5.1)", "it spoke before the greeting");
}

int main(int argc, char **argv)
{
  const int relays = getenv("RELAYCLIENT") != NULL;
  unsigned char address[RECORD];
  unsigned limits[4];
  struct kind kind;

  if (argc < 6) _exit(100);
  for (int i = 0; i < 4; ++i) limits[i] = number(argv[i + 1]);
  kind.start = relays ? (off_t) MOST * RECORD : 0;
  kind.most = limits[relays ? 2 : 0];
  kind.each = limits[relays ? 3 : 1];
  kind.nets = relays ? 0 : 3;
  read_address(address);
  find_place(&kind, address);
  if (relays) setenv("RBLSMTPD", "", 0); /* no list that rblsmtpd asks turns our own people away */
  if (!getenv("TCPREMOTEHOST")) learn_name(address);
  if (!relays) wait_before_greeting();
  execvp(argv[5], argv + 5);
  note(strerror(errno));
  _exit(TRY_AGAIN);
}

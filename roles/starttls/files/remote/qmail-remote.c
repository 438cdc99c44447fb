/*
 * qmail-remote HOST SENDER RECIPIENT...: TLS on the way to routes, in front of a qmail-remote that does not know it.
 *
 * qmail-rspawn finds this in PATH before qmail's own program, which it becomes at once for mail to any host but those that
 * have a route to a named server in control/smtproutes and a policy for the same route in control/tlsroutes:
 *
 *   optional  TLS if the server offers it. If it does not, or TLS does not come about: qmail's own program, by plain text.
 *   required  TLS, by whatever certificate, or the message waits.
 *   verified  TLS with a server that proves to be the route's host, or the message waits. control/tlsca is the file of
 *             those whose word is taken for it; without it, those whom Debian trusts.
 *
 * What the server hears, by which rules it is chosen, and what is reported on descriptor 1 is what qmail-remote would say
 * and do, so that qmail-rspawn, qmail-send and who reads their log see no difference, but for the line that names the TLS.
 * Descriptor 2 is the report too: nothing may be written to it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "control.h"
#include "tcpto.h"
#include "tls.h"
#include "wire.h"

/* Tests have a home, authorities and a name server of their own. */
#ifndef QMAIL_HOME
#define QMAIL_HOME "/var/qmail"
#endif
#ifndef AUTHORITIES
#define AUTHORITIES "/etc/ssl/certs/ca-certificates.crt"
#endif

enum {
  SMTP_PORT = 25,
  ADDRESSES = 64,      /* of one host that are tried */
  NAME_LIMIT = 256,    /* bytes of a host's name */
  REPLY_LIMIT = 65536, /* bytes of a reply; a server that says more is not listened to any longer */
  SHOWN = 5000,        /* bytes of a reply that are reported */
  GONE = -1            /* in place of a reply's code */
};

enum policy { OPTIONAL, REQUIRED, VERIFIED };

static char **arguments;
static char *helo;
static enum policy policy;
static char host[NAME_LIMIT];
static unsigned port = SMTP_PORT;
static struct in_addr partner;
static char said[REPLY_LIMIT + 1]; /* the last reply, without carriage returns */
static size_t said_length;
static int is_critical; /* the server may have taken the message */
static int is_midway;   /* plain text is over, and TLS has not come about */

/* Become qmail's own program, which begins anew. */
static _Noreturn void hand_over(void)
{
  signal(SIGPIPE, SIG_DFL);
  execv(QMAIL_HOME "/bin/qmail-remote", arguments);
  _exit(111);
}

/* Reports */

static _Noreturn void end_report(void)
{
  putchar(0);
  fflush(stdout);
  _exit(0);
}

static _Noreturn void report(const char *text)
{
  fputs(text, stdout);
  end_report();
}

static void tell_partner(void)
{
  char text[INET_ADDRSTRLEN];

  fputs(inet_ntop(AF_INET, &partner, text, sizeof text), stdout);
}

/* What the server said, as far as a bounce and a log can show it. */
static void tell_said(void)
{
  if (!said_length) return;
  fputs("Remote host said: ", stdout);
  for (size_t i = 0; i < said_length && i < SHOWN; ++i) {
    const unsigned char c = (unsigned char) said[i];

    putchar((c < ' ' && c != '\n' && c != '\t') || c == 127 ? '?' : c);
  }
  if (said[said_length - 1] != '\n' || said_length > SHOWN) putchar('\n');
  said_length = 0;
}

static void tell_tls(void)
{
  const struct tls *tls = wire_tls();

  printf("By %s %s%s.\n", tls_version(tls), tls_cipher(tls), tls_is_verified(tls) ? ", certificate verified" : "");
}

static _Noreturn void dropped(void)
{
  fputs("ZConnected to ", stdout);
  tell_partner();
  fputs(" but connection died. ", stdout);
  if (is_critical) fputs("Possible duplicate! ", stdout);
  report("(#4.4.2)\n");
}

/* End the talk and the report: K, Z or D, then what happened before and behind the server's address. */
static _Noreturn void quit(char letter, const char *before, const char *behind)
{
  wire_leave("QUIT\r\n");
  putchar(letter);
  fputs(before, stdout);
  tell_partner();
  fputs(behind, stdout);
  fputs(".\n", stdout);
  if (letter == 'K') tell_tls();
  tell_said();
  end_report();
}

static _Noreturn void bad_control(void)
{
  report("ZA control file cannot be read. (#4.3.0)\n");
}

/* Routes */

static char *read_text(const char *name, enum found *found)
{
  char *text = NULL;

  *found = control_text(name, &text);
  if (*found == UNREADABLE) bad_control();
  return text;
}

/* A word that is not known must not lower the guard. */
static enum policy policy_of(const char *word, size_t length)
{
  if (length == 8 && strncasecmp(word, "optional", length) == 0) return OPTIONAL;
  return length == 8 && strncasecmp(word, "required", length) == 0 ? REQUIRED : VERIFIED;
}

/* Take a route's server and port. 0: it names none, so MX records count. */
static int take_route(const char *value, size_t length)
{
  const char *colon = memchr(value, ':', length);
  const size_t name = colon ? (size_t) (colon - value) : length;

  if (!name) return 0;
  if (name >= sizeof host) bad_control();
  memcpy(host, value, name);
  host[name] = 0;
  if (colon) port = 0;
  for (size_t i = name + 1; i < length && value[i] >= '0' && value[i] <= '9' && port <= 65535; ++i)
    port = port * 10 + (unsigned) (value[i] - '0');
  if (port < 1 || port > 65535) bad_control();
  return 1;
}

/*
 * Find the route for a domain: its own, else the one of its nearest parent, with the dot, else the default. The policy is
 * that of this very route: one without is not given its parent's. 0: there is nothing to do here.
 */
static int find_route(const char *domain)
{
  enum found found;
  char *policies = read_text("tlsroutes", &found), *routes;
  const size_t length = strlen(domain);
  int is_ours = 0;

  if (found == ABSENT) return 0;
  routes = read_text("smtproutes", &found);
  for (size_t i = 0; found == FOUND && i <= length; ++i) {
    const char *route, *word;
    size_t route_length, word_length;

    if (i != 0 && i != length && domain[i] != '.') continue;
    route = control_find(routes, domain + i, length - i, &route_length);
    if (!route) continue;
    word = control_find(policies, domain + i, length - i, &word_length);
    if (word) policy = policy_of(word, word_length);
    is_ours = word && take_route(route, route_length);
    break;
  }
  free(policies);
  free(routes);
  return is_ours;
}

/* Addresses */

#ifdef NAME_SERVER_PORT
static void choose_name_server(void)
{
  res_init();
  _res.nscount = 1;
  _res.nsaddr_list[0].sin_port = htons(NAME_SERVER_PORT);
  _res.nsaddr_list[0].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  _res.nsaddr_list[0].sin_family = AF_INET;
}
#else
static void choose_name_server(void)
{
}
#endif

static _Noreturn void no_such_host(void)
{
  fputs("DSorry, I couldn't find any host named ", stdout);
  for (const char *c = host; *c; ++c) putchar(*c > ' ' && *c < 127 ? *c : '?');
  report(". (#5.1.2)\n");
}

/* An address, in brackets or not, is meant as it stands; `host` then is what a certificate must name. */
static int is_address(struct in_addr *address)
{
  const size_t length = strlen(host);

  if (host[0] == '[' && host[length - 1] == ']') {
    char inner[NAME_LIMIT] = "";

    memcpy(inner, host + 1, length - 2);
    if (inet_pton(AF_INET, inner, address) != 1) return 0;
    memcpy(host, inner, sizeof host);
    return 1;
  }
  return inet_pton(AF_INET, host, address) == 1;
}

static size_t find_addresses(struct in_addr addresses[ADDRESSES])
{
  static unsigned char answer[NS_MAXMSG];
  size_t count = 0;
  ns_msg message;
  ns_rr record;
  int length;

  if (is_address(addresses)) return 1;
  choose_name_server();
  errno = 0;
  length = res_query(host, ns_c_in, ns_t_a, answer, sizeof answer);
  if (length < 0 && h_errno != TRY_AGAIN && errno != ECONNREFUSED) no_such_host();
  if (length < 0 || ns_initparse(answer, length, &message) < 0)
    report("ZSorry, I couldn't find any host by that name. (#4.1.2)\n");
  for (int i = 0; i < ns_msg_count(message, ns_s_an) && count < ADDRESSES; ++i)
    if (ns_parserr(&message, ns_s_an, i, &record) == 0 && ns_rr_type(record) == ns_t_a
        && ns_rr_rdlen(record) == sizeof *addresses)
      memcpy(addresses + count++, ns_rr_rdata(record), sizeof *addresses);
  if (!count) report("DSorry, I couldn't find a mail exchanger or IP address. (#5.4.4)\n");
  return count;
}

/* The talk */

static int say(const char *text)
{
  return wire_put(text, strlen(text));
}

/* Read a whole reply into `said`. Its code, GONE if it does not come to its end, or is no reply, or none ends. */
static int hear(void)
{
  size_t line = 0;
  int code = 0;

  said_length = 0;
  if (wire_flush() < 0) return GONE;
  wire_await();
  for (;;) {
    const int c = wire_get();

    if (c < 0 || said_length == REPLY_LIMIT) return GONE;
    if (c == '\r') continue;
    said[said_length++] = (char) c;
    if (c != '\n') continue;
    if (said_length - line < 5 || said[line + 3] != '-') break;
    line = said_length;
  }
  said[said_length] = 0;
  for (int i = 0; i < 3; ++i) {
    if (said[i] < '0' || said[i] > '9') return GONE;
    code = code * 10 + said[i] - '0';
  }
  return code;
}

static int ask(const char *verb, const char *rest)
{
  return say(verb) < 0 || say(rest) < 0 || say("\r\n") < 0 ? GONE : hear();
}

/* Whether the reply to EHLO has a line for this word. */
static int offers(const char *word)
{
  const size_t length = strlen(word);

  for (const char *line = strchr(said, '\n'); line && line[1]; line = strchr(line + 1, '\n'))
    if (strlen(line + 1) >= 4 + length && strncasecmp(line + 5, word, length) == 0
        && (line[5 + length] == '\n' || line[5 + length] == ' '))
      return 1;
  return 0;
}

/* TLS */

static const char *authorities(void)
{
  static char *file;

  if (policy != VERIFIED) return NULL;
  switch (control_line("tlsca", &file)) {
  case FOUND: return file;
  case ABSENT: return AUTHORITIES;
  default: bad_control();
  }
}

/* Go on by TLS, before anything was said of the message. NULL, or why that has not come about, with its code. */
static const char *go_encrypted(const char **enhanced)
{
  int code = ask("EHLO ", helo);

  *enhanced = "4.7.4";
  if (code == GONE) return "the connection died at EHLO";
  if (code != 250) return "EHLO was refused";
  if (!offers("STARTTLS")) return "STARTTLS is not offered";
  *enhanced = "4.7.5";
  if (tls_prepare_client(authorities()) < 0) return "the file of authorities cannot be used";
  code = ask("STARTTLS", "");
  if (code == GONE) return "the connection died at STARTTLS";
  if (code != 220) return "STARTTLS was refused";
  /* Whoever can write into the plain text could have its words count as the server's. */
  if (wire_has_more()) return "more than a reply came to STARTTLS";
  said_length = 0;
  is_midway = 1;
  if (wire_encrypt(host) < 0) return tls_problem();
  is_midway = 0;
  if (policy == VERIFIED && !tls_is_verified(wire_tls())) return "the certificate was not verified";
  code = ask("EHLO ", helo);
  if (code == GONE) return "the connection died behind the handshake";
  return code == 250 ? NULL : "EHLO was refused behind the handshake";
}

static void insist_on_tls(void)
{
  const char *enhanced, *why = go_encrypted(&enhanced);

  if (!why) return;
  wire_leave(is_midway ? "" : "QUIT\r\n");
  if (policy == OPTIONAL) hand_over();
  fputs("ZConnected to ", stdout);
  tell_partner();
  printf(" but TLS is %s for this route, and %s. (#%s)\n", policy == VERIFIED ? "to be verified" : "required", why,
         enhanced);
  tell_said();
  end_report();
}

/* The transaction */

static int is_plain(unsigned char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
         || (c && strchr("!#$%&'*+-/=?^_`{|}~.", c));
}

static int needs_quotes(const char *box, size_t length)
{
  if (!length || box[0] == '.' || box[length - 1] == '.') return 1;
  for (size_t i = 0; i < length; ++i)
    if (!is_plain((unsigned char) box[i]) || (box[i] == '.' && box[i + 1] == '.')) return 1;
  return 0;
}

static int say_address(const char *address)
{
  const char *at = strrchr(address, '@');
  const size_t length = at ? (size_t) (at - address) : 0;

  if (!at || !needs_quotes(address, length)) return say(address);
  if (say("\"") < 0) return -1;
  for (size_t i = 0; i < length; ++i)
    if (((address[i] == '"' || address[i] == '\\') && say("\\") < 0) || wire_put(address + i, 1) < 0) return -1;
  return say("\"") < 0 ? -1 : say(at);
}

static int ask_about(const char *verb, const char *address)
{
  const int code = say(verb) < 0 || say_address(address) < 0 ? GONE : ask(">", "");

  if (code == GONE) dropped();
  return code;
}

/* Offer every recipient, and report of each; whether there is one that the server takes. */
static int offer_recipients(void)
{
  int taken = 0;

  for (char **recipient = arguments + 3; *recipient; ++recipient) {
    const int code = ask_about("RCPT TO:<", *recipient);

    if (code >= 400) {
      putchar(code >= 500 ? 'h' : 's');
      tell_partner();
      fputs(" does not like recipient.\n", stdout);
      tell_said();
    } else {
      putchar('r');
      taken = 1;
    }
    putchar(0);
  }
  return taken;
}

static void put(const char *data, size_t length)
{
  if (wire_put(data, length) < 0) dropped();
}

/*
 * Send the message with lines as SMTP has them. A carriage return alone ends a line too, as it does for some servers: a dot
 * behind it must be doubled like any other, or those would take what follows for commands.
 */
static void send_message(void)
{
  static char block[16384];
  int at_start = 1, after_return = 0;
  ssize_t n;

  while ((n = read(0, block, sizeof block)) != 0) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) report("ZThe message cannot be read. (#4.3.0)\n");
    for (ssize_t i = 0; i < n; ++i) {
      const char c = block[i];

      if (c == '\r' || (c == '\n' && !after_return)) put("\r\n", 2);
      else if (c != '\n') put(c == '.' && at_start ? ".." : &c, c == '.' && at_start ? 2 : 1);
      at_start = c == '\r' || c == '\n';
      after_return = c == '\r';
    }
  }
  if (!at_start) report("DSMTP has no messages whose last line does not end. (#5.6.2)\n");
}

static _Noreturn void deliver(void)
{
  int code = hear();

  if (code == GONE) dropped();
  if (code != 220) quit('Z', "Connected to ", " but greeting failed");
  insist_on_tls();

  code = ask_about("MAIL FROM:<", arguments[2]);
  if (code >= 400) quit(code >= 500 ? 'D' : 'Z', "Connected to ", " but sender was rejected");
  if (!offer_recipients()) {
    said_length = 0;
    quit('D', "Giving up on ", "");
  }
  code = ask("DATA", "");
  if (code == GONE) dropped();
  if (code >= 400) quit(code >= 500 ? 'D' : 'Z', "", " failed on DATA command");

  send_message();
  is_critical = 1;
  put(".\r\n", 3);
  code = hear();
  if (code == GONE) dropped();
  if (code >= 400) quit(code >= 500 ? 'D' : 'Z', "", " failed after I sent the message");
  quit('K', "", " accepted message");
}

/* Within a command, a line's end would begin another one. */
static void refuse_broken_lines(void)
{
  for (char **argument = arguments + 2; *argument; ++argument)
    if (strpbrk(*argument, "\r\n")) report("DAn address with a line's end in it is none. (#5.1.3)\n");
}

int main(int argc, char **argv)
{
  struct in_addr addresses[ADDRESSES];
  int connect_seconds = 60, seconds = 1200;
  size_t count;
  enum found me;

  arguments = argv;
  if (argc < 4 || chdir(QMAIL_HOME) < 0 || !find_route(argv[1])) hand_over();

  signal(SIGPIPE, SIG_IGN);
  refuse_broken_lines();
  me = control_line("helohost", &helo);
  if (me == ABSENT) me = control_line("me", &helo);
  if (me != FOUND || control_number("timeoutconnect", &connect_seconds) == UNREADABLE
      || control_number("timeoutremote", &seconds) == UNREADABLE)
    bad_control();
  wire_patience(seconds);

  count = find_addresses(addresses);
  for (size_t i = 0; i < count; ++i) {
    if (tcpto_is_away(addresses[i])) continue;
    if (wire_connect(addresses[i], port, connect_seconds) == 0) {
      tcpto_note(addresses[i], 0);
      partner = addresses[i];
      deliver();
    }
    tcpto_note(addresses[i], errno == ETIMEDOUT);
  }
  report("ZSorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n");
}

/* A client's connection, in plain text or by TLS, on which nothing is waited for without end. One a process. */
#ifndef WIRE_H
#define WIRE_H

#include <netinet/in.h>
#include <stddef.h>

/* Connect within so many seconds. 0, or -1 with errno. */
int wire_connect(struct in_addr host, unsigned port, int seconds);

/* How long a reply may take, and how long the peer may take to read a block of what is sent. */
void wire_patience(int seconds);

/* Send bytes, in blocks; wire_flush sends what is left of them. 0, or -1: the peer is gone, or does not read. */
int wire_put(const char *data, size_t length);
int wire_flush(void);

/* From here on a reply's time runs. */
void wire_await(void);

/* The next byte of the peer's; -1: the peer is gone, or has let the time run out. */
int wire_get(void);

/* Whether bytes have come, as far as is known without waiting, that wire_get has not returned. */
int wire_has_more(void);

/* Go on by TLS, with the server's name for tls_connect. 0, or -1: tls_problem() says why. */
int wire_encrypt(const char *host);

/* The connection's TLS, NULL in plain text. */
const struct tls *wire_tls(void);

/* Say a last word without waiting until it is heard, and leave. */
void wire_leave(const char *word);

#endif

/* TLS on a connection that has begun in plain text, by OpenSSL: the server's side and the client's. */
#ifndef TLS_H
#define TLS_H

#include <sys/types.h>

enum { TLS_WAIT = -1, TLS_GONE = -2 };

/* A connection's TLS. reads_on, writes_on: the poll(2) events for which the last tls_read or tls_write waits. */
struct tls {
  struct ssl_st *session;
  short reads_on, writes_on;
};

/* What the last failure was about. */
const char *tls_problem(void);

/*
 * As a server: read key and certificates (PEM: the key, then the chain from the server's own on) from a descriptor, under a read
 * lock of fcntl(2), so that a file that is being written anew is seen before or after. 0, or -1.
 */
int tls_prepare(int pem);

/* As a client: authorities is the PEM file of those that are trusted, NULL where the server need not prove who it is. */
int tls_prepare_client(const char *authorities);

/* Shake hands on a non-blocking socket within so many milliseconds. 0, or -1. */
int tls_accept(struct tls *tls, int socket, int milliseconds);

/* The same as a client. host: the name or IPv4 address that a server must prove which has to prove who it is. */
int tls_connect(struct tls *tls, int socket, int milliseconds, const char *host);

const char *tls_version(const struct tls *tls);
const char *tls_cipher(const struct tls *tls);

/* Whether the peer had to prove who it is, and did. */
int tls_is_verified(const struct tls *tls);

/* As read(2) and write(2), but for TLS_WAIT (see reads_on, writes_on) and TLS_GONE. 0: the peer has said goodbye. */
ssize_t tls_read(struct tls *tls, void *data, size_t length);
ssize_t tls_write(struct tls *tls, const void *data, size_t length);

/* Say goodbye; does not wait for the peer's. */
void tls_close(struct tls *tls);

#endif

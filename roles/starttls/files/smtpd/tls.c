#include "tls.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* TLS 1.2 gets forward secrecy and authenticated encryption only; TLS 1.3 has nothing else. */
#define TLS12_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

enum { PEM_LIMIT = 1 << 18 }; /* bytes of key and chain */

static SSL_CTX *context;
static char problem[256];

const char *tls_problem(void)
{
  return problem;
}

/* Note what went wrong: OpenSSL's own words if it has any. */
static int failed(const char *what)
{
  const unsigned long code = ERR_get_error();

  if (code) ERR_error_string_n(code, problem, sizeof problem);
  else strncpy(problem, what, sizeof problem - 1);
  ERR_clear_error();
  return -1;
}

/* A key that needs a passphrase is of no use here; without this, OpenSSL would ask the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *data)
{
  (void) buffer, (void) size, (void) writing, (void) data;
  return 0;
}

/* The descriptor is shared with every other session, so its offset is not to be moved. */
static BIO *read_whole(int pem)
{
  struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
  BIO *text = BIO_new(BIO_s_mem());
  char block[4096];
  ssize_t n = 0;
  off_t at = 0;

  if (!text || fcntl(pem, F_SETLKW, &lock) < 0) return text;
  while (at < PEM_LIMIT && (n = pread(pem, block, sizeof block, at)) > 0) {
    BIO_write(text, block, (int) n);
    at += n;
  }
  lock.l_type = F_UNLCK;
  fcntl(pem, F_SETLK, &lock);
  OPENSSL_cleanse(block, sizeof block);
  return text;
}

static int use_key(BIO *text)
{
  EVP_PKEY *key = PEM_read_bio_PrivateKey(text, NULL, no_passphrase, NULL);
  const int used = key && SSL_CTX_use_PrivateKey(context, key) == 1;

  EVP_PKEY_free(key);
  return used ? 0 : failed("no key");
}

static int use_chain(BIO *text)
{
  X509 *certificate = PEM_read_bio_X509(text, NULL, no_passphrase, NULL);
  const int used = certificate && SSL_CTX_use_certificate(context, certificate) == 1;

  X509_free(certificate);
  if (!used) return failed("no certificate");
  while ((certificate = PEM_read_bio_X509(text, NULL, no_passphrase, NULL)) != NULL)
    if (SSL_CTX_add0_chain_cert(context, certificate) != 1) {
      X509_free(certificate);
      return failed("a certificate of the chain");
    }
  ERR_clear_error(); /* the end of the text is no error */
  return 0;
}

int tls_prepare(int pem)
{
  BIO *text;
  int result;

  context = SSL_CTX_new(TLS_server_method());
  if (!context) return failed("no memory");
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  /* A process serves one connection: there is no session to be resumed, so no tickets either. */
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (SSL_CTX_set_cipher_list(context, TLS12_CIPHERS) != 1) return failed("no ciphers");

  text = read_whole(pem);
  if (!text) return failed("no memory");
  result = use_key(text) || use_chain(text) ? -1 : 0;
  BIO_free(text);
  if (!result && SSL_CTX_check_private_key(context) != 1) return failed("key and certificate do not belong together");
  return result;
}

static long long now(void)
{
  struct timespec at;

  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000LL + at.tv_nsec / 1000000;
}

int tls_accept(struct tls *tls, int socket, int milliseconds)
{
  const long long deadline = now() + milliseconds;

  tls->reads_on = POLLIN;
  tls->writes_on = POLLOUT;
  tls->session = SSL_new(context);
  if (!tls->session || SSL_set_fd(tls->session, socket) != 1) return failed("no memory");
  for (;;) {
    struct pollfd one = { .fd = socket };
    const int result = SSL_accept(tls->session);
    const long long left = deadline - now();

    if (result == 1) return 0;
    switch (SSL_get_error(tls->session, result)) {
    case SSL_ERROR_WANT_READ: one.events = POLLIN; break;
    case SSL_ERROR_WANT_WRITE: one.events = POLLOUT; break;
    default: return failed("the client went away");
    }
    if (left <= 0 || poll(&one, 1, (int) left) == 0) return failed("the client took too long");
  }
}

const char *tls_version(const struct tls *tls)
{
  return SSL_get_version(tls->session);
}

const char *tls_cipher(const struct tls *tls)
{
  return SSL_get_cipher_name(tls->session);
}

/* What a call that moved no byte means. */
static ssize_t outcome(struct tls *tls, int result, short *waits_for)
{
  switch (SSL_get_error(tls->session, result)) {
  case SSL_ERROR_WANT_READ: *waits_for = POLLIN; return TLS_WAIT;
  case SSL_ERROR_WANT_WRITE: *waits_for = POLLOUT; return TLS_WAIT;
  case SSL_ERROR_ZERO_RETURN: return 0;
  default: ERR_clear_error(); return TLS_GONE;
  }
}

ssize_t tls_read(struct tls *tls, void *data, size_t length)
{
  const int n = SSL_read(tls->session, data, (int) length);

  return n > 0 ? n : outcome(tls, n, &tls->reads_on);
}

ssize_t tls_write(struct tls *tls, const void *data, size_t length)
{
  const int n = SSL_write(tls->session, data, (int) length);

  return n > 0 ? n : outcome(tls, n, &tls->writes_on);
}

void tls_close(struct tls *tls)
{
  SSL_shutdown(tls->session);
}

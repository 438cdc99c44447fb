#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* TLS 1.2 gets forward secrecy and authenticated encryption only; TLS 1.3 has nothing else. */
#define TLS12_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

enum {
  PEM_LIMIT = 1 << 18,
  LOCK_WAIT = 2000 /* milliseconds for a writer of key and chain */
};                 /* bytes of key and chain */

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

static long long now(void)
{
  struct timespec at;

  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000LL + at.tv_nsec / 1000000;
}

/* A writer holds its lock for as long as a write takes; who holds it for longer must not hold up every session. */
static int read_lock(int pem)
{
  struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
  const long long deadline = now() + LOCK_WAIT;

  while (fcntl(pem, F_SETLK, &lock) < 0) {
    if ((errno != EAGAIN && errno != EACCES && errno != EINTR) || now() >= deadline) return -1;
    poll(NULL, 0, 10);
  }
  return 0;
}

/* The descriptor is shared with every other session, so its offset is not to be moved. */
static BIO *read_whole(int pem)
{
  struct flock unlock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
  BIO *text;
  char block[4096];
  ssize_t n = 0;
  off_t at = 0;

  if (read_lock(pem) < 0 || !(text = BIO_new(BIO_s_mem()))) return NULL;
  while (at < PEM_LIMIT && (n = pread(pem, block, sizeof block, at)) > 0) {
    BIO_write(text, block, (int) n);
    at += n;
  }
  fcntl(pem, F_SETLK, &unlock);
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

/* What holds for both sides. A process has one connection: there is no session to be resumed, so no tickets either. */
static int prepare(const SSL_METHOD *method)
{
  SSL_CTX_free(context); /* of a try that failed */
  context = SSL_CTX_new(method);
  if (!context) return failed("no memory");
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return SSL_CTX_set_cipher_list(context, TLS12_CIPHERS) == 1 ? 0 : failed("no ciphers");
}

int tls_prepare(int pem)
{
  BIO *text;
  int result;

  if (prepare(TLS_server_method()) < 0) return -1;
  SSL_CTX_set_num_tickets(context, 0);
  text = read_whole(pem);
  if (!text) return failed("the file of key and certificates cannot be read now");
  result = use_key(text) || use_chain(text) ? -1 : 0;
  BIO_free(text);
  if (!result && SSL_CTX_check_private_key(context) != 1) return failed("key and certificate do not belong together");
  return result;
}

int tls_prepare_client(const char *authorities)
{
  if (prepare(TLS_client_method()) < 0) return -1;
  if (!authorities) return 0;
  if (SSL_CTX_load_verify_file(context, authorities) != 1) return failed("no authorities");
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  return 0;
}

static int begin(struct tls *tls, int socket)
{
  tls->reads_on = POLLIN;
  tls->writes_on = POLLOUT;
  tls->session = SSL_new(context);
  return tls->session && SSL_set_fd(tls->session, socket) == 1 ? 0 : failed("no memory");
}

/* OpenSSL says of each certificate that it is not trusted no more than that it is not; why is in the session. */
static int no_handshake(const struct tls *tls)
{
  const long verdict = SSL_get_verify_result(tls->session);

  if (SSL_get_verify_mode(tls->session) == SSL_VERIFY_NONE || verdict == X509_V_OK) return failed("the peer went away");
  ERR_clear_error();
  return failed(X509_verify_cert_error_string(verdict));
}

static int shake_hands(struct tls *tls, int socket, int milliseconds, int (*step)(SSL *))
{
  const long long deadline = now() + milliseconds;

  for (;;) {
    struct pollfd one = { .fd = socket };
    const int result = step(tls->session);
    const long long left = deadline - now();

    if (result == 1) return 0;
    switch (SSL_get_error(tls->session, result)) {
    case SSL_ERROR_WANT_READ: one.events = POLLIN; break;
    case SSL_ERROR_WANT_WRITE: one.events = POLLOUT; break;
    default: return no_handshake(tls);
    }
    if (left <= 0 || poll(&one, 1, (int) left) == 0) return failed("the peer took too long");
  }
}

int tls_accept(struct tls *tls, int socket, int milliseconds)
{
  return begin(tls, socket) < 0 ? -1 : shake_hands(tls, socket, milliseconds, SSL_accept);
}

/* A name stands in subjectAltName, whole or with a star for its first label; a subject's CN is not looked at (RFC 9525). */
static int expect(struct tls *tls, const char *host)
{
  X509_VERIFY_PARAM *wanted = SSL_get0_param(tls->session);
  struct in_addr address;

  X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  if (inet_pton(AF_INET, host, &address) == 1)
    return X509_VERIFY_PARAM_set1_ip(wanted, (const unsigned char *) &address, sizeof address) == 1;
  return X509_VERIFY_PARAM_set1_host(wanted, host, 0) == 1 && SSL_set_tlsext_host_name(tls->session, host) == 1;
}

int tls_connect(struct tls *tls, int socket, int milliseconds, const char *host)
{
  if (begin(tls, socket) < 0) return -1;
  if (!expect(tls, host)) return failed("a host of this name cannot be looked for");
  return shake_hands(tls, socket, milliseconds, SSL_connect);
}

const char *tls_version(const struct tls *tls)
{
  return SSL_get_version(tls->session);
}

const char *tls_cipher(const struct tls *tls)
{
  return SSL_get_cipher_name(tls->session);
}

int tls_is_verified(const struct tls *tls)
{
  return SSL_get_verify_mode(tls->session) != SSL_VERIFY_NONE && SSL_get0_peer_certificate(tls->session)
         && SSL_get_verify_result(tls->session) == X509_V_OK;
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

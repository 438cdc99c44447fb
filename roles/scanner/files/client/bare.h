/*
 * System calls and a start without a C library.
 *
 * A process that glibc has started, even statically, has taken some 25 page faults before main: three quarters of
 * what the scanner's queue client costs, on every message, and of gatepost's client, which has this file by a link.
 * They need a dozen system calls and no library, so they go without. A call returns what the kernel returns: a negative
 * number is the negated errno.
 *
 * Written for x86-64 and arm64. On other 64-bit machines, or with -DBARE_LIBC, the same functions stand on the
 * C library; leave out -nostdlib there.
 */
#ifndef BARE_H
#define BARE_H

#if __SIZEOF_LONG__ < 8
#error "these clients are for 64-bit machines: they hand the kernel 64-bit offsets and times"
#endif

#include <stddef.h>
#include <sys/syscall.h>

#define CALL(number, ...) CALL_(number, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_(number, a, b, c, d, e, f, ...) \
  call(number, (long) (a), (long) (b), (long) (c), (long) (d), (long) (e), (long) (f))

static int start(int argc, char **argv, char **environment);

#if (defined __x86_64__ || defined __aarch64__) && !defined BARE_LIBC

#if defined __x86_64__
static inline long call(long number, long a, long b, long c, long d, long e, long f)
{
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;

  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n\thlt\n");
#else
static inline long call(long number, long a, long b, long c, long d, long e, long f)
{
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;

  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tb begin\n");
#endif

static _Noreturn void leave(int status)
{
  for (;;) CALL(SYS_exit_group, status);
}

/* What the kernel leaves on the stack: the arguments' count, they, a null, the environment. */
_Noreturn void begin(long *stack);
_Noreturn void begin(long *stack)
{
  char **argv = (char **) (stack + 1);

  leave(start((int) *stack, argv, argv + *stack + 1));
}

#else /* with the C library */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static long call(long number, long a, long b, long c, long d, long e, long f)
{
  long result = syscall(number, a, b, c, d, e, f);

  return result == -1 ? -errno : result;
}

static _Noreturn void leave(int status)
{
  _exit(status);
}

int main(int argc, char **argv)
{
  return start(argc, argv, environ);
}

#endif

/* The few functions on bytes that are needed. Their loops must not be made into calls of memcpy and strlen. */
#if defined __GNUC__ && !defined __clang__
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

static inline size_t length_of(const char *text, size_t limit)
{
  size_t n = 0;

  while (n < limit && text[n]) ++n;
  return n;
}

static inline char *append(char *to, const char *from, size_t length)
{
  while (length--) *to++ = *from++;
  return to;
}

/* The value of NAME in an environment, or a null pointer. */
static inline const char *variable(char **environment, const char *name)
{
  for (; *environment; ++environment) {
    const char *entry = *environment, *wanted = name;
    while (*wanted && *entry == *wanted) ++entry, ++wanted;
    if (!*wanted && *entry == '=') return entry + 1;
  }
  return NULL;
}

#endif

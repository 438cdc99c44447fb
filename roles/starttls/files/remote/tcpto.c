#define _GNU_SOURCE
#include "tcpto.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/*
 * The table is a file of 16 bytes a host: 4 of its address, one that counts timeouts (0: the place is free), 3 unused, 4 of
 * the last one's time (least byte first), 4 unused. It has as many places as the file that qmail was installed with, 64 at
 * most, and whoever reads or writes it holds flock(2).
 */
enum {
  PLACE = 16,
  PLACES = 64,
  COUNT = 4,
  WHEN = 8,
  AWAY_FROM = 2, /* timeouts */
  COUNT_LIMIT = 10,
  APART = 120,     /* seconds within which a further timeout tells nothing new */
  AWAY = 60 << 6,  /* seconds; and up to half as many again, so that not all processes come back at once */
  WEIGHT = 1 << 10 /* seconds that a timeout is worth when a place is to be made free */
};

typedef unsigned char place[PLACE];

static place table[PLACES];
static int was_there;

/* Returns the descriptor that holds the lock, -1 if there is no table. */
static int read_table(int *places)
{
  const int file = open("queue/lock/tcpto", O_RDWR | O_CLOEXEC);
  ssize_t n;

  if (file < 0) return -1;
  while (flock(file, LOCK_EX) < 0)
    if (errno != EINTR) {
      close(file);
      return -1;
    }
  n = pread(file, table, sizeof table, 0);
  *places = n < 0 ? 0 : (int) (n / PLACE);
  return file;
}

static unsigned long when(const place at)
{
  return at[WHEN] | (unsigned long) at[WHEN + 1] << 8 | (unsigned long) at[WHEN + 2] << 16
         | (unsigned long) at[WHEN + 3] << 24;
}

static unsigned long now(void)
{
  return (unsigned long) time(NULL) & 0xffffffffUL;
}

static int find(struct in_addr host, int places)
{
  for (int i = 0; i < places; ++i)
    if (memcmp(table[i], &host, sizeof host) == 0) return i;
  return -1;
}

/* A free place, else the one of the host that has been quiet for longest, by its timeouts. */
static int make_room(int places)
{
  int oldest = places ? 0 : -1;

  for (int i = 0; i < places; ++i)
    if (!table[i][COUNT]) return i;
  for (int i = 1; i < places; ++i)
    if (when(table[i]) + WEIGHT * table[i][COUNT] < when(table[oldest]) + WEIGHT * table[oldest][COUNT]) oldest = i;
  return oldest;
}

int tcpto_is_away(struct in_addr host)
{
  int places = 0, at;
  const int file = read_table(&places);

  was_there = 0;
  if (file < 0) return 0;
  close(file);
  at = find(host, places);
  if (at < 0) return 0;
  was_there = 1;
  return table[at][COUNT] >= AWAY_FROM && now() - when(table[at]) < AWAY + ((unsigned long) (getpid() & 31) << 6);
}

/* Change what is known of a host at its place; 0: it stays as it is. */
static int change(place at, int timed_out)
{
  const unsigned long time = now();

  if (!timed_out) at[COUNT] = 0;
  else {
    if (at[COUNT] && time < when(at) + APART) return 0;
    if (at[COUNT] < COUNT_LIMIT) ++at[COUNT];
    for (int i = 0; i < 4; ++i) at[WHEN + i] = (unsigned char) (time >> 8 * i);
  }
  return 1;
}

void tcpto_note(struct in_addr host, int timed_out)
{
  int places = 0, file, at;

  if (!timed_out && !was_there) return; /* there is nothing to be taken back */
  file = read_table(&places);
  if (file < 0) return;
  at = find(host, places);
  if (at < 0 && timed_out && (at = make_room(places)) >= 0) {
    memcpy(table[at], &host, sizeof host);
    table[at][COUNT] = 0;
  }
  /* Nothing is lost with a table that cannot be written but time. */
  if (at >= 0 && change(table[at], timed_out) && pwrite(file, table[at], PLACE, (off_t) at * PLACE) < 0) at = -1;
  close(file);
}

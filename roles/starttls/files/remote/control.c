#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { TEXT_LIMIT = 1 << 24 }; /* bytes; a file of routes for every domain that there is would be less */

/* Read all of it, and a NUL behind; NULL if that cannot be. */
static char *read_all(int file)
{
  size_t room = 4096, length = 0;
  char *text = malloc(room);

  while (text) {
    const ssize_t n = read(file, text + length, room - length - 1);

    if (n < 0 && errno == EINTR) continue;
    if (n < 0 || length > TEXT_LIMIT) break;
    if (n == 0) {
      text[length] = 0;
      return text;
    }
    length += (size_t) n;
    if (length + 1 == room) {
      char *more = realloc(text, room *= 2);

      if (!more) break;
      text = more;
    }
  }
  free(text);
  return NULL;
}

enum found control_text(const char *name, char **text)
{
  char path[64];
  int file;

  snprintf(path, sizeof path, "control/%s", name);
  file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return errno == ENOENT ? ABSENT : UNREADABLE;
  *text = read_all(file);
  close(file);
  return *text ? FOUND : UNREADABLE;
}

/* The length of a line without the blanks at its end. */
static size_t trimmed(const char *line, size_t length)
{
  while (length && (line[length - 1] == ' ' || line[length - 1] == '\t')) --length;
  return length;
}

enum found control_line(const char *name, char **line)
{
  const enum found found = control_text(name, line);

  if (found == FOUND) (*line)[trimmed(*line, strcspn(*line, "\n"))] = 0;
  return found;
}

enum found control_number(const char *name, int *number)
{
  char *line, *end;
  const enum found found = control_line(name, &line);
  long value;

  if (found != FOUND) return found;
  value = strtol(line, &end, 10);
  if (*line >= '0' && *line <= '9') *number = value > INT_MAX / 1000 ? INT_MAX / 1000 : (int) value;
  free(line);
  return FOUND;
}

const char *control_find(const char *text, const char *key, size_t length, size_t *value_length)
{
  const char *value = NULL;

  while (*text) {
    const size_t line = strcspn(text, "\n"), end = trimmed(text, line);

    if (*text != '#' && end > length && text[length] == ':' && !memchr(text, ':', length)
        && strncasecmp(text, key, length) == 0) {
      value = text + length + 1;
      *value_length = end - length - 1;
    }
    text += line + (text[line] == '\n');
  }
  return value;
}

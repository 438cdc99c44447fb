/* qmail's control files, read from its home as qmail's own programs read them. */
#ifndef CONTROL_H
#define CONTROL_H

#include <stddef.h>

enum found { FOUND, ABSENT, UNREADABLE };

/* The whole of a control file as text, to be kept. */
enum found control_text(const char *name, char **text);

/* The first line of a control file, without blanks at its end, to be kept. */
enum found control_line(const char *name, char **line);

/* The number that a control file begins with, which stays what it is if there is none. */
enum found control_number(const char *name, int *number);

/*
 * Look a key of this length up in a text of lines `key:value`, in either case; of several lines the last one holds.
 * Returns the value, its length in `value_length`, or NULL.
 */
const char *control_find(const char *text, const char *key, size_t length, size_t *value_length);

#endif

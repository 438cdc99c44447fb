/* qmail's table of hosts that lately did not answer (queue/lock/tcpto), which this shares with qmail's own qmail-remote. */
#ifndef TCPTO_H
#define TCPTO_H

#include <netinet/in.h>

/* Whether a host has timed out so lately and so often that it is not to be tried now. */
int tcpto_is_away(struct in_addr host);

/* Note how a connection to the host went that was asked for last. */
void tcpto_note(struct in_addr host, int timed_out);

#endif

/* The cheapest QMAILQUEUE there is: it becomes qmail-queue. What any wrapper costs at least. */
#include <unistd.h>

int main(void)
{
  execl(NEXT, NEXT, (char *) 0);
  _exit(120);
}

/* crash-log-enabled: what the log says of a process that a signal of its own fault ends. */
#ifndef SETT_CRASH_REPORT_H
#define SETT_CRASH_REPORT_H

#include "config/config.h"

/* From now on SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT write a report, in the words of redis-server's, to the log, and
 * then do what they would have done. Follows changes of the directive. One process has one. Does nothing in builds with a
 * sanitizer, which has reports of its own. SETT_NO_MEMORY. */
int crash_report_start(struct config *);

#endif

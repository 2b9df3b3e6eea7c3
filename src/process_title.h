/* set-proc-title and proc-title-template: what ps shows of the process. */
#ifndef SETT_PROCESS_TITLE_H
#define SETT_PROCESS_TITLE_H

#include "config/config.h"
#include "storage/base/thread.h"

struct process_title {
	struct config *config;
	struct mutex mutex;
	char *area; /* argv and the environment, as the system laid them out; NULL: nothing is shown */
	size_t size;
	char *name; /* argv[0] */
};

/* First of all, before a thread is started: remembers where the title goes, and moves the environment away from there.
 * `argv` itself keeps its strings until process_title_start. False if there is no memory for it. */
bool process_title_prepare(struct process_title *, int argc, char **argv);
/* Shows the title, if set-proc-title says so, and follows changes of what it is made of. `argv` is gone then. The struct must
 * stay where it is as long as the configuration. SETT_NO_MEMORY. */
int process_title_start(struct process_title *, struct config *);
/* Gives back what process_title_prepare remembered: nothing is shown from now on. */
void process_title_free(struct process_title *);

#endif

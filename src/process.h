/* What a server does with its process: signals, the background, the pid file. */
#ifndef SETT_PROCESS_H
#define SETT_PROCESS_H

#include <pthread.h>
#include <stdbool.h>

#include "config/config.h"
#include "storage/base/log_sink.h"

/* Before any thread is started: blocks the signals that ask for an end (signal_watch waits for them) and
 * ignores SIGPIPE and SIGHUP. */
void process_prepare_signals(void);

/* Before any thread is started, which inherits it: asks for short time slices, where the system gives them
 * (Linux 6.12 and later, EEVDF), so that a reactor that shares its core with workers waits for less. No more
 * and no less of the processor for any of them. */
void process_shorten_slices(void);

struct shutdown;

/* A thread that turns SIGTERM and SIGINT into shutdown_ask_by_signal. */
struct signal_watch {
	struct shutdown *shutdown;
	struct log_sink sink;
	pthread_t thread;
	bool ending; /* atomic */
	bool asked;  /* atomic; by a signal */
	bool started;
};
/* The struct must stay where it is until the stop. SETT_NO_MEMORY, SETT_IO. */
int signal_watch_start(struct signal_watch *, struct shutdown *, struct log_sink);
/* Whether a signal has asked for the end. Any thread. */
bool signal_watch_is_asked(const struct signal_watch *);
/* The end was called off. */
void signal_watch_forget(struct signal_watch *);
/* No-op if it was not started. */
void signal_watch_stop(struct signal_watch *);

/* Goes to the background: returns in the child, false if that fails (errno). */
bool process_daemonize(void);
/* Writes the pid file where one is configured, or the process went to the background. */
void process_write_pid_file(const struct config *, bool in_background, const struct log_sink *);
void process_remove_pid_file(const struct config *, bool in_background);

#endif

/* What a server does with its process.
 *
 * Signals are not handled but waited for: blocked in every thread (storage/base/thread.h does so for those it
 * starts), they are taken by one thread with sigwaitinfo, which may do and log what it likes. So no handler
 * needs a global variable, and as process 1 of a container, where default actions are off, it works the same.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "moving/shutdown.h"
#include "storage/base/thread.h"

enum {
	SLICE_NS = 200 * 1000,
};

/* As sched_setattr(2) has it; neither glibc's header nor the kernel's, which does not go with the former, is
 * of use here. */
struct scheduling {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

static const char default_pid_file[] = "/var/run/sett.pid";

static void
end_signals(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGTERM);
	sigaddset(ret, SIGINT);
}

void
process_prepare_signals(void)
{
	sigset_t set;
	end_signals(&set);
	/* Cannot fail with these arguments. */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
}

static void
ask_for_scheduling(pid_t thread, const void *arg)
{
	(void)syscall(SYS_sched_setattr, thread, arg, 0);
}

void
process_shorten_slices(void)
{
	struct scheduling s;
	if (syscall(SYS_sched_getattr, 0, &s, sizeof(s), 0) != 0 ||
	    (s.policy != SCHED_OTHER && s.policy != SCHED_BATCH))
		return;
	s.runtime_ns = SLICE_NS;
	/* Older systems take no notice, and some containers forbid it: it is a wish. */
	thread_ask_system(ask_for_scheduling, &s);
}

static void *
watch_signals(void *arg)
{
	struct signal_watch *watch = arg;
	sigset_t set;
	end_signals(&set);
	for (;;) {
		int number = sigwaitinfo(&set, NULL);
		/* Acquire pairs with signal_watch_stop, which sends a signal to end the wait. */
		if (__atomic_load_n(&watch->ending, __ATOMIC_ACQUIRE))
			return NULL;
		if (number < 0)
			continue;
		if (__atomic_load_n(&watch->asked, __ATOMIC_RELAXED) && number == SIGINT) {
			log_sink_printf(&watch->sink, LOG_LEVEL_WARNING, "You insist... exiting now.");
			shutdown_leave(watch->shutdown);
			_exit(1);
		}
		__atomic_store_n(&watch->asked, true, __ATOMIC_RELAXED); /* it stands for itself */
		log_sink_printf(&watch->sink, LOG_LEVEL_WARNING, "Received %s scheduling shutdown...",
				number == SIGINT ? "SIGINT" : "SIGTERM");
		shutdown_ask_by_signal(watch->shutdown, number == SIGINT);
	}
}

int
signal_watch_start(struct signal_watch *watch, struct shutdown *shutdown, struct log_sink sink)
{
	*watch = (struct signal_watch){.shutdown = shutdown, .sink = sink};
	int status = thread_start(&watch->thread, "signals", watch_signals, watch);
	watch->started = status == SETT_OK;
	return status;
}

bool
signal_watch_is_asked(const struct signal_watch *watch)
{
	return __atomic_load_n(&watch->asked, __ATOMIC_RELAXED);
}

void
signal_watch_forget(struct signal_watch *watch)
{
	__atomic_store_n(&watch->asked, false, __ATOMIC_RELAXED);
}

void
signal_watch_stop(struct signal_watch *watch)
{
	if (!watch->started)
		return;
	__atomic_store_n(&watch->ending, true, __ATOMIC_RELEASE);
	pthread_kill(watch->thread, SIGTERM);
	thread_join(watch->thread);
	watch->started = false;
}

bool
process_daemonize(void)
{
	pid_t child = fork();
	if (child < 0)
		return false;
	if (child > 0)
		_exit(0);
	if (setsid() < 0)
		return false;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = dup2(fd, STDIN_FILENO) >= 0 && dup2(fd, STDOUT_FILENO) >= 0 && dup2(fd, STDERR_FILENO) >= 0;
	if (fd > STDERR_FILENO)
		close(fd);
	return ok;
}

static const char *
pid_file(const struct config *config, bool in_background)
{
	if (config->pid_file != NULL && config->pid_file[0] != '\0')
		return config->pid_file;
	return in_background ? default_pid_file : NULL;
}

void
process_write_pid_file(const struct config *config, bool in_background, const struct log_sink *sink)
{
	const char *path = pid_file(config, in_background);
	if (path == NULL)
		return;
	FILE *file = fopen(path, "we");
	bool ok = file != NULL && fprintf(file, "%d\n", (int)getpid()) > 0;
	if (file != NULL && fclose(file) != 0)
		ok = false;
	if (!ok)
		log_sink_printf(sink, LOG_LEVEL_WARNING, "Failed to write PID file %s: %s", path,
				strerror(errno));
}

void
process_remove_pid_file(const struct config *config, bool in_background)
{
	const char *path = pid_file(config, in_background);
	if (path != NULL)
		unlink(path);
}

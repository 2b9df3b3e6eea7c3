/* pthreads with their errors turned into what they are: a lock call that fails is a bug (a mutex that is not
 * initialized, or unlocked by another thread), and going on would corrupt what it guards. */
#include "storage/base/thread.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "storage/status.h"

enum {
	THREAD_NAME_SIZE = 16, /* the kernel's bound, with the terminator */
	GIVE_WAY = 10,         /* more on the scale of nice: a tenth of the share of others */
	NICE_MAX = 19,
};

#define NANOSECONDS 1000000000ULL

static void
must(int error)
{
	if (error != 0)
		abort();
}

_Thread_local char thread_mark;

static void
set_owner(struct mutex *m, const void *owner)
{
	__atomic_store_n(&m->owner, owner, __ATOMIC_RELAXED);
}

void
mutex_init(struct mutex *m)
{
	must(pthread_mutex_init(&m->handle, NULL));
	m->owner = NULL;
}

void
mutex_destroy(struct mutex *m)
{
	must(pthread_mutex_destroy(&m->handle));
}

NO_THREAD_SAFETY_ANALYSIS void
mutex_lock(struct mutex *m)
{
	must(pthread_mutex_lock(&m->handle));
	set_owner(m, &thread_mark);
}

NO_THREAD_SAFETY_ANALYSIS bool
mutex_try_lock(struct mutex *m)
{
	int error = pthread_mutex_trylock(&m->handle);
	if (error == EBUSY)
		return false;
	must(error);
	set_owner(m, &thread_mark);
	return true;
}

NO_THREAD_SAFETY_ANALYSIS void
mutex_unlock(struct mutex *m)
{
	set_owner(m, NULL);
	must(pthread_mutex_unlock(&m->handle));
}

void
condition_init(struct condition *c)
{
	pthread_condattr_t attributes;
	must(pthread_condattr_init(&attributes));
	must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
	must(pthread_cond_init(&c->handle, &attributes));
	must(pthread_condattr_destroy(&attributes));
}

void
condition_destroy(struct condition *c)
{
	must(pthread_cond_destroy(&c->handle));
}

void
condition_wait(struct condition *c, struct mutex *m)
{
	assert(mutex_is_mine(m));
	set_owner(m, NULL);
	must(pthread_cond_wait(&c->handle, &m->handle));
	set_owner(m, &thread_mark);
}

bool
condition_wait_for(struct condition *c, struct mutex *m, uint64_t timeout_ns)
{
	struct timespec deadline;
	if (clock_gettime(CLOCK_MONOTONIC, &deadline) != 0)
		abort();
	/* 2^64 ns are 584 years: the sum of seconds fits. */
	deadline.tv_sec += (time_t)(timeout_ns / NANOSECONDS);
	deadline.tv_nsec += (long)(timeout_ns % NANOSECONDS);
	if (deadline.tv_nsec >= (long)NANOSECONDS) {
		deadline.tv_nsec -= (long)NANOSECONDS;
		deadline.tv_sec++;
	}
	assert(mutex_is_mine(m));
	set_owner(m, NULL);
	int error = pthread_cond_timedwait(&c->handle, &m->handle, &deadline);
	set_owner(m, &thread_mark);
	if (error == ETIMEDOUT)
		return false;
	must(error);
	return true;
}

void
condition_signal(struct condition *c)
{
	must(pthread_cond_signal(&c->handle));
}

void
condition_broadcast(struct condition *c)
{
	must(pthread_cond_broadcast(&c->handle));
}

/* A thread inherits its creator's signal mask, so all are blocked around the creation: signals belong to the
 * main thread, and none may slip in before the new thread could block them itself. Faults stay open: a
 * blocked one ends the process without a word from a sanitizer or a debugger. */
void
thread_block_signals(sigset_t *ret_before)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
	sigset_t set;
	if (sigfillset(&set) != 0)
		abort();
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		if (sigdelset(&set, faults[i]) != 0)
			abort();
	must(pthread_sigmask(SIG_SETMASK, &set, ret_before));
}

int
thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *arg)
{
	sigset_t before;
	thread_block_signals(&before);
	pthread_t thread;
	int error = pthread_create(&thread, NULL, run, arg);
	must(pthread_sigmask(SIG_SETMASK, &before, NULL));
	if (error != 0)
		return error == EAGAIN || error == ENOMEM ? SETT_NO_MEMORY : SETT_IO;
	char cut[THREAD_NAME_SIZE] = {0};
	memcpy(cut, name, strnlen(name, sizeof cut - 1));
	/* A name is a comfort for who reads `top -H`; the thread may also have ended already. */
	(void)pthread_setname_np(thread, cut);
	*ret = thread;
	return SETT_OK;
}

void
thread_join(pthread_t thread)
{
	must(pthread_join(thread, NULL));
}

void
thread_ask_system(void (*ask)(pid_t thread, const void *arg), const void *arg)
{
	pid_t self = gettid();
	if (prctl(PR_GET_SECCOMP) == 0) {
		ask(self, arg);
		return;
	}
	pid_t child = fork();
	if (child == 0) {
		(void)prctl(PR_SET_DUMPABLE, 0); /* no core file of it */
		ask(self, arg);
		_exit(0);
	}
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		continue;
}

/* Linux has a priority for each thread. */
static void
ask_for_less(pid_t thread, const void *arg)
{
	errno = 0;
	int now = getpriority(PRIO_PROCESS, (id_t)thread);
	if (errno == 0)
		(void)setpriority(PRIO_PROCESS, (id_t)thread,
				  now + GIVE_WAY < NICE_MAX ? now + GIVE_WAY : NICE_MAX);
}

void
thread_give_way(void)
{
	thread_ask_system(ask_for_less, NULL);
}

/* The crash report: see crash_report.h.
 *
 * A handler may call almost nothing, and finds nothing but what is global: the log's path is copied beforehand, lines are made
 * on the stack and written at once, and the library that walks the stack is loaded when the handlers are set. The program is
 * stripped of most names: the addresses in its lines are for addr2line. */
#include "crash_report.h"

#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER 0
#endif

enum { PATH_BYTES = 4096, FRAMES = 100, THREAD_NAME_SIZE = 16 };

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
/* Written before the handlers are set. */
static bool hides_registers;
static char log_path[PATH_BYTES];

static void __attribute__((format(printf, 2, 3))) line(int fd, const char *format, ...)
{
	char text[512];
	va_list arguments;
	va_start(arguments, format);
	int size = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (size > (int)sizeof(text) - 1)
		size = (int)sizeof(text) - 1;
	/* There is nobody to tell of a failure. */
	ssize_t ignored = size > 0 ? write(fd, text, (size_t)size) : 0;
	(void)ignored;
}

static void *
instruction(const void *context)
{
	const ucontext_t *u = context;
#if defined(__x86_64__)
	return (void *)u->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return (void *)u->uc_mcontext.pc;
#else
	(void)u;
	return NULL;
#endif
}

static void
print_registers(int fd, const void *context)
{
#if defined(__x86_64__)
	static const struct {
		const char *name;
		int index;
	} shown[] = {{"RAX", REG_RAX}, {"RBX", REG_RBX}, {"RCX", REG_RCX}, {"RDX", REG_RDX}, {"RDI", REG_RDI},
		     {"RSI", REG_RSI}, {"RBP", REG_RBP}, {"RSP", REG_RSP}, {"R8", REG_R8},   {"R9", REG_R9},
		     {"R10", REG_R10}, {"R11", REG_R11}, {"R12", REG_R12}, {"R13", REG_R13}, {"R14", REG_R14},
		     {"R15", REG_R15}, {"RIP", REG_RIP}, {"EFL", REG_EFL}};
	const ucontext_t *u = context;
	line(fd, "\n------ REGISTERS ------\n");
	for (size_t i = 0; i < sizeof(shown) / sizeof(*shown); i++)
		line(fd, "%s:%016llx%s", shown[i].name,
		     (unsigned long long)u->uc_mcontext.gregs[shown[i].index], i % 4 == 3 ? "\n" : " ");
	line(fd, "\n");
#else
	(void)fd;
	(void)context;
#endif
}

static void
report(int number, siginfo_t *info, void *context)
{
	void *frames[FRAMES];
	int fd = log_path[0] != '\0' ? open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644)
				     : STDOUT_FILENO;
	if (fd < 0)
		fd = STDERR_FILENO;
	line(fd, "\n\n=== SETT BUG REPORT START: Cut & paste starting from here ===\n");
	line(fd, "%d:M # Sett %s crashed by signal: %d, si_code: %d\n", (int)getpid(), SETT_VERSION, number,
	     info->si_code);
	if (info->si_code <= 0)
		line(fd, "%d:M # Killed by PID: %ld, UID: %d\n", (int)getpid(), (long)info->si_pid,
		     (int)info->si_uid);
	else
		line(fd, "%d:M # Accessing address: %p\n", (int)getpid(), info->si_addr);
	line(fd, "%d:M # Crashed running the instruction at: %p\n", (int)getpid(), instruction(context));
	char thread[THREAD_NAME_SIZE] = "?";
	if (prctl(PR_GET_NAME, thread) != 0)
		thread[0] = '\0';
	line(fd, "%d:M # Thread: %d, %s\n", (int)getpid(), (int)gettid(), thread);
	if (!hides_registers)
		print_registers(fd, context);
	line(fd, "\n------ STACK TRACE ------\n");
	int count = backtrace(frames, FRAMES);
	backtrace_symbols_fd(frames, count, fd);
	line(fd, "\n=== SETT BUG REPORT END. Make sure to include from START to END. ===\n\n");
	/* The default action is set again (SA_RESETHAND). An instruction at fault would meet it by itself. */
	raise(number);
}

static void
changed(void *arg)
{
	const struct config *config = arg;
	bool enabled = __atomic_load_n(&config->crash_log, __ATOMIC_RELAXED);
	struct sigaction action = {.sa_sigaction = report,
				   .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_NODEFER)};
	if (!enabled)
		action = (struct sigaction){.sa_handler = SIG_DFL};
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(crash_signals) / sizeof(*crash_signals); i++)
		sigaction(crash_signals[i], &action, NULL); /* can't fail with these arguments */
}

int
crash_report_start(struct config *config)
{
	void *frame[1];
	if (HAS_SANITIZER)
		return SETT_OK;
	snprintf(log_path, sizeof(log_path), "%s", config->log_file);
	/* They may hold bytes of keys and values, of which nothing is to be in any file. */
	hides_registers = config->encryption_key_file[0] != '\0' || config->encryption_key_command[0] != '\0';
	(void)backtrace(frame, 1);
	changed(config);
	return config_listen(config, "crash-log-enabled", changed, config);
}

/* The runner behind plain/criterion/criterion.h.
 *
 *     test_NAME [--filter SUITE/NAME]        with shell wildcards
 *
 * Criterion's other options are accepted and ignored, so that the build calls both alike. */
#include "criterion/criterion.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <sys/wait.h>

enum { PLAIN_TIMEOUT = 250 }; /* seconds for one test: sanitizers are slow */

/* Last registered first. */
static struct plain_test *tests;

void
plain_register(struct plain_test *t)
{
	t->next = tests;
	tests = t;
}

void
plain_fail(const char *file, int line, const char *condition, const char *format, ...)
{
	va_list args;
	fprintf(stderr, "%s:%d: failed: %s:", file, line, condition);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

static const struct plain_options *
suite_options(const char *suite)
{
	static const struct plain_options none;
	for (const struct plain_test *t = tests; t != NULL; t = t->next)
		if (t->run == NULL && strcmp(t->suite, suite) == 0)
			return &t->options;
	return &none;
}

static void
run_here(const struct plain_test *t)
{
	const struct plain_options *suite = suite_options(t->suite);
	alarm(t->options.timeout > 0 ? (unsigned)t->options.timeout * 5 : PLAIN_TIMEOUT);
	void (*init)(void) = t->options.init != NULL ? t->options.init : suite->init;
	void (*fini)(void) = t->options.fini != NULL ? t->options.fini : suite->fini;
	if (init != NULL)
		init();
	t->run();
	if (fini != NULL)
		fini();
	exit(0); /* not _exit: sanitizers report here */
}

static bool
passes(const struct plain_test *t)
{
	fflush(NULL);
	pid_t child = fork();
	if (child < 0)
		plain_fail(__FILE__, __LINE__, "fork", " %s", strerror(errno));
	if (child == 0)
		run_here(t);
	int result;
	pid_t got;
	do
		got = waitpid(child, &result, 0);
	while (got < 0 && errno == EINTR);
	if (got == child && WIFEXITED(result) && WEXITSTATUS(result) == 0)
		return true;
	fprintf(stderr, "[FAIL] %s::%s (%s %d)\n", t->suite, t->name,
		WIFSIGNALED(result) ? "signal" : "exit status",
		WIFSIGNALED(result) ? WTERMSIG(result) : WEXITSTATUS(result));
	return false;
}

int
main(int argc, char **argv)
{
	const char *filter = "*";
	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], "--filter") == 0)
			filter = argv[i + 1];
	unsigned ran = 0, failed = 0;
	for (const struct plain_test *t = tests; t != NULL; t = t->next) {
		char name[256];
		snprintf(name, sizeof name, "%s/%s", t->suite, t->name);
		if (t->run == NULL || t->options.disabled || fnmatch(filter, name, 0) != 0)
			continue;
		ran++;
		failed += !passes(t);
	}
	fprintf(stderr, "[====] Tested: %u | Passing: %u | Failing: %u\n", ran, ran - failed, failed);
	return failed == 0 && ran > 0 ? 0 : 1;
}

/*
 * sett-measure: runs a command and writes what the whole process used, all its threads included, from start
 *to end.
 *
 *	sett-measure OUT COMMAND [ARGUMENT ...]
 *
 * OUT gets one line of JSON: seconds, cpu_seconds (user and system), max_rss_kib; written_bytes: what its
 *write calls were given (wchar of /proc/PID/io), and device_bytes: what of that became dirty pages of the
 *page cache, counted once per page until it is written back (write_bytes). The first is the figure that
 *compares: the second leaves out what is removed or written again before the system writes it back, which
 *depends on the machine's memory. The exit status is the command's (128 + N for signal N).
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double
now(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double
seconds_of(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* The counters of a process that has ended and was not waited for yet. */
static int
read_io(pid_t pid, uint64_t *ret_written, uint64_t *ret_device)
{
	char path[64], line[128];
	int found = 0;
	snprintf(path, sizeof(path), "/proc/%d/io", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		unsigned long long value;
		if (sscanf(line, "wchar: %llu", &value) == 1) {
			*ret_written = value;
			found++;
		} else if (sscanf(line, "write_bytes: %llu", &value) == 1) {
			*ret_device = value;
			found++;
		}
	}
	(void)fclose(file);
	return found == 2 ? 0 : -1;
}

static int
fail(const char *what)
{
	(void)fprintf(stderr, "sett-measure: %s: %s\n", what, strerror(errno));
	return 125;
}

int
main(int argc, char **argv)
{
	if (argc < 3) {
		(void)fputs("sett-measure OUT COMMAND [ARGUMENT ...]\n", stderr);
		return 2;
	}
	double start = now();
	pid_t pid = fork();
	if (pid < 0)
		return fail("fork");
	if (pid == 0) {
		execvp(argv[2], argv + 2);
		_exit(fail(argv[2]));
	}
	siginfo_t info;
	uint64_t written = 0, device = 0;
	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0)
		if (errno != EINTR)
			return fail("waitid");
	double seconds = now() - start;
	int counted = read_io(pid, &written, &device);
	struct rusage usage;
	int status;
	if (wait4(pid, &status, 0, &usage) != pid)
		return fail("wait4");
	if (counted != 0)
		return fail("/proc/PID/io");
	FILE *out = fopen(argv[1], "we");
	if (!out)
		return fail(argv[1]);
	(void)fprintf(
		out,
		"{\"process_seconds\":%.3f,\"cpu_seconds\":%.3f,\"max_rss_kib\":%ld,\"written_bytes\":%llu,"
		"\"device_bytes\":%llu}\n",
		seconds, seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime), usage.ru_maxrss,
		(unsigned long long)written, (unsigned long long)device);
	if (fclose(out) != 0)
		return fail(argv[1]);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

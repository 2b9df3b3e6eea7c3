/* The server's log.
 *
 *     12345:M 20 Nov 2026 21:00:00.123 * Ready to accept connections
 *
 * Process, role (always M, a master), local time, level (. - * #), text. Each line is one write to a
 * descriptor opened for appending, so lines of several threads do not mix and nothing waits in a buffer when
 * the process is killed. A log file is opened for each line, as redis-server does: tools that rotate logs
 * just move it away. With syslog-enabled each line goes to syslog, too. */
#include "server_log.h"

#include <errno.h>
#include <fcntl.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_SIZE = 1200 };

static bool
is_standard_output(const struct server_log *log)
{
	return log->config->log_file == NULL || log->config->log_file[0] == '\0';
}

static int
open_log(const struct server_log *log)
{
	if (is_standard_output(log))
		return STDOUT_FILENO;
	return open(log->config->log_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
}

/* There is nobody to tell if the log itself fails. */
static void
append(const struct server_log *log, const char *text, size_t size)
{
	int fd = open_log(log);
	if (fd < 0)
		return;
	while (size > 0) {
		ssize_t n = write(fd, text, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		text += n;
		size -= (size_t)n;
	}
	if (fd != STDOUT_FILENO)
		close(fd);
}

static void
write_line(void *arg, enum log_level level, const char *line)
{
	static const char marks[] = ".-*#";
	static const int priorities[] = {LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING};
	const struct server_log *log = arg;
	if ((int)level < __atomic_load_n(&log->config->log_level, __ATOMIC_RELAXED))
		return;
	struct timespec now;
	struct tm parts;
	char when[64], text[LINE_MAX_SIZE];
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &parts);
	strftime(when, sizeof(when), "%d %b %Y %H:%M:%S", &parts);
	int size = snprintf(text, sizeof(text) - 1, "%d:M %s.%03d %c %s", (int)getpid(), when,
			    (int)(now.tv_nsec / 1000000), marks[level], line);
	if (size > (int)sizeof(text) - 2)
		size = (int)sizeof(text) - 2;
	text[size++] = '\n';
	append(log, text, (size_t)size);
	if (log->config->syslog_enabled)
		syslog(priorities[level], "%s", line);
}

struct log_sink
server_log_sink(struct server_log *log)
{
	return (struct log_sink){.write = write_line, .arg = log};
}

void
server_log_raw(struct server_log *log, const char *text)
{
	append(log, text, strlen(text));
}

bool
server_log_open(struct server_log *log)
{
	const struct config *config = log->config;
	if (config->syslog_enabled)
		openlog(config->syslog_ident, LOG_PID | LOG_NDELAY | LOG_NOWAIT, config->syslog_facility);
	int fd = open_log(log);
	if (fd < 0)
		return false;
	if (fd != STDOUT_FILENO)
		close(fd);
	return true;
}

/* The server's log, in the line format of redis-server, to standard output or a file, and to syslog. */
#ifndef SETT_SERVER_LOG_H
#define SETT_SERVER_LOG_H

#include "config/config.h"
#include "storage/base/log_sink.h"

/* Lives as long as anything may log. All zero but for `config` (borrowed) is ready. */
struct server_log {
	const struct config *config; /* log_level, log_file, syslog_... */
};

/* Lines of the configured level and above; any thread, unbuffered. */
struct log_sink server_log_sink(struct server_log *);
/* Text as it is, whatever the level. */
void server_log_raw(struct server_log *, const char *text);
/* Before the first line: opens syslog where it is wanted. Whether the log can be written; false with errno. */
bool server_log_open(struct server_log *);

#endif

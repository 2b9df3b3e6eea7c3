/* Where a library's messages go. Libraries never print: they hand a finished line to the sink. */
#ifndef SETT_STORAGE_BASE_LOG_SINK_H
#define SETT_STORAGE_BASE_LOG_SINK_H

/* The levels of Redis' `loglevel`. */
enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_VERBOSE, LOG_LEVEL_NOTICE, LOG_LEVEL_WARNING };

/* `write` may be called from any thread and must not block for long. `line` has no newline. */
struct log_sink {
	void (*write)(void *arg, enum log_level level, const char *line);
	void *arg;
};

/* Formats (cut at 1,000 bytes) and hands over; a NULL sink or write swallows the line. */
void log_sink_printf(const struct log_sink *, enum log_level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif

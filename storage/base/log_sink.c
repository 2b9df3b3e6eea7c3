/* Formatting of log lines. A line is built on the stack: logging works when memory has run out. */
#include "storage/base/log_sink.h"

#include <stdarg.h>
#include <stdio.h>

enum { LOG_LINE_SIZE = 1000 };

void
log_sink_printf(const struct log_sink *sink, enum log_level level, const char *format, ...)
{
	if (sink == NULL || sink->write == NULL)
		return;
	char line[LOG_LINE_SIZE + 1];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (n < 0)
		return;
	/* The sink is promised one line; a file name or an error text may hold anything. */
	for (char *p = line; *p != '\0'; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	sink->write(sink->arg, level, line);
}

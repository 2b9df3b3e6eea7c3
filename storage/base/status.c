/* Texts of the status codes, and the filling of error records. */
#include "storage/status.h"

#include <stdarg.h>
#include <stdio.h>

/* Indexed by the negated code. */
static const char *const status_texts[] = {
	[-SETT_OK] = "ok",
	[-SETT_NOT_FOUND] = "not found",
	[-SETT_WOULD_BLOCK] = "would block",
	[-SETT_CONFLICT] = "conflict with another transaction",
	[-SETT_ABORTED] = "aborted by the caller's check",
	[-SETT_CORRUPT] = "corrupt data",
	[-SETT_IO] = "input/output error",
	[-SETT_NO_SPACE] = "no space left on the device",
	[-SETT_NO_MEMORY] = "out of memory",
	[-SETT_INVALID] = "invalid argument",
	[-SETT_LOCKED] = "locked by another process",
	[-SETT_READ_ONLY] = "read-only",
	[-SETT_FAILED] = "writes are refused after an earlier failure",
	[-SETT_TOO_LARGE] = "too large",
	[-SETT_NO_HANDLES] = "too many open files",
};

const char *
sett_status_text(int status)
{
	int count = (int)(sizeof status_texts / sizeof status_texts[0]);
	if (status > 0 || status <= -count)
		return "unknown status";
	return status_texts[-status];
}

bool
sett_status_heals(int status)
{
	return status == SETT_NO_SPACE || status == SETT_NO_MEMORY || status == SETT_NO_HANDLES;
}

int
sett_error_set(struct sett_error *error, int status, int system_errno, const char *format, ...)
{
	if (error == NULL)
		return status;
	error->status = status;
	error->system_errno = system_errno;
	va_list args;
	va_start(args, format);
	if (vsnprintf(error->message, sizeof error->message, format, args) < 0)
		error->message[0] = '\0';
	va_end(args);
	return status;
}

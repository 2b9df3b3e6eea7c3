/* The directive `check-at-start`: all of a database is looked at before it is opened and served. */
#ifndef SETT_DATABASE_CHECK_H
#define SETT_DATABASE_CHECK_H

#include "storage/base/log_sink.h"
#include "storage/inspect.h"

/* Reads every file in `directory` (sett_check, with what it needs of `options`: vfs, on_progress, should_stop,
 * arg), and logs what it finds: a line for each damage and each cut, and a summary. SETT_OK: there is no damage,
 * or no database yet. SETT_CORRUPT: there is; the text says how much and names the first. SETT_ABORTED, and
 * what sett_check returns. */
int database_check(const char *directory, const struct sett_check_options *options, const struct log_sink *,
		   struct sett_error *);

#endif

/* The slow log: the newest commands that took longer than slowlog-log-slower-than.
 *
 * Threads: any. Which commands it wants: config/slow_command.h. */
#ifndef SETT_INFO_SLOWLOG_H
#define SETT_INFO_SLOWLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "config/slow_command.h"
#include "storage/base/bytes.h"

struct argument_body;
struct command;
struct slowlog;

enum { SLOWLOG_ARGUMENTS_MAX = 32, SLOWLOG_ARGUMENT_SIZE_MAX = 128 };

/* What to record. Nothing is kept by reference: arguments are copied, cut as Redis cuts them, and so is the name. */
struct slowlog_record {
	uint64_t duration_ns;
	uint64_t wall_ms;              /* when it was run */
	const struct command *command; /* says which arguments are secrets: those are not copied */
	size_t argc;
	const struct bytes *argv;
	const struct argument_body *bodies; /* of large values among them */
	const char *client_address;
	struct bytes client_name;
};

/* Borrows `config` for the threshold and the bound. SETT_NO_MEMORY. */
int slowlog_create(struct config *, struct slowlog **ret);
/* NULL is fine. */
void slowlog_destroy(struct slowlog *);

/* Files the record; call it only if slowlog_wants (COMMAND_SKIP_SLOWLOG is the caller's to honour). Without
 * memory it is dropped. */
void slowlog_record(struct slowlog *, const struct slowlog_record *);

struct slowlog_entry {
	uint64_t id;
	uint64_t time_seconds, duration_us;
	size_t argc;
	const struct bytes *argv;
	struct bytes client_address, client_name;
};
/* Calls `each` for up to `count` entries, the newest first, under the log's lock. */
void slowlog_each(struct slowlog *, size_t count, void (*each)(void *arg, const struct slowlog_entry *),
		  void *arg);
size_t slowlog_length(struct slowlog *);
void slowlog_reset(struct slowlog *);

#endif

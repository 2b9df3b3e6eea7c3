/* The slow log: a list of copies, the newest first, cut to slowlog-max-len.
 *
 * An entry is one allocation: the slices of its arguments, then the bytes. Long arguments and long argument
 * lists are cut, with Redis' words for what is missing, so that an entry stays small. Arguments that the command
 * table marks as secrets are never copied. */
#include "info/slowlog.h"

#include <assert.h>
#include <inttypes.h>

#include "net/argument_body.h"
#include "storage/base/thread.h"
#include "storage/status.h"
#include "table/command_table.h"

struct stored_entry {
	struct stored_entry *newer, *older;
	struct slowlog_entry entry;
	struct bytes arguments[SLOWLOG_ARGUMENTS_MAX];
	uint8_t text[];
};

struct slowlog {
	struct config *config;
	struct mutex lock; /* all below */
	struct stored_entry *newest, *oldest;
	size_t length;
	uint64_t next_id;
};

enum { NOTE_SIZE_MAX = 64 };

static_assert((int)ARGUMENT_BODY_SHOWN >= (int)SLOWLOG_ARGUMENT_SIZE_MAX,
	      "a large value is cut as others are");

int
slowlog_create(struct config *config, struct slowlog **ret)
{
	struct slowlog *log = calloc(1, sizeof *log);
	if (log == NULL)
		return SETT_NO_MEMORY;
	log->config = config;
	mutex_init(&log->lock);
	*ret = log;
	return SETT_OK;
}

void
slowlog_destroy(struct slowlog *log)
{
	if (log == NULL)
		return;
	slowlog_reset(log);
	mutex_destroy(&log->lock);
	free(log);
}

/* Copies one argument of `whole` bytes; what is cut off is counted in words. */
static size_t
copy_argument(struct bytes argument, uint64_t whole, uint8_t *text)
{
	size_t size = argument.size < SLOWLOG_ARGUMENT_SIZE_MAX ? argument.size : SLOWLOG_ARGUMENT_SIZE_MAX;
	if (size > 0)
		memcpy(text, argument.data, size);
	if (size < whole)
		size += (size_t)snprintf((char *)text + size, NOTE_SIZE_MAX, "... (%" PRIu64 " more bytes)",
					 whole - size);
	return size;
}

static struct bytes
copy_text(struct bytes text, uint8_t **at)
{
	struct bytes copy = bytes_of(*at, text.size);
	if (text.size > 0)
		memcpy(*at, text.data, text.size);
	*at += text.size;
	return copy;
}

static struct stored_entry *
store(const struct slowlog_record *record)
{
	size_t shown = record->argc < SLOWLOG_ARGUMENTS_MAX ? record->argc : SLOWLOG_ARGUMENTS_MAX;
	struct bytes address = bytes_of_string(record->client_address);
	size_t room = (shown + 1) * (SLOWLOG_ARGUMENT_SIZE_MAX + NOTE_SIZE_MAX) + address.size;
	struct stored_entry *stored = malloc(sizeof *stored + room);
	if (stored == NULL)
		return NULL;
	uint8_t *at = stored->text;
	for (size_t i = 0; i < shown; i++) {
		const struct argument_body *body = argument_body_find(record->bodies, i);
		size_t size;
		if (i + 1 == shown && shown < record->argc)
			size = (size_t)snprintf((char *)at, NOTE_SIZE_MAX, "... (%zu more arguments)",
						record->argc - shown + 1);
		else if (command_argument_is_sensitive(record->command, record->argv, record->argc, i))
			size = (size_t)snprintf((char *)at, NOTE_SIZE_MAX, "(redacted)");
		else
			size = copy_argument(record->argv[i],
					     body != NULL ? body->size : record->argv[i].size, at);
		stored->arguments[i] = bytes_of(at, size);
		at += size;
	}
	stored->entry = (struct slowlog_entry){.time_seconds = record->wall_ms / 1000,
					       .duration_us = record->duration_ns / 1000,
					       .argc = shown,
					       .argv = stored->arguments,
					       .client_address = copy_text(address, &at)};
	/* The log outlives the client, whose memory is bounded: a long name is cut as an argument is. */
	stored->entry.client_name =
		bytes_of(at, copy_argument(record->client_name, record->client_name.size, at));
	return stored;
}

static void
cut_locked(struct slowlog *log, size_t length) REQUIRES(&log->lock)
{
	assert(mutex_is_mine(&log->lock));
	while (log->length > length) {
		struct stored_entry *oldest = log->oldest;
		log->oldest = oldest->newer;
		if (oldest->newer != NULL)
			oldest->newer->older = NULL;
		else
			log->newest = NULL;
		log->length--;
		free(oldest);
	}
}

void
slowlog_record(struct slowlog *log, const struct slowlog_record *record)
{
	struct stored_entry *stored = store(record);
	if (stored == NULL)
		return;
	mutex_lock(&log->lock);
	stored->entry.id = log->next_id++;
	stored->newer = NULL;
	stored->older = log->newest;
	if (log->newest != NULL)
		log->newest->newer = stored;
	else
		log->oldest = stored;
	log->newest = stored;
	log->length++;
	cut_locked(log, (size_t)__atomic_load_n(&log->config->slowlog_max_len, __ATOMIC_RELAXED));
	mutex_unlock(&log->lock);
}

void
slowlog_each(struct slowlog *log, size_t count, void (*each)(void *arg, const struct slowlog_entry *),
	     void *arg)
{
	mutex_lock(&log->lock);
	for (struct stored_entry *stored = log->newest; stored != NULL && count > 0; stored = stored->older) {
		each(arg, &stored->entry);
		count--;
	}
	mutex_unlock(&log->lock);
}

size_t
slowlog_length(struct slowlog *log)
{
	mutex_lock(&log->lock);
	size_t length = log->length;
	mutex_unlock(&log->lock);
	return length;
}

void
slowlog_reset(struct slowlog *log)
{
	mutex_lock(&log->lock);
	cut_locked(log, 0);
	mutex_unlock(&log->lock);
}

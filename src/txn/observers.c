/* See observers.h. A line is as Redis 7.0 shows it:
 *
 *     +1700000000.000001 [0 127.0.0.1:50000] "set" "key" "value" */
#include "txn/observers.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "storage/base/sync_point.h"

enum { LINE_START_MAX = CLIENT_ADDRESS_SIZE + 64, ESCAPED_MAX = 4 /* bytes that one byte becomes */ };

/* ---- MONITOR ---- */

static size_t
write_quoted(struct bytes text, char *to)
{
	static const char letters[][2] = {{'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}, {'\a', 'a'},
					  {'\b', 'b'}, {'"', '"'},  {'\\', '\\'}};
	static const char digits[] = "0123456789abcdef";
	char *at = to;
	*at++ = '"';
	for (size_t i = 0; i < text.size; i++) {
		char letter = 0;
		for (size_t l = 0; l < sizeof(letters) / sizeof(letters[0]); l++)
			if ((char)text.data[i] == letters[l][0])
				letter = letters[l][1];
		if (letter != 0) {
			*at++ = '\\';
			*at++ = letter;
		} else if (text.data[i] >= ' ' && text.data[i] <= '~') {
			*at++ = (char)text.data[i];
		} else {
			*at++ = '\\';
			*at++ = 'x';
			*at++ = digits[text.data[i] >> 4];
			*at++ = digits[text.data[i] & 15];
		}
	}
	*at++ = '"';
	return (size_t)(at - to);
}

static size_t
write_start(const struct command_context *c, char *to)
{
	struct timespec now;
	const char *address = c->client->address;
	int size = (int)strlen(address);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (c->client->unix_socket && size > 2)
		size -= 2; /* its ":0" */
	if (c->in_script) {
		address = "lua";
		size = 3;
	}
	bool is_unix = c->client->unix_socket && !c->in_script;
	size = snprintf(to, LINE_START_MAX, "+%lld.%06ld [%u %s%.*s]", (long long)now.tv_sec,
			now.tv_nsec / 1000, c->db, is_unix ? "unix:" : "", size, address);
	return (size_t)size;
}

/* What is shown of an argument; of a large one that is on the disk, its beginning. */
static struct bytes
shown_argument(const struct command_context *c, size_t position)
{
	return command_argument_is_sensitive(c->command, c->argv, c->argc, position)
		? BYTES_LITERAL("(redacted)")
		: c->argv[position];
}

int
observers_note_line(struct command_context *c)
{
	if ((c->view.events & OBSERVER_MONITOR) == 0)
		return SETT_OK;
	size_t room = LINE_START_MAX + 2;
	for (size_t i = 0; i < c->argc; i++)
		room += 3 + ESCAPED_MAX * shown_argument(c, i).size;
	char *line = arena_allocate(c->arena, room, 1);
	if (line == NULL)
		return SETT_NO_MEMORY;
	size_t size = write_start(c, line);
	for (size_t i = 0; i < c->argc; i++) {
		line[size++] = ' ';
		size += write_quoted(shown_argument(c, i), line + size);
	}
	line[size++] = '\r';
	line[size++] = '\n';
	return keyspace_add_message(&c->view, EFFECT_LINE, (struct bytes){0}, bytes_of(line, size));
}

/* ---- CLIENT TRACKING ---- */

static bool
is_tracked(const struct command_context *c)
{
	bool caching = (c->tracking & TRACKING_CACHING) != 0;
	if ((c->tracking & (TRACKING_ON | TRACKING_BROADCAST)) != TRACKING_ON)
		return false;
	if ((c->tracking & TRACKING_OPT_IN) != 0 && !caching)
		return false;
	if ((c->tracking & TRACKING_OPT_OUT) != 0 && caching)
		return false;
	/* As in Redis: of commands that only read. Names of sharded channels are no keys; a script's are told when it reads. */
	return (c->command->flags & COMMAND_READONLY) != 0 && (c->command->flags & COMMAND_PUBSUB) == 0 &&
		(c->command->categories & CATEGORY_SCRIPTING) == 0;
}

static int
note_reads(struct command_context *c)
{
	size_t count;
	struct command_key *keys =
		arena_allocate(c->arena, c->argc * sizeof(*keys), _Alignof(struct command_key));
	if (keys == NULL)
		return SETT_NO_MEMORY;
	int status = SETT_OK;
	if (command_key_positions(c->command, c->argv, c->argc, keys, &count) != SETT_OK)
		return SETT_OK; /* there are none, and the reply is an error */
	for (size_t i = 0; i < count && status == SETT_OK; i++)
		status = keyspace_note_read(&c->view, c->argv[keys[i].position]);
	/* What was told must be so when it is entered. */
	if (count > 0)
		sett_txn_validate_reads(c->view.txn);
	c->script_has_read = c->in_script;
	SYNC_POINT("tracking: keys are noted");
	return status;
}

int
observers_note_script(struct command_context *c, const struct bytes *keys, size_t count)
{
	int status = SETT_OK;
	for (size_t i = 0; i < count && c->script_has_read && status == SETT_OK; i++)
		status = keyspace_note_read(&c->view, keys[i]);
	c->script_has_read = false;
	return status;
}

int
observers_note(struct command_context *c)
{
	/* What waited has been shown, and its keys noted, when it began to. */
	if (c->served != NULL)
		return SETT_OK;
	int status = is_tracked(c) ? note_reads(c) : SETT_OK;
	if (status == SETT_OK && (c->command->flags & (COMMAND_ADMIN | COMMAND_SKIP_MONITOR)) == 0)
		status = observers_note_line(c);
	return status;
}

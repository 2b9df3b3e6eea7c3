/* See feed.h. */
#include "moving/feed.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/output.h"

int
feed_open(struct feed *f, struct runner *runner)
{
	*f = (struct feed){.handler = runner_handler(runner)};
	f->client = (struct client){
		.id = UINT64_MAX, .fd = -1, .protocol = 2, .authenticated = true, .loads = true};
	resp_writer_init(&f->reply, 2);
	return f->handler.thread_start(f->handler.arg, true, &f->thread);
}

/* The end of the reply at `at`; the size of the text if it is none. */
static size_t
skip_reply(struct bytes text, size_t at)
{
	uint64_t left = 1;
	for (; left > 0 && at < text.size; left--) {
		const uint8_t *line = text.data + at, *end = memchr(line, '\r', text.size - at);
		if (end == NULL)
			return text.size;
		int64_t number =
			line[0] == '$' || line[0] == '*' ? strtoll((const char *)line + 1, NULL, 10) : 0;
		at = (size_t)(end - text.data) + 2;
		if (line[0] == '$' && number >= 0)
			at += (size_t)number + 2;
		else if (line[0] == '*' && number > 0)
			left += (uint64_t)number;
	}
	return at < text.size ? at : text.size;
}

/* Whether the text of an error blames the data that the command met: it is one that Redis gives for the same data. What
 * else there is may be a limit of this server's own. */
static bool
is_of_data(const char *error)
{
	static const char *const texts[] = {
		"WRONGTYPE ",
		"BUSYKEY ",
		"BUSYGROUP ",
		"NOGROUP ",
		"ERR no such key",
		"ERR index out of range",
		"ERR value is not an integer or out of range",
		"ERR value is not a valid float",
		"ERR hash value is not an integer",
		"ERR hash value is not a float",
		"ERR increment or decrement would overflow",
		"ERR decrement would overflow",
		"ERR increment would produce NaN or Infinity",
		"ERR resulting score is not a number (NaN)",
		"ERR source and destination objects are the same",
		"ERR could not decode requested zset member",
		"ERR The XGROUP subcommand requires the key to exist",
		"ERR The ID specified in XADD is equal or smaller",
		"ERR The ID specified in XSETID is smaller",
		"ERR The entries_added specified in XSETID is smaller",
		"ERR The stream has exhausted the last possible ID",
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strncmp(error, texts[i], strlen(texts[i])) == 0)
			return true;
	return false;
}

/* The errors among the replies of a block, or the one that is the reply. Kept is the first that is not of the data, or
 * else the first. */
static void
note_errors(struct feed *f, struct bytes reply)
{
	size_t at = 0;
	f->errors = 0;
	f->is_of_data = true;
	if (reply.size > 0 && reply.data[0] == '*') {
		const uint8_t *end = memchr(reply.data, '\n', reply.size);
		at = end != NULL ? (size_t)(end - reply.data) + 1 : reply.size;
	}
	for (; at < reply.size; at = skip_reply(reply, at)) {
		if (reply.data[at] != '-')
			continue;
		const char *text = (const char *)reply.data + at + 1;
		bool of_data = is_of_data(text);
		if (f->errors++ == 0 || (f->is_of_data && !of_data))
			snprintf(f->error, sizeof(f->error), "%.*s", (int)strcspn(text, "\r\n"), text);
		f->is_of_data = f->is_of_data && of_data;
	}
}

int
feed_run(struct feed *f, size_t argc, const struct bytes *argv)
{
	struct request request = {.argc = argc, .argv = argv, .in_long_lane = true};
	uint64_t release = 0;
	resp_truncate(&f->reply, 0);
	enum request_result result =
		f->handler.execute(f->handler.arg, f->thread, &f->client, &request, &f->reply, &release);
	output_streams_free(f->client.reply_streams);
	f->client.reply_streams = NULL;
	if (result != REQUEST_DONE) {
		snprintf(f->error, sizeof(f->error), "it waits for something");
		f->is_of_data = false;
		return SETT_INVALID;
	}
	if (!resp_reserve(&f->reply, 1))
		return SETT_NO_MEMORY;
	f->reply.data[f->reply.size] = '\0';
	note_errors(f, bytes_of(f->reply.data, f->reply.size));
	return f->errors == 0 ? SETT_OK : SETT_INVALID;
}

void
feed_close(struct feed *f)
{
	if (f->thread != NULL) {
		f->handler.client_closed(f->handler.arg, &f->client);
		f->handler.thread_stop(f->handler.arg, f->thread);
	}
	f->thread = NULL;
	resp_writer_free(&f->reply);
}

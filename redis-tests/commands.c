/*
 * Runs the command scripts over hiredis, in RESP2, on the server under test and on redis-server, and
 *compares:
 *
 *	commands SERVER REDIS_SERVER SCRIPT ...
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "script.h"

static void *
hiredis_open(int port, int timeout_ms)
{
	struct timeval timeout = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
	redisContext *context = redisConnectWithTimeout("127.0.0.1", port, timeout);

	if (context != NULL && (context->err != 0 || redisSetTimeout(context, timeout) != REDIS_OK)) {
		redisFree(context);
		return NULL;
	}
	return context;
}

static bool
write_out(redisContext *context)
{
	int done = 0;

	while (!done) {
		if (redisBufferWrite(context, &done) != REDIS_OK)
			return false;
	}
	return true;
}

static bool
hiredis_send(void *connection, size_t argc, const char *const *argv, const size_t *sizes)
{
	const char *copy[256];

	if (argc > sizeof(copy) / sizeof(copy[0]))
		return false;
	memcpy(copy, argv, argc * sizeof(copy[0]));
	return redisAppendCommandArgv(connection, (int)argc, copy, sizes) == REDIS_OK &&
		write_out(connection);
}

static bool
hiredis_send_raw(void *connection, const void *data, size_t size)
{
	return redisAppendFormattedCommand(connection, data, size) == REDIS_OK && write_out(connection);
}

static struct reply *
convert(const redisReply *from)
{
	struct reply *to;

	switch (from->type) {
	case REDIS_REPLY_STATUS:
		to = reply_new('+');
		break;
	case REDIS_REPLY_ERROR:
		to = reply_new('-');
		break;
	case REDIS_REPLY_INTEGER:
		to = reply_new(':');
		to->integer = from->integer;
		return to;
	case REDIS_REPLY_NIL:
		return reply_new('_');
	case REDIS_REPLY_ARRAY:
		to = reply_new('*');
		for (size_t i = 0; i < from->elements; i++)
			reply_append_child(to, convert(from->element[i]));
		return to;
	default:
		to = reply_new('$');
		break;
	}
	reply_append_text(to, from->str, (size_t)from->len);
	return to;
}

static struct reply *
hiredis_read(void *connection)
{
	void *answer = NULL;
	struct reply *reply;

	if (redisGetReply(connection, &answer) != REDIS_OK || answer == NULL)
		return NULL;
	reply = convert(answer);
	freeReplyObject(answer);
	return reply;
}

static const char *
hiredis_error(void *connection)
{
	const redisContext *context = connection;

	if (context->err == REDIS_ERR_EOF || (context->err == REDIS_ERR_IO && errno == ECONNRESET))
		return "closed";
	if (context->err == REDIS_ERR_IO && errno == EAGAIN)
		return "timeout";
	return context->errstr;
}

static void
hiredis_close(void *connection)
{
	redisFree(connection);
}

int
main(int argc, char **argv)
{
	static const struct script_backend backend = {.open = hiredis_open,
						      .send = hiredis_send,
						      .send_raw = hiredis_send_raw,
						      .read = hiredis_read,
						      .error = hiredis_error,
						      .close = hiredis_close};

	if (argc < 4) {
		fprintf(stderr, "usage: %s SERVER REDIS_SERVER SCRIPT ...\n", argv[0]);
		return 2;
	}
	return script_run(&backend, 2, argv[1], argv[2], (const char *const *)argv + 3, (size_t)argc - 3) ? 0
													  : 1;
}

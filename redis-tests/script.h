/*
 * Command scripts: text files whose commands run on two servers, whose replies must be equal.
 *
 * A line is empty, a comment ("# ..."), or
 *
 *	[@N] {"[" modifier "]"} command argument ...
 *
 * with redis-cli's quoting. N (0 to 9) names a connection; without it, connection 0. ${NAME} in an argument
 *stands for a value saved before, on each server its own; ${x*N} for N times the byte x. Each script begins
 *with a FLUSHALL and fresh connections.
 *
 *	[ignore]     the replies are not compared: say why in a comment
 *	[type]       only the type is compared, and the code of an error
 *	[sorted]     the elements have no order; [deep]: on no level
 *	[numbers]    digits do not matter
 *	[near N]     integers may differ by N, but for what is below 0
 *	[keys]       of pairs (also in a flat array) only the keys are compared, on every level
 *	[without K]  on every level, the pair with key K is left out (also of a flat array)
 *	[save NAME]  the reply is kept for ${NAME}; only its type is compared
 *	[poll TEXT]  the command is repeated, for some seconds, until its rendered reply begins with TEXT
 *	[send]       the reply is not read; [read]: alone on its line, reads one
 *	[raw]        the one argument is sent as it is; [raw] [send] sends and reads nothing
 *	[closed]     alone on its line: the server must have closed the connection
 */
#ifndef SETT_REDIS_TESTS_SCRIPT_H
#define SETT_REDIS_TESTS_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#include "reply.h"

/* A client library under the runner. */
struct script_backend {
	void *(*open)(int port, int timeout_ms);
	/* Sends now. False: see error. */
	bool (*send)(void *connection, size_t argc, const char *const *argv, const size_t *sizes);
	bool (*send_raw)(void *connection, const void *data, size_t size);
	/* NULL: see error, which is "closed" or "timeout" or a text. The connection is closed next. */
	struct reply *(*read)(void *connection);
	const char *(*error)(void *connection);
	void (*close)(void *connection);
};

/*
 * Starts both servers, runs the scripts on them in RESP2 or RESP3, prints every difference with its file and
 * line, and one line of totals. Returns true when all replies were equal and both servers lived to the end.
 */
bool script_run(const struct script_backend *backend, int protocol, const char *subject,
		const char *reference, const char *const *files, size_t file_count);

#endif

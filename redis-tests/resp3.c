/*
 * Runs the command scripts over this project's own client, in RESP3 and then in RESP2, where, unlike hiredis,
 *it tells the two nulls apart:
 *
 *	resp3 SERVER REDIS_SERVER SCRIPT ...
 */
#include <stdio.h>

#include "client.h"
#include "script.h"

static void *
open_client(int port, int timeout_ms)
{
	return client_connect(port, timeout_ms);
}

static bool
send_command(void *connection, size_t argc, const char *const *argv, const size_t *sizes)
{
	client_append(connection, argc, argv, sizes);
	return client_flush(connection);
}

static bool
send_raw(void *connection, const void *data, size_t size)
{
	client_append_raw(connection, data, size);
	return client_flush(connection);
}

static struct reply *
read_one(void *connection)
{
	return client_read(connection);
}

static const char *
error_of(void *connection)
{
	return client_error(connection);
}

static void
close_one(void *connection)
{
	client_close(connection);
}

int
main(int argc, char **argv)
{
	static const struct script_backend backend = {.open = open_client,
						      .send = send_command,
						      .send_raw = send_raw,
						      .read = read_one,
						      .error = error_of,
						      .close = close_one};
	bool equal = true;

	if (argc < 4) {
		fprintf(stderr, "usage: %s SERVER REDIS_SERVER SCRIPT ...\n", argv[0]);
		return 2;
	}
	for (int protocol = 3; protocol >= 2; protocol--)
		equal &= script_run(&backend, protocol, argv[1], argv[2], (const char *const *)argv + 3,
				    (size_t)argc - 3);
	return equal ? 0 : 1;
}

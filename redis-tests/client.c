/*
 * The client: a non-blocking socket, an output buffer (resp_writer), an input buffer that the reply reader
 * consumes, and a stack of the collections that are being built. Waiting is done by poll alone, towards one
 * deadline per call.
 */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "resp/reply_reader.h"
#include "resp/writer.h"

#define READ_SIZE (256 * 1024)
#define ARGUMENTS_MAX 64

struct client {
	int fd;
	int timeout_ms;
	const char *error;
	char error_text[128];
	struct resp_writer output;
	size_t sent;
	char *input; /* input[start .. used) is unconsumed */
	size_t start, used, capacity;
	struct resp_visitor visitor;
	struct resp_reply_reader reader;
	struct reply *stack[RESP_REPLY_DEPTH_MAX + 1];
	size_t depth;
	struct reply *bulk;
	struct reply *done;
};

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A finished value: into the collection around it, or the reply itself. An attribute at the top is dropped.
 */
static int
take(struct client *client, struct reply *reply)
{
	if (client->depth > 0) {
		reply_append_child(client->stack[client->depth - 1], reply);
	} else if (reply->type == '|') {
		reply_free(reply);
	} else {
		client->done = reply;
	}
	return 0;
}

static int
on_scalar(void *context, const struct resp_scalar *scalar)
{
	struct reply *reply = reply_new((char)scalar->type);

	reply->header = (char)scalar->header;
	reply->integer = scalar->integer;
	if (scalar->type != RESP_REPLY_NULL)
		reply_append_text(reply, scalar->text, scalar->size);
	return take(context, reply);
}

static int
on_open(void *context, enum resp_reply_type type, int64_t count)
{
	struct client *client = context;

	(void)count;
	client->stack[client->depth++] = reply_new((char)type);
	return 0;
}

static int
on_close(void *context, enum resp_reply_type type)
{
	struct client *client = context;
	struct reply *reply = client->stack[--client->depth];

	/* Sets have no order: one that all renderings share. */
	if (type == RESP_REPLY_SET)
		reply_sort(reply, 0);
	return take(client, reply);
}

static int
on_bulk_begin(void *context, enum resp_reply_type type, int64_t size)
{
	struct client *client = context;

	(void)size;
	client->bulk = reply_new((char)type);
	reply_append_text(client->bulk, "", 0);
	return 0;
}

static int
on_bulk_data(void *context, const uint8_t *data, size_t size)
{
	struct client *client = context;

	reply_append_text(client->bulk, data, size);
	return 0;
}

static int
on_bulk_end(void *context, enum resp_reply_type type)
{
	struct client *client = context;
	struct reply *reply = client->bulk;

	(void)type;
	client->bulk = NULL;
	return take(client, reply);
}

struct client *
client_connect(int port, int timeout_ms)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1;
	struct client *client = calloc(1, sizeof(*client));

	if (client == NULL)
		return NULL;
	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0)
		goto fail;
	/* Loopback: connects at once or not at all; only then does the socket stop blocking. */
	if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		goto fail;
	client->timeout_ms = timeout_ms;
	resp_writer_init(&client->output, 2);
	client->visitor = (struct resp_visitor){.context = client,
						.scalar = on_scalar,
						.open = on_open,
						.close = on_close,
						.bulk_begin = on_bulk_begin,
						.bulk_data = on_bulk_data,
						.bulk_end = on_bulk_end};
	resp_reader_init(&client->reader, &client->visitor);
	return client;
fail:
	if (client->fd >= 0)
		close(client->fd);
	free(client);
	return NULL;
}

void
client_close(struct client *client)
{
	if (client == NULL)
		return;
	close(client->fd);
	resp_writer_free(&client->output);
	free(client->input);
	while (client->depth > 0)
		reply_free(client->stack[--client->depth]);
	reply_free(client->bulk);
	reply_free(client->done);
	free(client);
}

int
client_fd(const struct client *client)
{
	return client->fd;
}

const char *
client_error(const struct client *client)
{
	return client->error != NULL ? client->error : "no error";
}

void
client_append(struct client *client, size_t argc, const char *const *argv, const size_t *sizes)
{
	resp_array(&client->output, argc);
	for (size_t i = 0; i < argc; i++)
		resp_bulk(&client->output, argv[i], sizes != NULL ? sizes[i] : strlen(argv[i]));
}

void
client_append_raw(struct client *client, const void *data, size_t size)
{
	resp_raw(&client->output, data, size);
}

static bool
fail_with(struct client *client, const char *what, int error)
{
	if (error == 0) {
		client->error = what;
	} else {
		snprintf(client->error_text, sizeof(client->error_text), "%s: %s", what, strerror(error));
		client->error = client->error_text;
	}
	return false;
}

/* One recv of what is there. False: closed or failed; "would block" is success. */
static bool
receive(struct client *client)
{
	if (client->start > 0 && client->start == client->used)
		client->start = client->used = 0;
	if (client->capacity - client->used < READ_SIZE) {
		if (client->start > 0)
			memmove(client->input, client->input + client->start, client->used - client->start);
		client->used -= client->start;
		client->start = 0;
		while (client->capacity - client->used < READ_SIZE)
			client->capacity = client->capacity * 2 + READ_SIZE;
		char *input = realloc(client->input, client->capacity);
		if (input == NULL)
			return fail_with(client, "out of memory", 0);
		client->input = input;
	}
	ssize_t got =
		recv(client->fd, client->input + client->used, client->capacity - client->used, MSG_DONTWAIT);
	if (got > 0) {
		client->used += (size_t)got;
		return true;
	}
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (got == 0 || errno == ECONNRESET)
		return fail_with(client, "closed", 0);
	return fail_with(client, "recv", errno);
}

/* Waits for any of `events`, and receives if there is something. */
static bool
wait_for(struct client *client, short events, int64_t deadline, short *ret_events)
{
	struct pollfd entry = {.fd = client->fd, .events = events};
	int64_t left = deadline - now_ms();
	int ready = left > 0 ? poll(&entry, 1, (int)left) : 0;

	if (ready < 0 && errno != EINTR)
		return fail_with(client, "poll", errno);
	if (ready == 0)
		return fail_with(client, "timeout", 0);
	*ret_events = entry.revents;
	if ((entry.revents & (POLLIN | POLLHUP | POLLERR)) != 0)
		return receive(client);
	return true;
}

bool
client_flush(struct client *client)
{
	int64_t deadline = now_ms() + client->timeout_ms;
	short events;

	if (client->error != NULL)
		return false;
	if (client->output.failed)
		return fail_with(client, "out of memory", 0);
	while (client->sent < client->output.size) {
		ssize_t sent = send(client->fd, client->output.data + client->sent,
				    client->output.size - client->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent >= 0) {
			client->sent += (size_t)sent;
			deadline = now_ms() + client->timeout_ms;
			continue;
		}
		/* A server that closed while we were sending may have said why: that is still to be read. */
		if (errno == EPIPE || errno == ECONNRESET)
			break;
		if (errno != EAGAIN && errno != EINTR)
			return fail_with(client, "send", errno);
		if (!wait_for(client, POLLIN | POLLOUT, deadline, &events))
			return false;
	}
	client->sent = 0;
	resp_truncate(&client->output, 0);
	return true;
}

struct reply *
client_read(struct client *client)
{
	int64_t deadline;
	short events;

	if (!client_flush(client))
		return NULL;
	deadline = now_ms() + client->timeout_ms;
	for (;;) {
		size_t consumed = 0;
		enum resp_reader_result result =
			resp_reader_feed(&client->reader, (const uint8_t *)client->input + client->start,
					 client->used - client->start, &consumed);
		client->start += consumed;
		if (result == RESP_READER_REPLY && client->done != NULL) {
			struct reply *reply = client->done;
			client->done = NULL;
			return reply;
		}
		if (result == RESP_READER_ERROR) {
			fail_with(client, client->reader.error, 0);
			return NULL;
		}
		if (!wait_for(client, POLLIN, deadline, &events))
			return NULL;
	}
}

struct reply *
client_call(struct client *client, size_t argc, const char *const *argv, const size_t *sizes)
{
	client_append(client, argc, argv, sizes);
	return client_read(client);
}

struct reply *
client_command(struct client *client, ...)
{
	const char *argv[ARGUMENTS_MAX];
	size_t argc = 0;
	va_list arguments;

	va_start(arguments, client);
	while (argc < ARGUMENTS_MAX && (argv[argc] = va_arg(arguments, const char *)) != NULL)
		argc++;
	va_end(arguments);
	return client_call(client, argc, argv, NULL);
}

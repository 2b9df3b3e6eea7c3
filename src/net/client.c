/* A client in one line of text, as CLIENT LIST and the log show it. */
#include "net/client.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "acl/user.h"
#include "net/connection.h"
#include "net/output.h"
#include "storage/status.h"

void
client_write_flags(const struct client *client, char ret[CLIENT_FLAGS_SIZE])
{
	const size_t size = CLIENT_FLAGS_SIZE;
	bool in_multi = __atomic_load_n(&client->multi_count, __ATOMIC_RELAXED) != UINT_MAX;
	bool no_evict = __atomic_load_n(&client->no_evict, __ATOMIC_RELAXED);
	bool blocked = __atomic_load_n(&client->blocked, __ATOMIC_RELAXED);
	bool monitors = __atomic_load_n(&client->is_monitor, __ATOMIC_RELAXED);
	unsigned tracking = __atomic_load_n(&client->tracking, __ATOMIC_RELAXED);
	bool broken = tracking != 0 && __atomic_load_n(&client->redirect_broken, __ATOMIC_RELAXED);
	bool is_replica = __atomic_load_n(&client->is_replica, __ATOMIC_RELAXED);
	snprintf(ret, size, "%s%s%s%s%s%s%s%s%s%s",
		 monitors             ? "O"
			 : is_replica ? "S"
				      : "",
		 client->is_master ? "M" : "", client_is_subscribed(client) ? "P" : "", in_multi ? "x" : "",
		 blocked ? "b" : "", tracking != 0 ? "t" : "", broken ? "R" : "",
		 (tracking & TRACKING_BROADCAST) != 0 ? "B" : "", client->unix_socket ? "U" : "",
		 no_evict ? "e" : "");
	if (ret[0] == '\0')
		snprintf(ret, size, "N");
}

uint64_t
client_kept_bytes(const struct client *client)
{
	uint64_t bytes = __atomic_load_n(&client->queued_bytes, __ATOMIC_RELAXED);
	for (int kind = 0; kind < KEPT_KINDS; kind++)
		bytes += __atomic_load_n(&client->kept[kind], __ATOMIC_RELAXED);
	return bytes;
}

/* The fields of the buffers. As in Redis, the first bytes of the output count as a fixed buffer (rbs, obl), and
 * the rest as a list of blocks (oll, omem). */
static int
write_buffers(const struct client *client, struct buffer *ret)
{
	char text[512];
	uint64_t input = __atomic_load_n(&client->query_buffer_bytes, __ATOMIC_RELAXED);
	uint64_t input_free = __atomic_load_n(&client->query_buffer_free, __ATOMIC_RELAXED);
	uint64_t output = __atomic_load_n(&client->output_bytes, __ATOMIC_RELAXED);
	uint64_t arguments = __atomic_load_n(&client->argument_bytes, __ATOMIC_RELAXED);
	uint64_t listed = output > OUTPUT_UNCOUNTED ? output - OUTPUT_UNCOUNTED : 0;
	int size =
		snprintf(text, sizeof text,
			 " qbuf=%" PRIu64 " qbuf-free=%" PRIu64 " argv-mem=%" PRIu64 " multi-mem=%" PRIu64
			 " rbs=%" PRIu64 " rbp=%" PRIu64 " obl=%" PRIu64 " oll=%" PRIu64 " omem=%" PRIu64
			 " tot-mem=%" PRIu64,
			 input, input_free, arguments,
			 __atomic_load_n(&client->queued_bytes, __ATOMIC_RELAXED), output - listed,
			 output - listed, output - listed, (listed + OUTPUT_UNCOUNTED - 1) / OUTPUT_UNCOUNTED,
			 listed, __atomic_load_n(&client->memory_bytes, __ATOMIC_RELAXED));
	return buffer_append(ret, text, (size_t)size);
}

static int
describe(const struct client *client, uint64_t now_ms, size_t name_size, struct buffer *ret)
{
	char text[512], flags[CLIENT_FLAGS_SIZE];
	unsigned multi = __atomic_load_n(&client->multi_count, __ATOMIC_RELAXED);
	const char *command = __atomic_load_n(&client->last_command, __ATOMIC_RELAXED);
	uint64_t active = __atomic_load_n(&client->last_active_ms, __ATOMIC_RELAXED);
	client_write_flags(client, flags);
	int size = snprintf(text, sizeof text, "id=%" PRIu64 " addr=%s laddr=%s fd=%d name=", client->id,
			    client->address, client->local_address, client->fd);
	int status = buffer_append(ret, text, (size_t)size);
	if (status == SETT_OK)
		status = buffer_append(ret, client->name.data, name_size);
	size = snprintf(text, sizeof text,
			" age=%" PRIu64 " idle=%" PRIu64 " flags=%s db=%u sub=%u psub=%u ssub=%u multi=%d",
			now_ms > client->created_ms ? (now_ms - client->created_ms) / 1000 : 0,
			now_ms > active ? (now_ms - active) / 1000 : 0, flags,
			__atomic_load_n(&client->db, __ATOMIC_RELAXED),
			__atomic_load_n(&client->subscriptions[SUBSCRIBED_CHANNEL], __ATOMIC_RELAXED),
			__atomic_load_n(&client->subscriptions[SUBSCRIBED_PATTERN], __ATOMIC_RELAXED),
			__atomic_load_n(&client->subscriptions[SUBSCRIBED_SHARD], __ATOMIC_RELAXED),
			multi == UINT_MAX ? -1 : (int)multi);
	if (status == SETT_OK)
		status = buffer_append(ret, text, (size_t)size);
	if (status == SETT_OK)
		status = write_buffers(client, ret);
	bool tracks = __atomic_load_n(&client->tracking, __ATOMIC_RELAXED) != 0;
	uint64_t redirect = __atomic_load_n(&client->redirect, __ATOMIC_RELAXED);
	size = snprintf(text, sizeof text, " events=r cmd=%s user=", command != NULL ? command : "NULL");
	if (status == SETT_OK)
		status = buffer_append(ret, text, (size_t)size);
	struct bytes user = client->user != NULL ? client->user->name : BYTES_LITERAL("(superuser)");
	if (status == SETT_OK)
		status = buffer_append(ret, user.data, user.size);
	size = snprintf(text, sizeof text, " redir=%" PRId64 " resp=%d", tracks ? (int64_t)redirect : -1,
			__atomic_load_n(&client->protocol, __ATOMIC_RELAXED));
	return status == SETT_OK ? buffer_append(ret, text, (size_t)size) : status;
}

int
client_describe(const struct client *client, uint64_t now_ms, struct buffer *ret)
{
	return describe(client, now_ms, client->name.size, ret);
}

int
client_describe_for_log(const struct client *client, uint64_t now_ms, struct buffer *ret)
{
	size_t size = client->name.size < CLIENT_NAME_SHOWN ? client->name.size : CLIENT_NAME_SHOWN;
	return describe(client, now_ms, size, ret);
}

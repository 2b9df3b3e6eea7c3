/* A reactor's cron: a share of its connections is checked each time. See cron.h. */
#include "net/cron.h"

#include "config/config.h"
#include "net/bodies.h"
#include "net/connections.h"
#include "net/eviction.h"
#include "net/reactor_private.h"
#include "net/replies.h"
#include "net/slow_reader.h"

enum {
	CRON_SHARE = 10, /* a tenth of the connections each time */
	CRON_CONNECTIONS_MIN = 5,
	SHRINK_AFTER_MS = 2000,
};

static void
check_connection(struct reactor *r, struct connection *c)
{
	struct client *client = &c->client;
	uint64_t now = loop_wall_ms(r->loop);
	if (c->closing || connection_is_in_pool(c))
		return;
	if (__builtin_expect(c->output.streams != NULL, 0) && bodies_close_limited(r, c))
		return;
	slow_reader_check_again(r, c);
	if ((c->state != CONNECTION_OPEN && c->state != CONNECTION_GREETING) || c->closing)
		return;
	if (__builtin_expect(client->transaction != NULL, 0) && r->net->handler.check_client != NULL)
		r->net->handler.check_client(r->net->handler.arg, client);
	uint64_t idle = now > client->last_active_ms ? now - client->last_active_ms : 0;
	int64_t timeout = __atomic_load_n(&r->net->config->timeout_seconds, __ATOMIC_RELAXED);
	if (timeout > 0 && !client_is_subscribed(client) && !client->is_replica &&
	    idle > (uint64_t)timeout * 1000) {
		log_sink_printf(&r->net->sink, LOG_LEVEL_VERBOSE, "Closing idle client");
		connections_close(r, c);
		return;
	}
	if (list_is_linked(&c->run_link) || list_is_linked(&c->send_link))
		return;
	connection_shrink(c, idle > SHRINK_AFTER_MS);
	__atomic_store_n(&client->query_buffer_free, c->input_capacity - c->input_end, __ATOMIC_RELAXED);
	connections_account(r, c);
}

static void
check_share(struct reactor *r)
{
	uint64_t count = r->connection_count / CRON_SHARE + CRON_CONNECTIONS_MIN;
	for (uint64_t i = 0; i < count && i < r->connection_count; i++) {
		struct connection *c = list_entry(r->connections.next, struct connection, all_link);
		list_remove(&c->all_link);
		list_append(&r->connections, &c->all_link);
		check_connection(r, c);
	}
	replies_close_held(r);
	eviction_run(r);
	pool_relieve(r->net->pool, loop_wall_ms(r->loop));
}

static void
run_cron(void *arg)
{
	struct reactor *r = arg;
	if (!__atomic_load_n(&r->net->cron_is_paused, __ATOMIC_RELAXED))
		check_share(r);
	if (r->connection_count > 0)
		connections_arm_cron(r);
}

void
cron_init(struct reactor *r)
{
	r->cron = (struct timer){.run = run_cron, .arg = r};
}

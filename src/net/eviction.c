/* See eviction.h.
 *
 * Each reactor knows its own connections only, so it publishes the size of the largest one that may be closed
 * (`largest_buffers`): what it is when it looks, and more when one has grown beyond that. One that may not be closed is
 * not published: two reactors would wake each other for it, and close none. A reactor that finds the limit passed
 * closes its largest connection if no other reactor has published a larger one; else it has that one look. That one
 * may have none as large any more: then it publishes what is true, and sends the first one on its way again. They
 * choose one after the other (`eviction_mutex`): what one closes no longer counts when the next one looks, so no more
 * are closed than need be. */
#include "net/eviction.h"

#include <assert.h>
#include <inttypes.h>

#include "config/config.h"
#include "net/connections.h"
#include "net/reactor_private.h"

enum { SHARE_OF = 4 /* the buffers of all connections take less than 3/4 of maxmemory */ };

static int64_t
configured(const struct net *net)
{
	return __atomic_load_n(&net->config->max_memory_clients, __ATOMIC_RELAXED);
}

static uint64_t
limit_of(const struct net *net)
{
	int64_t set = configured(net);
	uint64_t memory = config_effective_memory(net->config);
	if (set > 0)
		return (uint64_t)set;
	return set < 0 ? memory / 100 * (uint64_t)-set : memory / SHARE_OF * (SHARE_OF - 1);
}

static uint64_t
buffers_of_all(const struct net *net)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < net->reactor_count; i++)
		sum += __atomic_load_n(&net->reactors[i]->counters.buffer_bytes, __ATOMIC_RELAXED);
	return sum;
}

bool
eviction_is_near(const struct net *net)
{
	return buffers_of_all(net) > limit_of(net) / 2;
}

bool
eviction_awaits(const struct net *net, const struct connection *c, uint64_t size)
{
	return configured(net) != 0 && size >= limit_of(net) && eviction_may_close(c);
}

bool
eviction_may_close(const struct connection *c)
{
	return !c->closing && !connection_is_in_pool(c) && !c->client.is_replica &&
		!__atomic_load_n(&c->client.no_evict, __ATOMIC_RELAXED);
}

/* Of those above `spared`; NULL: none may be closed. */
static struct connection *
find_largest(struct reactor *r, uint64_t spared)
{
	struct connection *largest = NULL;
	for (struct list_link *link = r->connections.next; link != &r->connections; link = link->next) {
		struct connection *c = list_entry(link, struct connection, all_link);
		if (eviction_may_close(c) && (largest == NULL || c->accounted > largest->accounted))
			largest = c;
	}
	uint64_t bytes = largest != NULL ? largest->accounted : 0;
	__atomic_store_n(&r->counters.largest_buffers, bytes, __ATOMIC_RELAXED);
	return bytes > spared ? largest : NULL;
}

/* Another reactor whose largest one is larger than `bytes`, as far as it has told; or NULL. */
static struct reactor *
find_larger(const struct reactor *r, uint64_t bytes)
{
	const struct net *net = r->net;
	struct reactor *found = NULL;
	for (unsigned i = 0; i < net->reactor_count; i++) {
		struct reactor *other = net->reactors[i];
		uint64_t largest = __atomic_load_n(&other->counters.largest_buffers, __ATOMIC_RELAXED);
		if (other != r && largest > bytes) {
			bytes = largest;
			found = other;
		}
	}
	return found;
}

static void
evict(struct reactor *r, struct connection *c)
{
	struct buffer text = {0};
	if (client_describe_for_log(&c->client, loop_wall_ms(r->loop), &text) == SETT_OK)
		log_sink_printf(&r->net->sink, LOG_LEVEL_NOTICE, "Evicting client: %.*s", (int)text.size,
				(const char *)text.data);
	else
		log_sink_printf(&r->net->sink, LOG_LEVEL_NOTICE, "Evicting client: id=%" PRIu64,
				c->client.id);
	buffer_free(&text);
	counter_add(&r->counters.clients_evicted, 1);
	connections_close(r, c);
	/* What else it has in memory follows at the end of the tick, or when the pool is done with it. */
	connections_forget_buffers(r, c);
}

/* The one that is to be closed, whose memory does not count any more; NULL: none of this reactor. */
static struct connection *
choose(struct reactor *r, uint64_t limit, uint64_t spared)
{
	struct connection *largest = NULL;
	struct reactor *other = NULL;
	mutex_lock(&r->net->eviction_mutex);
	if (buffers_of_all(r->net) > limit) {
		largest = find_largest(r, spared);
		other = find_larger(r, largest != NULL ? largest->accounted : spared);
	}
	if (other != NULL)
		largest = NULL;
	if (largest != NULL) {
		counter_add(&r->counters.buffer_bytes, -(uint64_t)largest->accounted);
		largest->accounted = 0;
	}
	mutex_unlock(&r->net->eviction_mutex);
	if (other != NULL)
		reactor_control(other, REACTOR_EVICT);
	return largest;
}

void
eviction_run(struct reactor *r)
{
	assert(reactor_is_here(r));
	uint64_t limit = limit_of(r->net), spared = configured(r->net) != 0 ? 0 : EVICTION_SPARED;
	struct connection *chosen;
	while (buffers_of_all(r->net) > limit && (chosen = choose(r, limit, spared)) != NULL)
		evict(r, chosen);
}

/* Clients that do not read their replies.
 *
 * Such a client costs memory. It can't always be held back by leaving its socket unread: the pipelines of
 * most client libraries write all requests before they read a reply, and then both sides would wait for
 * ever.
 *
 *     unsent output          0 ------ OUTPUT_LOW ------------ OUTPUT_HIGH
 *     open                   requests run                       | throttled
 *     throttled, going on <--|  requests wait, and what is received goes to the backlog
 *
 * So a throttled connection runs no request, but goes on receiving. Its requests run, in batches as
 * always, each time most of the output has left.
 *
 * Bounds of the memory of one client. Of replies: OUTPUT_HIGH, and the last reply or batch. Of requests:
 * client-query-buffer-limit; at that a throttled connection's socket is left unread. Who then reads nothing for STUCK_NS
 * would wait for ever, with what he still writes, and is closed as one that has reached the limit. Of all clients together:
 * eviction.h. Before clients are closed for that, while eviction_is_near, they are throttled earlier
 * (OUTPUT_NEAR_HIGH, OUTPUT_NEAR_LOW).
 *
 * client-output-buffer-limit closes a client as in Redis: at once when the hard limit is reached, and when
 * its output was above the soft limit for longer than the seconds. All bytes of replies that have not left
 * count, also those of large bodies, but for the first OUTPUT_UNCOUNTED. Where a limit is set, a
 * connection is throttled no earlier than there: otherwise no client would ever reach it. */
#include "net/slow_reader.h"

#include <errno.h>
#include <inttypes.h>

#include "config/config.h"
#include "net/connections.h"
#include "net/eviction.h"
#include "net/reactor_private.h"

#define STUCK_NS 60000000000ULL
enum { UNAUTHENTICATED_UNSENT_MAX = 1024 /* bytes that a client may leave unread before it authenticates */ };

static struct config_output_limit
limit_of(const struct reactor *r, const struct connection *c)
{
	enum config_client_class class = c->client.is_replica ? CONFIG_CLIENT_REPLICA
		: client_is_subscribed(&c->client)            ? CONFIG_CLIENT_PUBSUB
							      : CONFIG_CLIENT_NORMAL;
	const struct config_output_limit *limit = &r->net->config->output_limits[class];
	uint64_t hard = __atomic_load_n(&limit->hard, __ATOMIC_RELAXED);
	uint64_t kept = (uint64_t)__atomic_load_n(&r->net->config->repl_backlog_size, __ATOMIC_RELAXED);
	/* As in Redis: bytes that are kept anyway are none too many. */
	if (class == CONFIG_CLIENT_REPLICA && hard != 0 && hard < kept)
		hard = kept;
	return (struct config_output_limit){.hard = hard,
					    .soft = __atomic_load_n(&limit->soft, __ATOMIC_RELAXED),
					    .soft_seconds =
						    __atomic_load_n(&limit->soft_seconds, __ATOMIC_RELAXED)};
}

/* Whether it is to be closed for these bytes. Notes since when it is above the soft limit. */
static bool
is_over(struct connection *c, const struct config_output_limit *limit, uint64_t counted, uint64_t now_ns)
{
	if (limit->hard != 0 && counted >= limit->hard)
		return true;
	if (limit->soft == 0 || counted < limit->soft) {
		c->over_soft_limit_ns = 0;
		return false;
	}
	if (c->over_soft_limit_ns == 0)
		c->over_soft_limit_ns = now_ns;
	return (now_ns - c->over_soft_limit_ns) / 1000000000 > limit->soft_seconds;
}

/* `how` is Redis' wording. */
static void
close_over_limit(struct reactor *r, struct connection *c, uint64_t unsent, const char *how)
{
	struct buffer text = {0};
	uint64_t now_ms = loop_wall_ms(r->loop);
	__atomic_store_n(&c->client.output_bytes, unsent, __ATOMIC_RELAXED);
	/* While a request is in the pool, its thread may change the client. */
	if (!connection_is_in_pool(c) && client_describe_for_log(&c->client, now_ms, &text) == SETT_OK)
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
				"Client %.*s %s for overcoming of output buffer limits.", (int)text.size,
				(const char *)text.data, how);
	else
		log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
				"Client id=%" PRIu64 " %s for overcoming of output buffer limits.",
				c->client.id, how);
	buffer_free(&text);
	connections_close(r, c);
}

static uint64_t
throttled_at(const struct reactor *r, const struct config_output_limit *limit)
{
	uint64_t least = limit->hard != 0 ? limit->hard : limit->soft;
	if (least == 0 && eviction_is_near(r->net))
		return OUTPUT_NEAR_HIGH;
	return least > OUTPUT_HIGH ? least : OUTPUT_HIGH;
}

static void
check_unsent(struct reactor *r, struct connection *c)
{
	struct config_output_limit limit = limit_of(r, c);
	uint64_t unsent = connection_unsent(c);
	uint64_t counted = unsent > OUTPUT_UNCOUNTED ? unsent - OUTPUT_UNCOUNTED : 0;
	if (c->closing)
		return;
	if (is_over(c, &limit, counted, loop_now_ns(r->loop))) {
		close_over_limit(r, c, unsent, "scheduled to be closed ASAP");
		return;
	}
	if (c->client.is_replica)
		return; /* it is heard while its source, which has no end, is sent */
	/* One request's bodies at a time: each keeps a file on the disk. */
	if (c->output.streams != NULL || counted > throttled_at(r, &limit))
		c->throttled = true;
}

void
slow_reader_check(struct reactor *r, struct connection *c)
{
	if (__builtin_expect(output_pending(&c->output) + c->pushes.size > OUTPUT_UNCOUNTED ||
				     c->output.streams != NULL,
			     0))
		check_unsent(r, c);
}

bool
slow_reader_takes_now(const struct reactor *r, struct connection *c)
{
	enum { STEP = 64 * 1024 };
	size_t pending = output_pending(&c->output);
	if (__builtin_expect(pending <= OUTPUT_UNCOUNTED, 1) || c->closing || c->output.streams != NULL)
		return false;
	uint64_t hard = limit_of(r, c).hard;
	/* It may have read since its socket was full, of which this tick has not heard. */
	if (hard != 0 && pending - OUTPUT_UNCOUNTED >= hard)
		c->writable = true;
	return hard != 0 && c->writable && (pending >= STEP || pending >= hard / 4);
}

/* Whether its socket has been full both ways for a while, and none of its replies has left. */
static bool
is_stuck(const struct reactor *r, struct connection *c, uint64_t unsent)
{
	if (!c->throttled || c->writable || c->backlog_ended || connections_may_receive_ahead(r, c)) {
		c->stuck_since_ns = 0;
		return false;
	}
	if (c->stuck_since_ns == 0 || unsent != c->stuck_unsent) {
		c->stuck_since_ns = loop_now_ns(r->loop);
		c->stuck_unsent = unsent;
	}
	return loop_now_ns(r->loop) - c->stuck_since_ns >= STUCK_NS;
}

void
slow_reader_check_again(struct reactor *r, struct connection *c)
{
	struct config_output_limit limit = limit_of(r, c);
	uint64_t unsent = connection_unsent(c);
	uint64_t counted = unsent > OUTPUT_UNCOUNTED ? unsent - OUTPUT_UNCOUNTED : 0;
	__atomic_store_n(&c->client.output_bytes, unsent, __ATOMIC_RELAXED);
	if (is_over(c, &limit, counted, loop_now_ns(r->loop))) {
		close_over_limit(r, c, unsent, "closed");
	} else if (is_stuck(r, c, unsent)) {
		errno = EMSGSIZE;
		connections_input_failed(r, c);
	}
}

bool
slow_reader_may_go_on(const struct reactor *r, const struct connection *c)
{
	size_t pending = output_pending(&c->output);
	return c->output.streams == NULL && pending <= OUTPUT_LOW &&
		(pending <= OUTPUT_NEAR_LOW || !eviction_is_near(r->net));
}

bool
slow_reader_close_unauthenticated(struct reactor *r, struct connection *c)
{
	if (c->client.authenticated || c->state != CONNECTION_OPEN || c->writable ||
	    output_pending(&c->output) <= UNAUTHENTICATED_UNSENT_MAX)
		return false;
	log_sink_printf(&r->net->sink, LOG_LEVEL_WARNING,
			"Closing unauthenticated client addr=%s: it does not read its replies",
			c->client.address);
	connections_close(r, c);
	return true;
}

/* ---- receiving ahead ---- */

void
slow_reader_received(struct reactor *r, struct connection *c)
{
	if (c->closing)
		return;
	__atomic_store_n(&c->client.query_buffer_bytes, connection_waiting_input(c), __ATOMIC_RELAXED);
	__atomic_store_n(&c->client.last_active_ms, loop_wall_ms(r->loop), __ATOMIC_RELAXED);
	connections_account(r, c);
	if (!connections_may_receive_ahead(r, c))
		connections_update_watch(r, c);
	else if (c->readable)
		connections_queue_run(r, c);
}

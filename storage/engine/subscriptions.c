/* Subscriptions; see storage/subscription.h.
 *
 *     commit --copies--> coming   --swapped when empty-->  taken --> sett_subscription_next
 *            (commit lock, lock)          (lock)            (the taker's alone)
 *
 * Commits are told of once they are visible, and before the next one is: under the commit lock.
 *
 * Invariant: what was handed over and what waits in `taken` and `coming` are all changes in commit order since the subscription
 * began, up to where it fell behind. */
#include "storage/subscription.h"

#include <assert.h>
#include <stdlib.h>

#include "engine_private.h"

static const size_t DEFAULT_LIMIT = 16 << 20;
enum { BODY_SHARE = 4 }; /* of the limit a single body may take one such part */

struct sett_subscription {
	struct sett_engine *engine;
	struct sett_subscription *next, **link; /* under the commit lock */
	struct buffer *prefixes;
	size_t prefix_count;
	bool without_bodies;
	size_t limit;
	struct buffer taken; /* the taker's, with the next */
	size_t at;
	struct mutex lock; /* guards the group below */
	struct condition changed;
	struct buffer coming;
	bool is_behind, is_cancelled;
};

/* Of one change in the buffers; key, head and body follow. */
struct change_header {
	uint64_t timestamp, expires_at, body_size;
	uint32_t key, head, body;
	uint8_t kind;
	bool has_body;
};

/* ---- what commits tell ---- */

static void
append_locked(struct sett_subscription *s, const struct change_header *h, struct bytes key, struct bytes head,
	      struct bytes body) REQUIRES(&s->lock)
{
	size_t size = sizeof(*h) + key.size + head.size + body.size;
	if (s->is_behind)
		return;
	if (size > s->limit || s->coming.size > s->limit - size ||
	    buffer_reserve(&s->coming, size) != SETT_OK) {
		s->is_behind = true;
		return;
	}
	(void)buffer_append(&s->coming, h, sizeof(*h)); /* there is room */
	(void)buffer_append(&s->coming, key.data, key.size);
	(void)buffer_append(&s->coming, head.data, head.size);
	(void)buffer_append(&s->coming, body.data, body.size);
}

static bool
wants_key(const struct sett_subscription *s, struct bytes key)
{
	for (size_t i = 0; i < s->prefix_count; i++)
		if (bytes_has_prefix(key, buffer_bytes(&s->prefixes[i])))
			return true;
	return s->prefix_count == 0;
}

static bool
wants_drop(const struct sett_subscription *s, struct bytes dropped)
{
	for (size_t i = 0; i < s->prefix_count; i++)
		if (bytes_has_prefix(buffer_bytes(&s->prefixes[i]), dropped))
			return true;
	return wants_key(s, dropped);
}

static void
tell_write_locked(struct sett_subscription *s, const struct write_node *n, uint64_t timestamp)
	REQUIRES(&s->lock)
{
	const struct write_version *version = n->newest;
	struct entry entry = version->entry;
	/* A body that went to the value log is still at hand. */
	if (version->whole.data && entry_decode(version->whole, &entry) != SETT_OK)
		abort(); /* we have encoded it */
	struct change_header h = {.timestamp = timestamp,
				  .expires_at = entry.expires_at,
				  .key = (uint32_t)n->key.size,
				  .kind = SETT_CHANGE_DELETE};
	struct bytes head = {0}, body = {0};
	if (entry.kind != ENTRY_TOMBSTONE) {
		h.kind = SETT_CHANGE_PUT;
		head = entry.head;
		h.head = (uint32_t)head.size;
		h.body_size = entry.kind == ENTRY_INLINE ? entry.body.size : entry.pointer.body_size;
		h.has_body = entry.kind == ENTRY_INLINE && !s->without_bodies &&
			entry.body.size <= s->limit / BODY_SHARE;
	}
	if (h.has_body) {
		body = entry.body;
		h.body = (uint32_t)body.size;
	}
	append_locked(s, &h, n->key, head, body);
}

static void
tell_drop_locked(struct sett_subscription *s, struct bytes prefix, uint64_t timestamp) REQUIRES(&s->lock)
{
	struct change_header h = {
		.timestamp = timestamp, .key = (uint32_t)prefix.size, .kind = SETT_CHANGE_DROP};
	if (wants_drop(s, prefix))
		append_locked(s, &h, prefix, (struct bytes){0}, (struct bytes){0});
}

static void
tell_one(struct sett_subscription *s, const struct sett_txn *txn, uint64_t timestamp)
{
	const struct prefix_change *change;
	mutex_lock(&s->lock);
	size_t before = s->coming.size;
	if (s->is_behind) { /* it hears of nothing any more */
		mutex_unlock(&s->lock);
		return;
	}
	for (struct write_node *n = NULL; (n = write_buffer_next(&txn->writes, n)) != NULL;)
		if (wants_key(s, n->key))
			tell_write_locked(s, n, timestamp);
	for (size_t at = 0; (change = write_buffer_next_prefix(&txn->writes, &at)) != NULL;) {
		if (prefix_change_drops(change))
			tell_drop_locked(s, change->prefix, timestamp);
	}
	if (s->coming.size > before || s->is_behind)
		condition_signal(&s->changed);
	mutex_unlock(&s->lock);
}

void
subscriptions_tell_locked(const struct sett_txn *txn, uint64_t timestamp)
{
	assert(mutex_is_mine(&txn->engine->commit_lock));
	for (struct sett_subscription *s = txn->engine->subscriptions; s; s = s->next)
		tell_one(s, txn, timestamp);
}

void
subscriptions_tell_drop_locked(struct sett_engine *engine, struct bytes prefix)
{
	assert(mutex_is_mine(&engine->commit_lock));
	for (struct sett_subscription *s = engine->subscriptions; s; s = s->next) {
		mutex_lock(&s->lock);
		tell_drop_locked(s, prefix, engine->visible);
		condition_signal(&s->changed);
		mutex_unlock(&s->lock);
	}
}

/* ---- who takes it ---- */

static int
wait_for_changes(struct sett_subscription *s, uint64_t timeout_ns)
{
	int r = SETT_OK;
	mutex_lock(&s->lock);
	while (s->coming.size == 0 && !s->is_behind && !s->is_cancelled)
		if (!condition_wait_for(&s->changed, &s->lock, timeout_ns))
			break;
	if (s->is_cancelled) {
		r = SETT_ABORTED;
	} else if (s->coming.size > 0) {
		struct buffer empty = s->taken;
		s->taken = s->coming;
		s->coming = empty;
		buffer_clear(&s->coming);
		s->at = 0;
	} else {
		r = s->is_behind ? SETT_TOO_LARGE : SETT_NOT_FOUND;
	}
	mutex_unlock(&s->lock);
	return r;
}

int
sett_subscription_next(struct sett_subscription *s, uint64_t timeout_ns, struct sett_change *ret)
{
	struct change_header h;
	int r = s->at < s->taken.size ? SETT_OK : wait_for_changes(s, timeout_ns);
	if (r != SETT_OK)
		return r;
	const uint8_t *p = s->taken.data + s->at;
	memcpy(&h, p, sizeof(h));
	p += sizeof(h);
	*ret = (struct sett_change){.kind = (enum sett_change_kind)h.kind,
				    .timestamp = h.timestamp,
				    .key = bytes_of(p, h.key),
				    .head = bytes_of(p + h.key, h.head),
				    .body = bytes_of(p + h.key + h.head, h.body),
				    .has_body = h.has_body,
				    .body_size = h.body_size,
				    .expires_at = h.expires_at};
	s->at += sizeof(h) + h.key + h.head + h.body;
	assert(s->at <= s->taken.size);
	return SETT_OK;
}

void
sett_subscription_cancel(struct sett_subscription *s)
{
	mutex_lock(&s->lock);
	s->is_cancelled = true;
	condition_broadcast(&s->changed);
	mutex_unlock(&s->lock);
}

/* ---- beginning and end ---- */

static void
free_subscription(struct sett_subscription *s)
{
	for (size_t i = 0; i < s->prefix_count; i++)
		buffer_free(&s->prefixes[i]);
	free(s->prefixes);
	buffer_free(&s->taken);
	buffer_free(&s->coming);
	mutex_destroy(&s->lock);
	condition_destroy(&s->changed);
	free(s);
}

static int
copy_prefixes(struct sett_subscription *s, const struct sett_subscription_options *options)
{
	if (options->count == 0)
		return SETT_OK;
	s->prefixes = calloc(options->count, sizeof(*s->prefixes));
	if (!s->prefixes)
		return SETT_NO_MEMORY;
	for (; s->prefix_count < options->count; s->prefix_count++) {
		struct bytes prefix = options->prefixes[s->prefix_count];
		if (buffer_append(&s->prefixes[s->prefix_count], prefix.data, prefix.size) != SETT_OK)
			return SETT_NO_MEMORY;
	}
	return SETT_OK;
}

int
sett_subscribe(struct sett_engine *engine, const struct sett_subscription_options *options,
	       struct sett_subscription **ret, uint64_t *ret_since)
{
	struct sett_subscription *s = calloc(1, sizeof(*s));
	if (!s)
		return SETT_NO_MEMORY;
	s->engine = engine;
	s->without_bodies = options->without_bodies;
	s->limit = options->limit ? options->limit : DEFAULT_LIMIT;
	mutex_init(&s->lock);
	condition_init(&s->changed);
	if (copy_prefixes(s, options) != SETT_OK) {
		free_subscription(s);
		return SETT_NO_MEMORY;
	}
	mutex_lock(&engine->commit_lock);
	s->next = engine->subscriptions;
	s->link = &engine->subscriptions;
	if (s->next)
		s->next->link = &s->next;
	engine->subscriptions = s;
	if (ret_since)
		*ret_since = engine->visible;
	mutex_unlock(&engine->commit_lock);
	*ret = s;
	return SETT_OK;
}

void
sett_subscription_close(struct sett_subscription *s)
{
	if (!s)
		return;
	mutex_lock(&s->engine->commit_lock);
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	mutex_unlock(&s->engine->commit_lock);
	free_subscription(s);
}

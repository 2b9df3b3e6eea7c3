/* See waiting.h.
 *
 * Invariants
 * - A waiter is entered under the engine's commit lock only, so a commit either comes before, and the waiter's
 *   validated reads include it, or finds the waiter.
 * - What an earlier waiter leaves of a key comes to the next one, by the thread that serves them. Who has left a key to one
 *   who is gone when he enters has his own thread serve his keys.
 * - Places of a bucket are in the order in which they were entered, so the first one of a key came first.
 * - One thread at a time serves a waiter. Another that would serve it leaves its key to the first (`again`). So two
 *   threads never serve two waiters of one key in the wrong order.
 * - A message is under way while `is_told`. A waiter that is over is freed by its reactor only: when it has ended the wait
 *   itself and none is under way, or at the message that finds it done.
 * - Lock order: the engine's commit lock, then the table's. */
#include "txn/waiting.h"

#include <assert.h>
#include <stdlib.h>

#include "loop/list.h"
#include "net/output.h"
#include "storage/base/hash.h"
#include "storage/base/thread.h"

enum { BUCKETS = 1024 };

enum waiter_state { WAITER_PREPARED, WAITER_PARKED, WAITER_SERVING, WAITER_OVER };

/* A waiter in the queue of one key. */
struct place {
	struct list_link link; /* of the bucket; under the table's lock */
	struct waiter *waiter;
	uint64_t hash;
	struct bytes key;
};

struct waiter {
	struct commit_participant entry, serving; /* `entry` is first: waiting_entry */
	struct waiting_table *table;
	struct client *client;
	const struct command *command;
	unsigned db;
	enum value_type type;
	bool behind_others;
	/* By the order of entering, and whether one of its keys had nobody to wait behind; set by then. */
	uint64_t number;
	bool is_unattended;
	/* Under the table's lock. */
	enum waiter_state state;
	bool again;     /* serving: other threads left keys of it to the one that does */
	bool is_ending; /* serving: it is to end as `end` says */
	bool is_done;   /* over, and its reply is complete */
	bool is_told;   /* a message to its reactor is under way */
	enum wait_end end;
	uint64_t wake_ns; /* monotonic; 0: nobody is to wake it, or its keys are about to be served */
	struct list_link all_link;
	/* Written by who served it, read by its reactor once it is over. */
	struct resp_writer reply;
	struct output_stream *streams;
	uint64_t release;
	size_t size; /* of the waiter with its places and arguments */
	size_t argc, place_count;
	struct bytes *argv;
	struct place places[];
};

struct bucket {
	struct list_link places;
	unsigned of_type[VALUE_TYPE_END]; /* its places, by what they wait for */
};

struct waiting_table {
	void (*news)(struct client *);
	uint64_t count; /* atomic: waiters; relaxed, as entering and looking are ordered by the commit lock */
	struct mutex lock;
	uint64_t entered; /* so many ever were */
	struct list_link all;
	struct bucket buckets[BUCKETS];
};

int
waiting_create(void (*news)(struct client *), struct waiting_table **ret)
{
	struct waiting_table *t = calloc(1, sizeof(*t));
	if (t == NULL)
		return SETT_NO_MEMORY;
	t->news = news;
	mutex_init(&t->lock);
	list_init(&t->all);
	for (unsigned i = 0; i < BUCKETS; i++)
		list_init(&t->buckets[i].places);
	*ret = t;
	return SETT_OK;
}

void
waiting_destroy(struct waiting_table *t)
{
	if (t == NULL)
		return;
	assert(t->count == 0);
	mutex_destroy(&t->lock);
	free(t);
}

static struct place *
place_of(struct list_link *link)
{
	return list_entry(link, struct place, link);
}

static struct bucket *
bucket_of(struct waiting_table *t, uint64_t hash)
{
	return &t->buckets[hash % BUCKETS];
}

/* The first place of the key after `after` (NULL: of all), in its bucket. */
static struct place *
next_place(struct waiting_table *t, unsigned db, uint64_t hash, struct bytes key, struct place *after)
{
	struct list_link *head = &bucket_of(t, hash)->places;
	struct list_link *link = after != NULL ? after->link.next : head->next;
	for (; link != head; link = link->next) {
		struct place *p = place_of(link);
		if (p->hash == hash && p->waiter->db == db && bytes_equal(p->key, key))
			return p;
	}
	return NULL;
}

static uint64_t
hash_of(unsigned db, struct bytes key)
{
	return hash64_bytes(key, db);
}

/* Whether somebody in the bucket waits for a type that is not one of these: thousands may wait for one key, and are not
 * looked at in vain. */
static bool
has_other_types(const struct bucket *b, unsigned types)
{
	for (unsigned type = 0; type < VALUE_TYPE_END; type++)
		if (b->of_type[type] > 0 && (types & 1U << type) == 0)
			return true;
	return false;
}

bool
waiting_is_empty(const struct waiting_table *t)
{
	return t == NULL || __atomic_load_n(&t->count, __ATOMIC_RELAXED) == 0;
}

static bool
has_locked(struct waiting_table *t, unsigned db, struct bytes key, unsigned types) REQUIRES(&t->lock)
{
	assert(mutex_is_mine(&t->lock));
	uint64_t hash = hash_of(db, key);
	struct place *p = NULL;
	bool some_may = has_other_types(bucket_of(t, hash), ~types);
	while (some_may && (p = next_place(t, db, hash, key, p)) != NULL &&
	       (types & 1U << p->waiter->type) == 0)
		;
	return p != NULL;
}

bool
waiting_has(struct waiting_table *t, unsigned db, struct bytes key, unsigned types)
{
	if (waiting_is_empty(t))
		return false;
	mutex_lock(&t->lock);
	bool has = has_locked(t, db, key, types);
	mutex_unlock(&t->lock);
	return has;
}

/* ---- the waiter's own side ---- */

/* Whether somebody waits for the same at a key of the waiter's. */
static bool
has_predecessor_locked(struct waiter *w, const struct place *of)
{
	struct place *p = NULL;
	while ((p = next_place(w->table, w->db, of->hash, of->key, p)) != NULL)
		if (p->waiter->type == w->type)
			return true;
	return false;
}

static void
enter(struct commit_participant *p, uint64_t timestamp)
{
	(void)timestamp;
	struct waiter *w = (struct waiter *)p;
	struct waiting_table *t = w->table;
	mutex_lock(&t->lock);
	assert(w->state == WAITER_PREPARED);
	w->state = WAITER_PARKED;
	client_keeps(w->client, KEPT_WAIT, w->size);
	w->number = ++t->entered;
	list_append(&t->all, &w->all_link);
	for (size_t i = 0; i < w->place_count; i++) {
		struct bucket *b = bucket_of(t, w->places[i].hash);
		w->is_unattended |= w->behind_others && !has_predecessor_locked(w, &w->places[i]);
		list_append(&b->places, &w->places[i].link);
		b->of_type[w->type]++;
	}
	__atomic_add_fetch(&t->count, 1, __ATOMIC_RELAXED);
	mutex_unlock(&t->lock);
}

static bool may_serve(struct commit_participant *);
static void end_served(struct commit_participant *, uint64_t timestamp);

/* The waiter's memory ends with the bytes that were made for it. */
static void
own_made(struct waiter *w, const struct wait_request *r)
{
	uint8_t *made = (uint8_t *)(w->argv + r->argc);
	if (r->made.size > 0)
		memcpy(made, r->made.data, r->made.size);
	for (size_t i = 0; i < r->argc; i++) {
		uintptr_t offset = (uintptr_t)w->argv[i].data - (uintptr_t)r->made.data;
		if (r->made.size > 0 && offset < r->made.size)
			w->argv[i].data = made + offset;
	}
}

struct waiter *
waiting_prepare(struct waiting_table *t, struct client *client, const struct wait_request *r)
{
	assert(r->key_count > 0 && r->argc > 0);
	size_t places = r->key_count * sizeof(struct place);
	size_t size = sizeof(struct waiter) + places + r->argc * sizeof(*r->argv) + r->made.size;
	struct waiter *w = calloc(1, size);
	if (w == NULL)
		return NULL;
	w->size = size;
	w->entry = (struct commit_participant){.apply = enter};
	w->serving = (struct commit_participant){.validate = may_serve, .apply = end_served};
	w->table = t;
	w->client = client;
	w->command = r->command;
	w->db = r->db;
	w->type = r->type;
	w->behind_others = r->behind_others;
	w->wake_ns = r->wake_ns;
	w->argc = r->argc;
	w->argv = (struct bytes *)(void *)((char *)w->places + places);
	memcpy(w->argv, r->argv, r->argc * sizeof(*r->argv));
	own_made(w, r);
	w->place_count = r->key_count;
	for (size_t i = 0; i < r->key_count; i++)
		w->places[i] =
			(struct place){.waiter = w, .hash = hash_of(r->db, r->keys[i]), .key = r->keys[i]};
	return w;
}

struct commit_participant *
waiting_entry(struct waiter *w)
{
	return &w->entry;
}

void
waiting_entered(struct waiter *w, const struct wait_again *again)
{
	for (size_t i = 0; w->is_unattended && i < w->place_count; i++)
		again->key(again->arg, w->db, w->places[i].key);
}

void
waiting_free(struct waiter *w)
{
	if (w == NULL)
		return;
	assert(w->state == WAITER_PREPARED || w->state == WAITER_OVER);
	output_streams_free(w->streams);
	resp_writer_free(&w->reply);
	free(w);
}

static void
leave_locked(struct waiter *w, enum wait_end end)
{
	assert(mutex_is_mine(&w->table->lock));
	assert(w->state == WAITER_PARKED || w->state == WAITER_SERVING);
	w->state = WAITER_OVER;
	w->end = end;
	client_keeps(w->client, KEPT_WAIT, 0);
	list_remove(&w->all_link);
	for (size_t i = 0; i < w->place_count; i++) {
		struct bucket *b = bucket_of(w->table, w->places[i].hash);
		list_remove(&w->places[i].link);
		assert(b->of_type[w->type] > 0);
		b->of_type[w->type]--;
	}
	assert(!waiting_is_empty(w->table));
	__atomic_sub_fetch(&w->table->count, 1, __ATOMIC_RELAXED);
}

/* True: the caller is to post the message. */
static bool
tell_locked(struct waiter *w)
{
	assert(mutex_is_mine(&w->table->lock));
	bool was_told = w->is_told;
	w->is_told = true;
	return !was_told;
}

/* True: the wait is over by this call. */
static bool
end_locked(struct waiter *w, enum wait_end end)
{
	assert(mutex_is_mine(&w->table->lock));
	if (w->state == WAITER_PARKED) {
		leave_locked(w, end);
		w->is_done = true;
		return true;
	}
	if (w->state == WAITER_SERVING && !w->is_ending) {
		w->is_ending = true;
		w->end = end;
	}
	return false;
}

bool
waiting_end(struct waiter *w, enum wait_end end)
{
	mutex_lock(&w->table->lock);
	bool ended = end_locked(w, end) && !w->is_told;
	mutex_unlock(&w->table->lock);
	return ended;
}

bool
waiting_news(struct waiter *w, uint64_t *ret_wake_ns)
{
	mutex_lock(&w->table->lock);
	assert(w->is_told);
	w->is_told = false;
	bool is_done = w->is_done;
	*ret_wake_ns = w->wake_ns;
	mutex_unlock(&w->table->lock);
	return is_done;
}

const struct command *
waiting_unserved(const struct waiter *w, size_t *ret_argc, const struct bytes **ret_argv)
{
	assert(w->state == WAITER_OVER);
	if (w->end != WAIT_TIMED_OUT && w->end != WAIT_UNBLOCKED)
		return NULL;
	*ret_argc = w->argc;
	*ret_argv = w->argv;
	return w->command;
}

void
waiting_reply(struct waiter *w, struct resp_writer *reply, uint64_t *ret_release)
{
	assert(w->state == WAITER_OVER);
	switch (w->end) {
	case WAIT_SERVED:
		if (w->reply.failed)
			reply->failed = true;
		else
			resp_raw(reply, w->reply.data, w->reply.size);
		*ret_release = w->release;
		w->client->reply_streams = w->streams;
		w->streams = NULL;
		break;
	case WAIT_TIMED_OUT:
		resp_null_array(reply);
		break;
	case WAIT_UNBLOCKED:
		resp_error(reply, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
		break;
	case WAIT_DEMOTED:
		resp_error(reply,
			   "UNBLOCKED force unblock from blocking operation, instance state changed "
			   "(master -> replica?)");
		w->client->close_after_reply = true;
		break;
	case WAIT_CLOSED:
		break;
	}
}

/* ---- commits ---- */

void
waiting_mark(struct waiting_table *t, struct touched_key *first)
{
	if (waiting_is_empty(t))
		return;
	mutex_lock(&t->lock); /* once: there may be many keys (I17) */
	for (struct touched_key *k = first; k != NULL; k = k->next)
		k->has_waiters = k->whole_database ||
			(!k->serves_nobody && has_locked(t, k->db, k->key, WAIT_ANY_TYPE));
	mutex_unlock(&t->lock);
}

/* ---- serving ---- */

static bool
is_skipped(const struct waiter *w, const struct wait_skip *skip)
{
	return (skip->types & 1U << w->type) != 0 || (w->type == VALUE_STREAM && w->number <= skip->reader);
}

void
waiting_skip(const struct wait_call *call, struct wait_skip *skip)
{
	if (call->type == VALUE_STREAM)
		skip->reader = call->number;
	else
		skip->types |= 1U << call->type;
}

void
waiting_skip_gone(struct wait_skip *skip)
{
	skip->types |= ~(1U << VALUE_STREAM);
}

struct waiter *
waiting_take(struct waiting_table *t, unsigned db, struct bytes key, const struct wait_skip *skip)
{
	uint64_t hash = hash_of(db, key);
	struct waiter *found = NULL;
	if (waiting_is_empty(t))
		return NULL;
	mutex_lock(&t->lock);
	bool has_more = has_other_types(bucket_of(t, hash), skip->types);
	for (struct place *p = NULL; has_more && (p = next_place(t, db, hash, key, p)) != NULL;) {
		struct waiter *w = p->waiter;
		if (is_skipped(w, skip))
			continue;
		if (w->state == WAITER_PARKED) {
			assert(!w->is_ending);
			w->state = WAITER_SERVING;
			w->again = false;
			found = w;
		} else {
			w->again = true;
		}
		break;
	}
	mutex_unlock(&t->lock);
	return found;
}

void
waiting_call(struct waiter *w, struct wait_call *ret)
{
	assert(w->state == WAITER_SERVING);
	resp_truncate(&w->reply, 0);
	*ret = (struct wait_call){.client = w->client,
				  .command = w->command,
				  .argc = w->argc,
				  .argv = w->argv,
				  .db = w->db,
				  .type = w->type,
				  .number = w->number,
				  .reply = &w->reply,
				  .participant = &w->serving};
}

static struct waiter *
of_serving(struct commit_participant *p)
{
	return list_entry(p, struct waiter, serving);
}

static bool
may_serve(struct commit_participant *p)
{
	struct waiter *w = of_serving(p);
	mutex_lock(&w->table->lock);
	bool may = !w->is_ending;
	mutex_unlock(&w->table->lock);
	return may;
}

/* From here on its reactor finds it over; the message is posted by waiting_served. */
static void
end_served(struct commit_participant *p, uint64_t timestamp)
{
	(void)timestamp;
	struct waiter *w = of_serving(p);
	/* Before the feed has what this commit tells, which comes behind the reply. Release: partner of replies_push. */
	__atomic_store_n(&w->client->is_served, true, __ATOMIC_RELEASE);
	mutex_lock(&w->table->lock);
	leave_locked(w, WAIT_SERVED);
	mutex_unlock(&w->table->lock);
}

/* Others found it being served, and left the keys that they had touched to the thread that did. */
static void
hand_on_locked(struct waiter *w, const struct wait_again *again)
{
	assert(mutex_is_mine(&w->table->lock));
	for (size_t i = 0; w->again && i < w->place_count; i++)
		again->key(again->arg, w->db, w->places[i].key);
	w->again = false;
}

void
waiting_served(struct waiter *w, struct output_stream *streams, uint64_t release,
	       const struct wait_again *again)
{
	struct waiting_table *t = w->table;
	struct client *client = w->client;
	w->streams = streams;
	w->release = release;
	mutex_lock(&t->lock);
	assert(w->state == WAITER_SERVING || (w->state == WAITER_OVER && w->end == WAIT_SERVED));
	if (w->state == WAITER_SERVING) /* its command failed without a commit: that is its answer */
		leave_locked(w, WAIT_SERVED);
	hand_on_locked(w, again);
	w->is_done = true;
	bool tells = tell_locked(w);
	mutex_unlock(&t->lock);
	if (tells)
		t->news(client);
}

void
waiting_give_back(struct waiter *w, uint64_t wake_ns, const struct wait_again *again)
{
	struct waiting_table *t = w->table;
	struct client *client = w->client;
	bool has_news;
	mutex_lock(&t->lock);
	assert(w->state == WAITER_SERVING);
	hand_on_locked(w, again);
	if (w->is_ending) {
		leave_locked(w, w->end);
		w->is_done = has_news = true;
	} else {
		w->state = WAITER_PARKED;
		/* Of other keys of the waiter this run knows nothing: the earlier moment stays. */
		has_news = wake_ns != 0 && (w->wake_ns == 0 || wake_ns < w->wake_ns);
		if (has_news)
			w->wake_ns = wake_ns;
	}
	bool tells = has_news && tell_locked(w);
	mutex_unlock(&t->lock);
	if (tells)
		t->news(client);
}

/* Others that wait for this key alone, and are to be woken by then, are served with it. */
static void
wake_place_locked(struct place *p, uint64_t wake_ns)
{
	assert(mutex_is_mine(&p->waiter->table->lock));
	struct waiter *w = p->waiter;
	for (struct place *q = NULL; (q = next_place(w->table, w->db, p->hash, p->key, q)) != NULL;)
		if (q->waiter->place_count == 1 && q->waiter->wake_ns <= wake_ns)
			q->waiter->wake_ns = 0;
}

void
waiting_wake(struct waiter *w, uint64_t wake_ns, const struct wait_again *again)
{
	mutex_lock(&w->table->lock);
	assert(w->state != WAITER_PREPARED);
	bool is_due = w->state != WAITER_OVER && w->wake_ns != 0 && w->wake_ns <= wake_ns;
	for (size_t i = 0; is_due && i < w->place_count; i++) {
		again->key(again->arg, w->db, w->places[i].key);
		wake_place_locked(&w->places[i], wake_ns);
	}
	if (is_due)
		w->wake_ns = 0;
	mutex_unlock(&w->table->lock);
}

/* ---- others ---- */

bool
waiting_unblock(struct waiting_table *t, uint64_t client_id, enum wait_end end)
{
	struct waiter *found = NULL;
	struct client *told = NULL;
	mutex_lock(&t->lock);
	for (struct list_link *link = t->all.next; link != &t->all && found == NULL; link = link->next) {
		struct waiter *w = list_entry(link, struct waiter, all_link);
		if (w->client->id == client_id)
			found = w;
	}
	if (found != NULL && end_locked(found, end) && tell_locked(found))
		told = found->client;
	mutex_unlock(&t->lock);
	if (told != NULL)
		t->news(told);
	return found != NULL;
}

/* Whom to tell; NULL: all are over, or about to be. */
static struct client *
end_first(struct waiting_table *t, enum wait_end end)
{
	struct client *told = NULL;
	mutex_lock(&t->lock);
	for (struct list_link *link = t->all.next, *next; link != &t->all && told == NULL; link = next) {
		next = link->next;
		struct waiter *w = list_entry(link, struct waiter, all_link);
		if (end_locked(w, end) && tell_locked(w))
			told = w->client;
	}
	mutex_unlock(&t->lock);
	return told;
}

void
waiting_end_all(struct waiting_table *t, enum wait_end end)
{
	for (struct client *told; (told = end_first(t, end)) != NULL;)
		t->news(told);
}

void
waiting_each_key(struct waiting_table *t, unsigned db, const struct wait_again *again)
{
	mutex_lock(&t->lock);
	for (struct list_link *link = t->all.next; link != &t->all; link = link->next) {
		struct waiter *w = list_entry(link, struct waiter, all_link);
		for (size_t i = 0; w->db == db && i < w->place_count; i++) {
			struct place *p = &w->places[i];
			/* Of many that wait for one key the first stands for all. */
			if (next_place(t, db, p->hash, p->key, NULL) == p)
				again->key(again->arg, db, p->key);
		}
	}
	mutex_unlock(&t->lock);
}

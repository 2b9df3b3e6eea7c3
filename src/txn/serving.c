/* Serving clients that wait for keys (txn/waiting.h): after a commit, before the committing connection's next command.
 *
 * A waiter's command runs again, looking at the one key that was touched. It takes something, or answers an error, and its
 * client is woken; or it finds nothing, and stays where it was. Its commit may touch keys that others wait for (BLMOVE):
 * those are served in turn.
 *
 * What must wait for the disk is served in the pool. The waiters keep their order; the commit's connection does not wait
 * for it. */
#include <assert.h>

#include "net/output.h"
#include "storage/base/sync_point.h"
#include "txn/runner_private.h"
#include "txn/waiting.h"

enum { SERVED_AT_ONCE = 1000 /* on a reactor; the pool serves the rest */ };

/* A key that was touched, and that somebody waited for at that moment. */
struct ready_key {
	struct ready_key *next;
	unsigned db;
	size_t size;
	uint8_t name[];
};

/* The waiters of one key being served, and what has become of it since the last of them was taken. */
struct serving_pass {
	const struct ready_key *key;
	struct wait_skip skip;
	bool is_touched, is_gone;
};

static bool
is_served_now(const struct runner_thread *t, unsigned db, struct bytes key)
{
	const struct serving_pass *p = t->pass;
	return p != NULL && p->key->db == db && bytes_equal(bytes_of(p->key->name, p->key->size), key);
}

/* Behind those that are there: first come, first served. */
static void
add_key(struct runner_thread *t, unsigned db, struct bytes key)
{
	struct ready_key *k = malloc(sizeof(*k) + key.size);
	if (k == NULL) {
		log_sink_printf(&t->server->sink, LOG_LEVEL_WARNING,
				"Out of memory: a blocked client is not served");
		return;
	}
	*k = (struct ready_key){.db = db, .size = key.size};
	if (key.size > 0)
		memcpy(k->name, key.data, key.size);
	if (t->ready == NULL)
		t->ready = k;
	else
		t->last_ready->next = k;
	t->last_ready = k;
}

/* The key was touched. If its waiters are being served, their pass begins anew. */
static void
note_key(struct runner_thread *t, unsigned db, struct bytes key, bool is_gone)
{
	if (!is_served_now(t, db, key)) {
		add_key(t, db, key);
		return;
	}
	t->pass->is_touched = true;
	t->pass->is_gone = is_gone;
}

static void
note_again(void *arg, unsigned db, struct bytes key)
{
	note_key(arg, db, key, false);
}

static struct wait_again
again_by(struct runner_thread *t)
{
	return (struct wait_again){.key = note_again, .arg = t};
}

void
serving_note(struct runner_thread *t, const struct keyspace_view *view)
{
	struct wait_again again = again_by(t);
	for (const struct touched_key *k = view->first_touched; k != NULL; k = k->next) {
		if (!k->has_waiters)
			continue;
		if (k->whole_database)
			waiting_each_key(t->server->waiting, k->db, &again);
		else
			note_key(t, k->db, k->key, k->is_gone);
	}
}

void
serving_note_entered(struct runner_thread *t, const struct client *client)
{
	struct wait_again again = again_by(t);
	waiting_entered(client->waiter, &again);
}

/* ---- one waiter ---- */

static enum request_result
serve(struct runner_thread *t, struct waiter *w, struct serving_pass *pass)
{
	struct wait_call call;
	uint64_t release = 0;
	waiting_call(w, &call);
	resp_writer_init(call.reply, call.client->protocol);
	struct command_context c = {.server = t->server,
				    .client = call.client,
				    .command = call.command,
				    .argc = call.argc,
				    .argv = call.argv,
				    .reply = call.reply,
				    .db = call.db,
				    .protocol = call.client->protocol,
				    .reply_flags = call.client->reply_flags,
				    .may_wait = t->may_wait,
				    .in_long_lane = t->may_wait,
				    .arena = &t->arena,
				    .served = &call,
				    .served_key = bytes_of(pass->key->name, pass->key->size)};
	t->present = (struct foreseen){0};
	t->time_ns = 0;
	t->paced = true;   /* what it takes away frees space */
	t->overdue = true; /* who has pushed does not wait for turns */
	pass->is_touched = pass->is_gone = false;
	SYNC_POINT("serve: begins");
	enum request_result result = runner_run(t, &c, &release);
	struct wait_again again = again_by(t);
	if (result == REQUEST_DONE)
		waiting_served(w, output_streams_reverse(c.streams), release, &again);
	else
		waiting_give_back(w, c.wake_ns, &again);
	if (result == REQUEST_BLOCKED)
		waiting_skip(&call, &pass->skip);
	if (pass->is_touched)
		pass->skip = (struct wait_skip){0};
	if (pass->is_gone)
		waiting_skip_gone(&pass->skip);
	return result;
}

/* False: the rest is for the pool. */
static bool
serve_key(struct runner_thread *t, const struct ready_key *k, unsigned *budget)
{
	struct bytes name = bytes_of(k->name, k->size);
	struct serving_pass pass = {.key = k};
	bool all = true;
	struct waiter *w;
	t->pass = &pass;
	while (all && (w = waiting_take(t->server->waiting, k->db, name, &pass.skip)) != NULL) {
		enum request_result result = serve(t, w, &pass);
		all = (result == REQUEST_BLOCKED || result == REQUEST_DONE) && (t->may_wait || --*budget > 0);
	}
	t->pass = NULL;
	return all;
}

static void serve_in_pool(void *arg, void *thread);

static void
leave_to_pool(struct runner_thread *t)
{
	struct ready_key *keys = t->ready;
	assert(!t->may_wait);
	t->ready = NULL;
	if (keys == NULL || net_run_in_pool(t->server->net, serve_in_pool, keys) == SETT_OK)
		return;
	log_sink_printf(&t->server->sink, LOG_LEVEL_WARNING, "Out of memory: blocked clients are not served");
	serving_forget(keys);
}

void
serving_forget(struct ready_key *keys)
{
	while (keys != NULL) {
		struct ready_key *next = keys->next;
		free(keys);
		keys = next;
	}
}

void
serving_run(struct runner_thread *t)
{
	unsigned budget = SERVED_AT_ONCE;
	struct ready_key *k;
	while ((k = t->ready) != NULL) {
		t->ready = k->next;
		if (!serve_key(t, k, &budget)) {
			k->next = t->ready;
			t->ready = k;
			leave_to_pool(t);
			return;
		}
		free(k);
	}
}

void
serving_wake(struct runner_thread *t, struct client *client)
{
	enum { PAUSE_NS = 50000000 };
	struct wait_again again = again_by(t);
	assert(client->ack_wait == NULL); /* such a wait has no moment at which it is woken */
	if (runner_is_pausing(t->server, clock_wall_ms(t->server->clock))) {
		client->wait_wake_ns = clock_monotonic_ns(t->server->clock) + PAUSE_NS;
		return;
	}
	waiting_wake(client->waiter, client->wait_wake_ns, &again);
	client->wait_wake_ns = 0;
	serving_run(t);
}

void
runner_serve_waiters(struct server *server, const struct keyspace_view *view)
{
	struct runner_thread t = {.server = server}; /* only to gather the keys */
	if (waiting_is_empty(server->waiting))
		return;
	serving_note(&t, view);
	leave_to_pool(&t);
}

static void
serve_in_pool(void *arg, void *thread)
{
	struct runner_thread *t = thread;
	assert(t->ready == NULL && t->may_wait);
	t->ready = t->last_ready = arg;
	while (t->last_ready->next != NULL)
		t->last_ready = t->last_ready->next;
	serving_run(t);
	runner_shrink(t);
}

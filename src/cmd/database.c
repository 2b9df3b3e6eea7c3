/* Whole databases, and moving a key between two. */
#include "cmd/commands.h"
#include "cmd/lookup.h"
#include "config/config.h"
#include "moving/saver.h"
#include "txn/interest.h"
#include "txn/propagation.h"
#include "types/type.h"

int
command_dbsize(struct command_context *c)
{
	int64_t keys, expires;
	int status = sett_txn_is_as_of(c->view.txn) ? context_enter_long_lane(c) : SETT_OK;
	if (status == SETT_OK)
		status = keyspace_count(&c->view, c->db, &keys, &expires);
	if (status == SETT_OK)
		resp_integer(c->reply, keys);
	return status;
}

/* [ASYNC | SYNC], which make no difference here: dropping is O(1). */
static bool
flush_arguments_are_right(struct command_context *c)
{
	if (c->argc == 1 ||
	    (c->argc == 2 && (argument_is(c->argv[1], "ASYNC") || argument_is(c->argv[1], "SYNC"))))
		return true;
	context_syntax_error(c);
	return false;
}

int
command_flushdb(struct command_context *c)
{
	if (!flush_arguments_are_right(c))
		return OUTCOME_FAILED;
	resp_status(c->reply, "OK");
	int status = keyspace_flush(&c->view, c->db);
	return status == SETT_OK ? propagate_as_given(c) : status;
}

/* As in Redis: what it would hold is gone. */
static void
give_up_save(struct server *server, struct client *client, void *data)
{
	saver_give_up(server->saver);
}

/* As in Redis, where there are save points: the file is empty, too, before the reply. If it can't be written, the keys are
 * gone all the same, and the points ask for it again. */
static void
save_at_once(struct server *server, struct client *client, void *data)
{
	struct sett_error error = {0};
	saver_end_background(server->saver);
	int status = saver_run(server->saver, 0, &client->gone, &error);
	if (status == SETT_LOCKED) /* SAVE writes an older moment */
		status = saver_start(server->saver, &error);
	if (status != SETT_OK)
		log_sink_printf(&server->sink, LOG_LEVEL_WARNING, "FLUSHALL has written no RDB file: %s",
				error.message);
}

int
command_flushall(struct command_context *c)
{
	if (!flush_arguments_are_right(c))
		return OUTCOME_FAILED;
	struct server *server = c->server;
	bool saves = server->saver != NULL && saver_has_points(server->saver) &&
		!loading_is_active(&server->loading);
	int status = saves ? context_enter_long_lane(c) : SETT_OK;
	if (status != SETT_OK)
		return status;
	resp_status(c->reply, "OK");
	const struct keyspace *keyspace = server->keyspace;
	unsigned db = keyspace_next_database(keyspace, 0);
	for (; db < keyspace_databases(keyspace) && status == SETT_OK;
	     db = keyspace_next_database(keyspace, db + 1))
		status = keyspace_flush(&c->view, db);
	if (status == SETT_OK && saves)
		status = context_defer(c, save_at_once, NULL);
	else if (status == SETT_OK && server->saver != NULL && saver_is_in_background(server->saver))
		status = context_defer(c, give_up_save, NULL);
	return status == SETT_OK ? propagate_as_given(c) : status;
}

static bool
database_number(struct command_context *c, struct bytes argument, const char *not_integer, unsigned *ret)
{
	int64_t value;
	if (!context_integer_range(c, argument, INT32_MIN, INT32_MAX, not_integer, &value))
		return false;
	if (value < 0 || value >= keyspace_databases(c->server->keyspace)) {
		context_error(c, "ERR DB index is out of range");
		return false;
	}
	*ret = (unsigned)value;
	return true;
}

int
command_move(struct command_context *c)
{
	unsigned to;
	struct key from, target;
	if (c->server->config->cluster_enabled)
		return context_error(c, "ERR MOVE is not allowed in cluster mode");
	if (!database_number(c, c->argv[2], "ERR value is not an integer or out of range", &to))
		return OUTCOME_FAILED;
	if (to == c->db)
		return context_error(c, "ERR source and destination objects are the same");
	int status = open_key(c, c->argv[1], &from);
	if (status == SETT_OK && from.exists)
		status = key_open(&c->view, to, c->argv[1], &target);
	if (status != SETT_OK)
		return status;
	bool go = from.exists && !target.exists;
	resp_integer(c->reply, go);
	if (!go)
		return SETT_OK;
	status = enter_lane_for_elements(c, &from.root);
	context_allow_builds(c);
	if (status == SETT_OK)
		status = type_copy(&from, &target);
	if (status == SETT_OK)
		status = key_delete(&from);
	if (status == SETT_OK)
		status = key_event(&from, EVENT_GENERIC, "move_from");
	return tell(status, &target, EVENT_GENERIC, "move_to");
}

/* Keys that someone watches, copied. */
struct watched_list {
	struct arena *arena;
	struct watched_item {
		struct watched_item *next;
		struct bytes key;
	} * first;
};

static int
keep_watched(void *arg, struct bytes key)
{
	struct watched_list *list = arg;
	struct watched_item *item = arena_allocate(list->arena, sizeof(*item), _Alignof(struct watched_item));
	const void *copy = arena_copy(list->arena, key.data, key.size);
	if (item == NULL || copy == NULL)
		return SETT_NO_MEMORY;
	*item = (struct watched_item){.next = list->first, .key = bytes_of(copy, key.size)};
	list->first = item;
	return 0;
}

/* Touches the watched keys of `db` that are there now or will be after the swap; the others stay absent, and
 * their watchers are not disturbed. */
static int
touch_watched(struct command_context *c, unsigned db, unsigned other)
{
	struct watched_list list = {.arena = c->arena};
	int status = interest_each_key(c->server->interest, db, keep_watched, &list);
	for (struct watched_item *i = list.first; i != NULL && status == SETT_OK; i = i->next) {
		struct key here, there;
		status = key_open(&c->view, db, i->key, &here);
		if (status == SETT_OK)
			status = key_open(&c->view, other, i->key, &there);
		if (status == SETT_OK && (here.exists || there.exists))
			status = keyspace_touch_key(&c->view, db, i->key);
	}
	return status;
}

static int
swap(struct command_context *c, unsigned a, unsigned b)
{
	uint64_t watches = interest_generation(c->server->interest);
	int status = touch_watched(c, a, b);
	if (status == SETT_OK)
		status = touch_watched(c, b, a);
	struct touched_key *last = c->view.last_touched;
	if (status == SETT_OK)
		status = keyspace_swap(&c->view, a, b);
	/* Who watches from now on is not among those told: then all are. */
	for (struct touched_key *t = last != NULL ? last->next : c->view.first_touched; t != NULL;
	     t = t->next)
		t->watches = watches;
	return status;
}

int
command_swapdb(struct command_context *c)
{
	unsigned a, b;
	int64_t ignored;
	if (c->server->config->cluster_enabled)
		return context_error(c, "ERR SWAPDB is not allowed in cluster mode");
	/* Both must be numbers before either is looked at. */
	if (!context_integer_range(c, c->argv[1], INT32_MIN, INT32_MAX, "ERR invalid first DB index",
				   &ignored) ||
	    !context_integer_range(c, c->argv[2], INT32_MIN, INT32_MAX, "ERR invalid second DB index",
				   &ignored) ||
	    !database_number(c, c->argv[1], NULL, &a) || !database_number(c, c->argv[2], NULL, &b))
		return OUTCOME_FAILED;
	resp_status(c->reply, "OK");
	int status = a == b ? SETT_OK : swap(c, a, b);
	if (status == SETT_OK)
		status = propagate_as_given(c);
	if (is_propagated(c))
		c->view.front = c->view.last_effect;
	return status;
}

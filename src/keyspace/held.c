/* See held.h. */
#include "keyspace/held.h"

void
keyspace_hold(struct keyspace_view *view, struct held_value *value)
{
	assert(view->held == NULL && view->shares);
	view->held = value;
	view->held_steps++;
}

bool
keyspace_holds(const struct keyspace_view *view, unsigned db, struct bytes name, enum value_type type)
{
	const struct held_value *held = view->held;
	return held != NULL && held->type == type && held->key->db == db &&
		bytes_equal(held->key->name, name);
}

struct held_value *
keyspace_held(struct keyspace_view *view, unsigned db, struct bytes name, enum value_type type)
{
	if (!keyspace_holds(view, db, name, type))
		return NULL;
	sett_txn_observe_own(view->txn);
	return view->held;
}

void
keyspace_let_go(struct keyspace_view *view)
{
	if (view->held == NULL)
		return;
	view->held = NULL;
	view->held_steps++;
}

int
keyspace_write_held(struct keyspace_view *view)
{
	struct held_value *held = view->held;
	keyspace_let_go(view);
	return held != NULL ? held->write(held) : SETT_OK;
}

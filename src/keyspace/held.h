/* Values that are changed in memory by one command of a batch after the other (I16), and written once.
 *
 * A transaction holds one at most. Whoever opens its key has it written first (key.c), and so does the batch before a command
 * that takes no part in this, and before the commit: so nobody reads what is not there yet. A savepoint knows nothing of what
 * is changed in memory. A rollback over changes of a held value, or over its write, therefore loses the transaction
 * (`held_is_lost`): its owner discards it, and runs its commands one by one, without a held value. */
#ifndef SETT_KEYSPACE_HELD_H
#define SETT_KEYSPACE_HELD_H

#include "keyspace/key.h"

struct held_value {
	struct key *key; /* of the commands; in the view's arena, as all that the value keeps */
	enum value_type type;
	int (*write)(struct held_value *);
};

/* From now on `held_steps` counts each change of the value before it is made. There is no other. */
void keyspace_hold(struct keyspace_view *, struct held_value *);
bool keyspace_holds(const struct keyspace_view *, unsigned db, struct bytes name, enum value_type);
/* The value of this type under the key, or NULL. The command goes by what others have left in it. */
struct held_value *keyspace_held(struct keyspace_view *, unsigned db, struct bytes name, enum value_type);
/* Lets go of the held value, if there is one: without a write; with one (SETT_NO_MEMORY, ...). */
void keyspace_let_go(struct keyspace_view *);
int keyspace_write_held(struct keyspace_view *);

#endif

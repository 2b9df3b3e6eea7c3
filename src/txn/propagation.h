/* What replicas are told of a command that ran (EFFECT_COMMAND): commands whose effect is the same wherever and whenever
 * they run.
 *
 * A command that changed keys is told of as it was given, unless it said something else while it ran: propagate_as (another
 * command in its place; called again, one more), propagate_nothing, propagate_as_given (though it changed nothing). What
 * it said is taken back if it fails. Commands that run others (EXEC, scripts) say nothing of themselves.
 *
 * Where nobody replicates each of these is one test. */
#ifndef SETT_TXN_PROPAGATION_H
#define SETT_TXN_PROPAGATION_H

#include "txn/command.h"

static inline bool
is_propagated(const struct command_context *c)
{
	return __builtin_expect(c->view.propagates, 0);
}

/* The command `name` with arguments (at least one): their texts last until the transaction ends, the array is copied. An argument of the
 * command's own that stands for a body (net/argument_body.h) stands for it here, too. SETT_NO_MEMORY. */
int propagate_as(struct command_context *, const char *name, const struct bytes *arguments, size_t count);
/* The same with the arguments one by one; nothing is made of them where nobody replicates. */
#define propagate(c, name, ...)                                                                              \
	(is_propagated(c) ? propagate_as((c), (name), (const struct bytes[]){__VA_ARGS__},                   \
					 sizeof((const struct bytes[]){__VA_ARGS__}) / sizeof(struct bytes)) \
			  : SETT_OK)
/* SETT_NO_MEMORY. */
int propagate_as_given(struct command_context *);
static inline void
propagate_nothing(struct command_context *c)
{
	c->has_propagated = true;
}
/* A number as an argument: its text, in the arena; no text if memory is short, which propagate_as finds. */
struct bytes propagated_integer(struct command_context *, int64_t);
struct bytes propagated_unsigned(struct command_context *, uint64_t);

/* Arguments that are gathered while a command runs. All zero: none. */
struct propagated {
	struct bytes *arguments; /* in the arena, as their texts are */
	size_t count, capacity;
};
/* Adds a copy, if anybody replicates. SETT_NO_MEMORY. */
int propagated_add(struct command_context *, struct propagated *, struct bytes argument);

/* ---- for execution.c ---- */

/* Before the context's own call: whether it may run here. A large value is read while it is told to replicas, so that
 * such a command runs on a thread that may wait: SETT_WOULD_BLOCK elsewhere. */
int propagation_begin(struct command_context *);
/* After it, if it answered without an error: `last` was touched last before it. SETT_NO_MEMORY. */
int propagation_end(struct command_context *, const struct touched_key *last);

#endif

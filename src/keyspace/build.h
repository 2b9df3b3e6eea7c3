/* Elements of new collections, however many: written in several commits under a *pending* object id (I22), which the
 * transaction that writes the root publishes. So no commit is large, and what is half built is seen by nobody, not even
 * by the transaction itself until it is over.
 *
 *     build_begin(view, epoch, &object, &elements);
 *     ... for each element: writes through `elements`, no iterator of it open (or see build_before_commit) ...
 *         build_step(elements, size);
 *     build_finish(view, elements);
 *     key_put(&key, ...object...);
 *
 * The commits of the elements do not wait for that of the root and conflict with nothing. Every other end of the
 * transaction drops the id: the view's owner calls build_close_all; after a kill, the next start does.
 *
 * Where the view does not allow it (keyspace_view.may_build), `elements` is the view itself and all is part of its
 * transaction: so the caller writes the same code for both. */
#ifndef SETT_KEYSPACE_BUILD_H
#define SETT_KEYSPACE_BUILD_H

#include "keyspace/keyspace.h"

/* Takes an object id. `ret_elements` is valid until build_close_all. Statuses of transactions and commits. */
int build_begin(struct keyspace_view *, uint64_t epoch, uint64_t *ret_object,
		struct keyspace_view **ret_elements);
/* Called before each commit of the build: `run` closes the iterators of `elements` and writes what is still to be written.
 * One at a time; none if `elements` is the view itself. */
void build_before_commit(struct keyspace_view *elements, int (*run)(void *arg), void *arg);
/* An element of about `size` bytes was written. May commit: what was read through `elements` is gone, but its writes can
 * be read. SETT_CONFLICT: the id was dropped, with its database; run again. */
int build_step(struct keyspace_view *elements, uint64_t size);
/* All elements are written: the transaction of the view publishes them. */
int build_finish(struct keyspace_view *, struct keyspace_view *elements);
/* The view's transaction is over: gives back the memory, and the ids that it has not published. */
void build_close_all(struct keyspace_view *);

#endif

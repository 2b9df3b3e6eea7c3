/* INFO: the server's figures as text, in sections. */
#ifndef SETT_INFO_INFO_H
#define SETT_INFO_INFO_H

#include "keyspace/keyspace.h"
#include "txn/commit.h"

/* Appends the sections that the words name (whatever their case; "all", "everything", "default"; none means
 * the default ones), in the table's order, each once. Unknown words are ignored. `view` is for the counts of
 * keys, which join its read set; `first` takes part in its commit (NULL: nobody). SETT_OK, SETT_NO_MEMORY, or what reading the counts said. */
int info_write(struct server *, struct keyspace_view *view, const struct commit_participant *first,
	       const struct bytes *words, size_t count, struct buffer *ret);
/* "1.50M" as Redis writes it. */
void info_human_size(uint64_t bytes, char *ret, size_t size);

#endif

/* What info.c and the sections that are lists (lists.c) share. Internal to info/. */
#ifndef SETT_INFO_SECTIONS_H
#define SETT_INFO_SECTIONS_H

#include "info/facts.h"
#include "keyspace/keyspace.h"

struct output {
	struct buffer *buffer;
	int status; /* the first failure; later writes do nothing */
};

void info_print(struct output *, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Sections of a line for each command, error code or database. `view` may be NULL: then there is none to read
 * databases through. SETT_NO_MEMORY, or what the keyspace answers. */
int info_write_commands(const struct info_facts *, struct keyspace_view *, struct output *);
int info_write_errors(const struct info_facts *, struct keyspace_view *, struct output *);
int info_write_latencies(const struct info_facts *, struct keyspace_view *, struct output *);
int info_write_replication(const struct info_facts *, struct keyspace_view *, struct output *);
int info_write_databases(const struct info_facts *, struct keyspace_view *, struct output *);

#endif

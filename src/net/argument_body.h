/* Large values among a request's arguments: not in memory, but in the value log already, before the command
 * runs. In argv stand their first bytes alone. */
#ifndef SETT_NET_ARGUMENT_BODY_H
#define SETT_NET_ARGUMENT_BODY_H

#include <stddef.h>
#include <stdint.h>

struct sett_body_writer; /* storage/engine.h */

enum {
	ARGUMENT_BODY_MIN = 1024 * 1024, /* smaller arguments stay in memory */
	ARGUMENT_BODY_SHOWN = 128,       /* bytes in argv: what the slow log shows */
};

struct argument_body {
	struct argument_body *next;
	size_t index; /* in argv */
	uint64_t size;
	int status;                    /* SETT_OK, or why it was not stored; SETT_INVALID: as it was asked */
	struct sett_body_writer *body; /* finished; owned; NULL if it could not be stored */
};

/* The body that stands for argv[index]; NULL if that is there itself. */
static inline const struct argument_body *
argument_body_find(const struct argument_body *first, size_t index)
{
	while (first != NULL && first->index != index)
		first = first->next;
	return first;
}
/* Frees it and those that follow it, without waiting for the disk on a reactor. NULL is fine. */
void argument_bodies_free(struct argument_body *);

#endif

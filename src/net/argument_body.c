/* Large arguments: see argument_body.h. */
#include "net/argument_body.h"

#include <stdlib.h>

#include "storage/engine.h"

void
argument_bodies_free(struct argument_body *first)
{
	while (first != NULL) {
		struct argument_body *next = first->next;
		sett_body_writer_close(first->body);
		free(first);
		first = next;
	}
}

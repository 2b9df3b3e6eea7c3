/* Parts of a description that others make use of. */
#ifndef SETT_INSPECT_DESCRIBE_H
#define SETT_INSPECT_DESCRIBE_H

#include "storage/inspect.h"
#include "table.h"

/* Copies what the properties say. SETT_NO_MEMORY; to be freed either way. */
int table_describe(const struct table_properties *, struct sett_table_description *);
void table_description_free(struct sett_table_description *);

#endif

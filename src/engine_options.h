/* What the configuration says of the engine. */
#ifndef SETT_ENGINE_OPTIONS_H
#define SETT_ENGINE_OPTIONS_H

#include "config/config.h"
#include "storage/archive.h"
#include "storage/engine.h"

/* Sets those of the options that directives give. */
void engine_options_of(const struct config *, struct sett_options *);
enum sett_sync_policy engine_sync_policy(const struct config *);
/* False: nothing is to be archived. `path` is what the options' directory is put into. */
bool engine_archive_options(const struct config *, char path[SETT_PATH_MAX], struct sett_archive_options *);

#endif

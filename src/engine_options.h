/* What the configuration says of the engine. */
#ifndef SETT_ENGINE_OPTIONS_H
#define SETT_ENGINE_OPTIONS_H

#include "config/config.h"
#include "storage/engine.h"

/* Sets those of the options that directives give. */
void engine_options_of(const struct config *, struct sett_options *);
enum sett_sync_policy engine_sync_policy(const struct config *);

#endif

/* The service manager that started the server: systemd (Type=notify) or Upstart (expect stop). Both learn
 * from the server when it is ready; systemd also what it is doing and that it is about to end. */
#ifndef SETT_SUPERVISOR_H
#define SETT_SUPERVISOR_H

#include <stdint.h>

#include "config/config.h"
#include "storage/base/log_sink.h"

struct supervisor {
	enum config_supervised mode; /* never AUTO: what was found, NO if nothing answered */
	struct log_sink sink;
};

/* Looks for the manager that the directive `supervised` names, or for any with `auto`, and reports that the
 * server is loading. Before the process would go to the background: a supervised one stays. */
void supervisor_find(struct supervisor *, const struct config *, struct log_sink);
/* "no", "systemd" or "upstart", for INFO. */
const char *supervisor_name(const struct supervisor *);
/* Keeps a long recovery, check or import (`what`, for people) from running into the manager's time limit. Call at least every ten
 * seconds. */
void supervisor_progress(const struct supervisor *, const char *what, uint64_t done, uint64_t total);
/* The server accepts connections. Upstart: stops the process until the manager continues it. */
void supervisor_ready(const struct supervisor *);
void supervisor_stopping(const struct supervisor *);

#endif

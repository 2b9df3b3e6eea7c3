/* How the file descriptors that the process may have are shared out: the server's own (listeners, loops, log,
 * manifest, what is opened for a moment), tables and value-log files, and clients, of whom there are as many as
 * maxclients asks for, or as the rest allows. */
#ifndef SETT_DESCRIPTORS_H
#define SETT_DESCRIPTORS_H

#include "config/config.h"

struct descriptors {
	uint64_t limit;   /* of the process */
	uint64_t kept;    /* the server's own */
	uint64_t files;   /* sett_options.open_files */
	uint64_t clients; /* maxclients, cut to what is left */
};

/* Shares `limit` out. False if it is too small; then `clients` is 0. */
bool descriptors_divide(uint64_t limit, uint64_t kept, uint64_t max_clients, struct descriptors *ret);
/* The smallest limit that is enough. */
uint64_t descriptors_least(uint64_t kept);

/* Before anything but the configuration is opened: raises the limit to what maxclients needs, as far as the
 * system allows, shares it out, and sets maxclients to what is left. Logs what was changed, as redis-server
 * words it; also where the limit is too small: then false. */
bool descriptors_share(struct config *, const struct log_sink *, struct descriptors *ret);
/* For config_guard on maxclients; `arg` is what descriptors_share filled. Raises the limit if it must. */
bool descriptors_allow_clients(void *arg, const struct config *planned, char *ret_reason, size_t size);

#endif

/* Which clients CLIENT LIST and CLIENT KILL mean: the options of Redis 7.0 and 7.4 (MAXAGE), and those of Valkey 8.1 and 9 (several
 * IDs, NAME, IDLE, FLAGS, DB, IP, and NOT- before most). A client is meant if all of them hold. */
#ifndef SETT_CMD_CLIENT_FILTER_H
#define SETT_CMD_CLIENT_FILTER_H

#include "net/client.h"
#include "txn/command.h"

enum client_type { CLIENT_NORMAL, CLIENT_REPLICA, CLIENT_PUBSUB, CLIENT_MASTER, CLIENT_TYPE_UNKNOWN };

struct client_filter {
	const struct client *self;
	bool skip_self;
	uint64_t now_ms;
	int64_t max_age, idle; /* seconds: at least so old, so long idle; 0: any */
	/* What is wanted, and what is not. */
	struct client_wanted {
		unsigned given; /* a bit for each of the options below */
		const uint64_t *ids;
		size_t id_count;
		enum client_type type;
		struct bytes address, local_address, ip, name, flags, user;
		unsigned db;
	} is, is_not;
};

/* Reads the options from argv[first] on into `filter`, which holds what counts where none is given. `bad_id` is the
 * error for an ID that is none. The texts stay the arguments'. SETT_OK, OUTCOME_FAILED, SETT_NO_MEMORY. */
int client_filter_parse(struct command_context *, size_t first, const char *bad_id,
			struct client_filter *filter);
/* Those at the address alone. */
void client_filter_by_address(struct command_context *, struct bytes address, struct client_filter *);
/* Under the registry's lock. */
bool client_filter_means(const struct client_filter *, const struct client *);

#endif

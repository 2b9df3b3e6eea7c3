/* See descriptors.h. */
#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "info/figure_history.h"
#include "metrics.h"
#include "net/net.h"
#include "storage/limits.h"

enum {
	FILES_LEAST = 8,      /* too few for many threads: they wait for each other's calls */
	FILES_RESERVED = 256, /* before clients: so many, or a quarter of the rest */
	FILES_MOST = 16384,
	/* The server log (a line each of several threads), /proc/self/statm, CONFIG REWRITE, a connection that
	 * is told of maxclients. */
	OPENED_FOR_A_MOMENT = 8,
	COUNTED = 1024, /* descriptors looked at for those that are open at the start */
};

uint64_t
descriptors_least(uint64_t kept)
{
	return kept + FILES_LEAST + 1;
}

bool
descriptors_divide(uint64_t limit, uint64_t kept, uint64_t max_clients, struct descriptors *ret)
{
	*ret = (struct descriptors){.limit = limit, .kept = kept};
	if (limit < descriptors_least(kept))
		return false;
	uint64_t rest = limit - kept, reserved = rest / 4;
	reserved = reserved < FILES_LEAST   ? FILES_LEAST
		: reserved > FILES_RESERVED ? FILES_RESERVED
					    : reserved;
	ret->clients = max_clients < rest - reserved ? max_clients : rest - reserved;
	ret->files = rest - ret->clients < FILES_MOST ? rest - ret->clients : FILES_MOST;
	return true;
}

/* Inherited ones included. */
static uint64_t
count_open(uint64_t limit)
{
	uint64_t count = 0;
	for (int fd = 0; fd < COUNTED && (uint64_t)fd < limit; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* The limit after trying to have `wanted`; `ret_error`: why it is not, 0 if it is. */
static uint64_t
raise_limit(uint64_t wanted, int *ret_error)
{
	struct rlimit limit;
	*ret_error = 0;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return wanted; /* nothing is known: go on as if it were enough */
	if (limit.rlim_cur >= wanted)
		return limit.rlim_cur;
	struct rlimit larger = {.rlim_cur = wanted,
				.rlim_max = limit.rlim_max > wanted ? limit.rlim_max : wanted};
	if (setrlimit(RLIMIT_NOFILE, &larger) == 0)
		return wanted;
	*ret_error = errno;
	/* Not allowed to raise the hard limit: up to it, then. */
	larger = (struct rlimit){.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
	if (limit.rlim_max < wanted && setrlimit(RLIMIT_NOFILE, &larger) == 0)
		return limit.rlim_max;
	return limit.rlim_cur;
}

static uint64_t
current_limit(void)
{
	struct rlimit limit;
	return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : COUNTED;
}

static void
log_reduction(const struct log_sink *sink, uint64_t requested, const struct descriptors *d, int why)
{
	uint64_t needed = d->kept + FILES_RESERVED + requested;
	log_sink_printf(sink, LOG_LEVEL_WARNING,
			"You requested maxclients of %" PRIu64 " requiring at least %" PRIu64
			" max file descriptors.",
			requested, needed);
	if (why != 0)
		log_sink_printf(sink, LOG_LEVEL_WARNING,
				"Server can't set maximum open files to %" PRIu64 " because of OS error: %s.",
				needed, strerror(why));
	log_sink_printf(sink, LOG_LEVEL_WARNING,
			"Current maximum open files is %" PRIu64 ". maxclients has been reduced to %" PRIu64
			" to compensate for low ulimit. If you need higher maxclients increase 'ulimit -n'.",
			d->limit, d->clients);
}

/* So that CONFIG GET and INFO say what is in force. */
static bool
set_max_clients(struct config *config, uint64_t value)
{
	char text[24];
	struct buffer error = {0};
	snprintf(text, sizeof(text), "%" PRIu64, value);
	struct bytes arguments[] = {BYTES_LITERAL("maxclients"), bytes_of_string(text)};
	int status = config_set(config, arguments, 2, &error);
	buffer_free(&error);
	return status == SETT_OK;
}

bool
descriptors_share(struct config *config, const struct log_sink *sink, struct descriptors *ret)
{
	uint64_t requested = (uint64_t)config->max_clients, before = current_limit();
	uint64_t kept = count_open(before) + net_descriptors(config) + metrics_descriptors(config) +
		FIGURE_HISTORY_DESCRIPTORS + SETT_KEPT_HANDLES + OPENED_FOR_A_MOMENT;
	int why;
	uint64_t limit = raise_limit(kept + FILES_MOST + requested, &why);
	if (limit > before)
		log_sink_printf(sink, LOG_LEVEL_NOTICE,
				"Increased maximum number of open files to %" PRIu64
				" (it was originally set to %" PRIu64 ").",
				limit, before);
	if (!descriptors_divide(limit, kept, requested, ret)) {
		log_sink_printf(
			sink, LOG_LEVEL_WARNING,
			"Your current 'ulimit -n' of %" PRIu64
			" is not enough for the server to start. Please increase your open file limit "
			"to at least %" PRIu64 ". Exiting.",
			limit, descriptors_least(kept));
		return false;
	}
	if (ret->clients == requested)
		return true;
	log_reduction(sink, requested, ret, why);
	return set_max_clients(config, ret->clients);
}

bool
descriptors_allow_clients(void *arg, const struct config *planned, char *ret_reason, size_t size)
{
	const struct descriptors *d = arg;
	uint64_t own = d->kept + d->files, wanted = own + (uint64_t)planned->max_clients;
	int why;
	uint64_t limit = raise_limit(wanted, &why);
	if (limit >= wanted)
		return true;
	snprintf(ret_reason, size,
		 "The operating system is not able to handle the specified number of clients, try with "
		 "%" PRIu64,
		 limit > own ? limit - own : 1);
	return false;
}

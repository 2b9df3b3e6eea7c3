/* See memory_keeper.h. */
#include "memory_keeper.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "info/facts.h"
#include "storage/base/stepper.h"

#define LOOK_NS 100000000ULL
#define NEAR_LOOK_NS 25000000ULL  /* where replies may take what is left in LOOK_NS */
#define CLOSE_LOOK_NS 10000000ULL /* while the bound is near */
#define NEAR_BYTES (32ULL << 20)
#define WARN_NS 60000000000ULL /* between two warnings */
#define SECOND_NS 1000000000ULL
enum {
	HIGH = 98, /* per cent of maxmemory, beyond which caches shrink */
	LOW = 92,  /* and below which they grow */
	MALLOC_ARENAS_ALL = 4096,
};

/* jemalloc's, if the server is linked with it. */
int mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size) __attribute__((weak));

struct memory_keeper {
	struct server *server;
	struct stepper stepper;
	uint64_t budget;
	uint64_t limit, limit_of; /* what maxmemory amounted to, when it was `limit_of` */
	uint64_t next_warning_ns, next_second_ns;
	uint64_t mapped;           /* of the engine, as of the last second */
	uint64_t sampled_resident; /* at the last sample of used_memory */
};

/* A quarter is for connections, transactions, background work, and the process itself. */
uint64_t
memory_keeper_share(uint64_t limit)
{
	return limit / 4 * 3;
}

uint64_t
memory_keeper_transaction(uint64_t limit)
{
	return limit / 4;
}

static uint64_t
least_budget(uint64_t limit)
{
	return limit / 16;
}

/* Down by all that is too much, as it comes off at once; up by an eighth of what is free, as what took it may
 * come back. In between nothing changes: caches are not filled and emptied in turn. */
uint64_t
memory_keeper_next(uint64_t limit, uint64_t resident, uint64_t budget)
{
	uint64_t most = memory_keeper_share(limit), least = least_budget(limit);
	uint64_t high = limit / 100 * HIGH, low = limit / 100 * LOW;
	if (resident > high)
		budget = budget > resident - high ? budget - (resident - high) : 0;
	else if (resident < low)
		budget += (low - resident) / 8;
	return budget < least ? least : budget > most ? most : budget;
}

/* What was freed is still resident until the allocator gives it back: "purge" all of it, "decay" what has been
 * free for some seconds. */
static void
give_back(const char *how)
{
	char name[32];
	if (mallctl == NULL)
		return;
	snprintf(name, sizeof(name), "arena.%d.%s", MALLOC_ARENAS_ALL, how);
	(void)mallctl(name, NULL, NULL, NULL, 0); /* as much as it can */
}

/* The allocator's figure costs it most of a millisecond: only where the resident size has changed, and once a
 * second, as freed pages may have been used again. The mapped part costs a walk over page tables and changes
 * slowly. */
static void
sample(struct memory_keeper *keeper, uint64_t resident)
{
	uint64_t now = clock_monotonic_ns(keeper->server->clock);
	bool second = now >= keeper->next_second_ns;
	if (!second && resident == keeper->sampled_resident)
		return;
	if (second) {
		keeper->next_second_ns = now + SECOND_NS;
		keeper->mapped = sett_engine_mapped_bytes(keeper->server->engine);
		give_back("decay");
	}
	keeper->sampled_resident = resident;
	facts_note_used(keeper->server, facts_allocated_bytes() + keeper->mapped);
}

bool
memory_keeper_is_short(uint64_t limit, uint64_t resident, uint64_t budget)
{
	return resident > limit && budget <= least_budget(limit);
}

static void
warn(struct memory_keeper *keeper, uint64_t limit, uint64_t resident)
{
	uint64_t now = clock_monotonic_ns(keeper->server->clock);
	if (now < keeper->next_warning_ns)
		return;
	keeper->next_warning_ns = now + WARN_NS;
	log_sink_printf(
		&keeper->server->sink, LOG_LEVEL_WARNING,
		"%" PRIu64 " MB are resident, more than maxmemory (%" PRIu64
		" MB), although the caches were given up: connections, transactions or memtables take it",
		resident >> 20, limit >> 20);
}

static void
limit_transactions(struct server *server, uint64_t limit)
{
	uint64_t bytes = memory_keeper_transaction(limit);
	/* relaxed: the number stands for itself */
	__atomic_store_n(&server->transaction_memory, bytes, __ATOMIC_RELAXED);
	sett_engine_set_transaction_memory(server->engine, (size_t)bytes);
}

static uint64_t
find_limit(struct memory_keeper *keeper)
{
	const struct config *config = keeper->server->config;
	uint64_t set = __atomic_load_n(&config->max_memory, __ATOMIC_RELAXED);
	if (set != keeper->limit_of || keeper->limit == 0) {
		keeper->limit = config_effective_memory(config);
		keeper->limit_of = set;
		limit_transactions(keeper->server, keeper->limit);
	}
	return keeper->limit;
}

/* How long to sleep before the next look. */
static uint64_t
look(struct memory_keeper *keeper)
{
	uint64_t resident = facts_resident_bytes(), limit = find_limit(keeper);
	sample(keeper, resident);
	if (resident == 0)
		return LOOK_NS;
	uint64_t budget = memory_keeper_next(limit, resident, keeper->budget);
	/* Also where the budget is the same: each call lends anew what the block cache does not use. */
	sett_engine_set_memory_budget(keeper->server->engine, budget);
	__atomic_store_n(&keeper->server->memory_is_short, memory_keeper_is_short(limit, resident, budget),
			 __ATOMIC_RELAXED);
	if (resident > limit / 100 * HIGH)
		give_back("purge");
	if (resident > limit / 10 * 11 && budget == keeper->budget)
		warn(keeper, limit, resident);
	keeper->budget = budget;
	if (resident > limit / 100 * LOW)
		return CLOSE_LOOK_NS;
	return limit - resident < NEAR_BYTES ? NEAR_LOOK_NS : LOOK_NS;
}

static uint64_t
step(void *arg)
{
	return look(arg);
}

static void
destroy(struct memory_keeper *keeper)
{
	stepper_free(&keeper->stepper);
	free(keeper);
}

void
memory_keeper_limit_changed(void *server)
{
	struct server *s = server;
	uint64_t limit = __atomic_load_n(&s->config->max_memory, __ATOMIC_RELAXED);
	server_refuse(s, REFUSE_NO_MEMORY, limit != 0 && limit < MEMORY_KEEPER_LEAST);
}

int
memory_keeper_start(struct server *server, struct memory_keeper **ret)
{
	struct memory_keeper *keeper = calloc(1, sizeof(*keeper));
	if (keeper == NULL)
		return SETT_NO_MEMORY;
	keeper->server = server;
	keeper->budget = memory_keeper_share(config_effective_memory(server->config));
	limit_transactions(server, config_effective_memory(server->config));
	memory_keeper_limit_changed(server);
	stepper_init(&keeper->stepper, NULL, step, keeper);
	int status = stepper_start(&keeper->stepper, "memory");
	if (status != SETT_OK) {
		destroy(keeper);
		return status;
	}
	*ret = keeper;
	return SETT_OK;
}

void
memory_keeper_stop(struct memory_keeper *keeper)
{
	if (keeper == NULL)
		return;
	stepper_stop(&keeper->stepper);
	destroy(keeper);
}

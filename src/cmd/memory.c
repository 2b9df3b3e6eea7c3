/* MEMORY: how much memory the server uses, from the same figures as INFO (info/facts.h), and how much a key uses. */
#include "cmd/commands.h"
#include "cmd/help.h"
#include "cmd/lookup.h"

#include <inttypes.h>

#include "info/facts.h"
#include "types/type.h"

int
command_memory_usage(struct command_context *c)
{
	int64_t samples;
	for (size_t i = 3; i < c->argc; i += 2) {
		if (!argument_is(c->argv[i], "SAMPLES") || i + 1 == c->argc)
			return context_syntax_error(c);
		if (!context_integer(c, c->argv[i + 1], &samples))
			return OUTCOME_FAILED;
		if (samples < 0)
			return context_syntax_error(c);
	}
	struct key k;
	/* Not open_key: this read does not count as a hit or a miss. */
	int status = key_open(&c->view, c->db, c->argv[2], &k);
	if (status != SETT_OK)
		return status;
	if (!k.exists) {
		resp_null(c->reply);
		return SETT_OK;
	}
	uint64_t beside, size = sett_record_size(c->argv[2], &k.root.record) + k.root.object_bytes;
	status = type_size_beside(&k, &beside);
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)(size + beside));
	return status;
}

/* ---- MEMORY STATS ---- */

/* Appends pairs to a map that is still open, and counts them. */
struct pairs {
	struct resp_writer *reply;
	size_t count;
};

static void
pair_integer(struct pairs *pairs, const char *name, int64_t value)
{
	resp_bulk_string(pairs->reply, name);
	resp_integer(pairs->reply, value);
	pairs->count++;
}

static void
pair_double(struct pairs *pairs, const char *name, double value)
{
	resp_bulk_string(pairs->reply, name);
	resp_double(pairs->reply, value);
	pairs->count++;
}

static double
ratio(uint64_t part, uint64_t whole)
{
	return whole > 0 ? (double)part / (double)whole : 0;
}

static int64_t
difference(uint64_t a, uint64_t b)
{
	return (int64_t)(a - b);
}

/* No database has a table of its keys in memory: of each that has keys, Redis' fields are 0. */
static int
pair_databases(struct command_context *c, struct pairs *pairs, uint64_t *ret_keys)
{
	static const char *const fields[] = {"overhead.hashtable.main", "overhead.hashtable.expires",
					     "overhead.hashtable.slot-to-keys"};
	enum { FIELDS = sizeof fields / sizeof *fields };
	uint64_t all = 0;
	const struct keyspace *keyspace = c->server->keyspace;
	for (unsigned db = 0; (db = keyspace_next_database(keyspace, db)) < keyspace_databases(keyspace);
	     db++) {
		int64_t keys, expires;
		int status = keyspace_count(&c->view, db, &keys, &expires);
		if (status != SETT_OK)
			return status;
		if (keys == 0)
			continue;
		all += (uint64_t)keys;
		resp_bulk_format(pairs->reply, "db.%u", db);
		resp_map(pairs->reply, FIELDS);
		for (size_t i = 0; i < FIELDS; i++) {
			resp_bulk_string(pairs->reply, fields[i]);
			resp_integer(pairs->reply, 0);
		}
		pairs->count++;
	}
	*ret_keys = all;
	return SETT_OK;
}

static void
pair_allocator(struct pairs *pairs, const struct info_facts *facts)
{
	pair_integer(pairs, "allocator.allocated", (int64_t)facts->allocated);
	pair_integer(pairs, "allocator.active", (int64_t)facts->active);
	pair_integer(pairs, "allocator.resident", (int64_t)facts->resident);
	pair_double(pairs, "allocator-fragmentation.ratio", ratio(facts->active, facts->allocated));
	pair_integer(pairs, "allocator-fragmentation.bytes", difference(facts->active, facts->allocated));
	pair_double(pairs, "allocator-rss.ratio", ratio(facts->resident, facts->active));
	pair_integer(pairs, "allocator-rss.bytes", difference(facts->resident, facts->active));
	pair_double(pairs, "rss-overhead.ratio", ratio(facts->rss, facts->resident));
	pair_integer(pairs, "rss-overhead.bytes", difference(facts->rss, facts->resident));
	pair_double(pairs, "fragmentation", ratio(facts->rss, facts->used));
	pair_integer(pairs, "fragmentation.bytes", difference(facts->rss, facts->used));
}

int
command_memory_stats(struct command_context *c)
{
	struct info_facts facts;
	uint64_t keys;
	info_gather(c->server, &facts);
	uint64_t since_start = facts.used > facts.startup_memory ? facts.used - facts.startup_memory : 0;
	size_t token = resp_deferred_begin(c->reply);
	struct pairs pairs = {.reply = c->reply};
	pair_integer(&pairs, "peak.allocated", (int64_t)facts.used_peak);
	pair_integer(&pairs, "total.allocated", (int64_t)facts.used);
	pair_integer(&pairs, "startup.allocated", (int64_t)facts.startup_memory);
	/* What Sett has none of is 0. */
	pair_integer(&pairs, "replication.backlog", 0);
	pair_integer(&pairs, "clients.slaves", 0);
	pair_integer(&pairs, "clients.normal", (int64_t)facts.net.client_buffer_bytes);
	pair_integer(&pairs, "cluster.links", 0);
	pair_integer(&pairs, "aof.buffer", 0);
	pair_integer(&pairs, "lua.caches", 0);
	pair_integer(&pairs, "functions.caches", 0);
	int status = pair_databases(c, &pairs, &keys);
	if (status != SETT_OK)
		return status;
	pair_integer(&pairs, "overhead.total", (int64_t)facts.overhead);
	pair_integer(&pairs, "keys.count", (int64_t)keys);
	pair_integer(&pairs, "keys.bytes-per-key", keys > 0 ? (int64_t)(since_start / keys) : 0);
	pair_integer(&pairs, "dataset.bytes", (int64_t)facts.dataset);
	double percent = 100 * ratio(facts.dataset, since_start);
	pair_double(&pairs, "dataset.percentage", percent < 100 ? percent : 100);
	pair_double(&pairs, "peak.percentage", 100 * ratio(facts.used, facts.used_peak));
	pair_allocator(&pairs, &facts);
	resp_deferred_map_end(c->reply, token, pairs.count);
	return SETT_OK;
}

/* ---- MEMORY DOCTOR ---- */

static int
append_text(struct buffer *text, const char *line)
{
	return buffer_append(text, line, strlen(line));
}

/* Appends a line for everything that an operator may want to look at. */
static int
append_findings(struct buffer *text, const struct info_facts *facts)
{
	const uint64_t little = 10 << 20; /* bytes that are not worth a word */
	char line[512];
	int status = SETT_OK;
	if (facts->rss > facts->memory_budget) {
		snprintf(line, sizeof line,
			 "- Resident memory is %" PRIu64 " MiB, more than the %" PRIu64
			 " MiB of maxmemory. Many connections, large transactions and large arguments take "
			 "what caches "
			 "can't give up: look at CLIENT LIST, or raise maxmemory.\n",
			 facts->rss >> 20, facts->memory_budget >> 20);
		status = append_text(text, line);
	}
	if (status == SETT_OK && facts->used_peak > facts->used + little &&
	    ratio(facts->used_peak, facts->used) > 1.5) {
		snprintf(line, sizeof line,
			 "- At its peak the server used %" PRIu64 " MiB, now it uses %" PRIu64
			 " MiB. Memory that was freed goes back to the system by itself; MEMORY PURGE does "
			 "it at once.\n",
			 facts->used_peak >> 20, facts->used >> 20);
		status = append_text(text, line);
	}
	if (status == SETT_OK && facts->active > facts->allocated + little &&
	    ratio(facts->active, facts->allocated) > 1.4) {
		snprintf(line, sizeof line,
			 "- The allocator holds %" PRIu64 " MiB for %" PRIu64
			 " MiB in use: memory is fragmented.\n",
			 facts->active >> 20, facts->allocated >> 20);
		status = append_text(text, line);
	}
	if (status == SETT_OK && facts->net.client_buffer_bytes > little &&
	    facts->net.client_buffer_bytes > facts->used / 4) {
		snprintf(line, sizeof line,
			 "- Buffers of clients take %" PRIu64
			 " MiB. CLIENT LIST shows whose; client-output-buffer-limit bounds them.\n",
			 facts->net.client_buffer_bytes >> 20);
		status = append_text(text, line);
	}
	return status;
}

int
command_memory_doctor(struct command_context *c)
{
	struct info_facts facts;
	struct buffer text = {0};
	info_gather(c->server, &facts);
	int status = append_findings(&text, &facts);
	if (status == SETT_OK && text.size == 0)
		status = append_text(&text, "No problem was found with the memory of this server.\n");
	if (status == SETT_OK)
		resp_verbatim(c->reply, "txt", text.data, text.size);
	buffer_free(&text);
	return status;
}

/* ---- the allocator ---- */

static void
purge(struct server *server, struct client *client, void *data)
{
	facts_purge_allocator();
}

int
command_memory_purge(struct command_context *c)
{
	resp_status(c->reply, "OK");
	return context_defer(c, purge, NULL);
}

int
command_memory_malloc_stats(struct command_context *c)
{
	static const char none[] = "Stats not supported for the current allocator";
	struct buffer text = {0};
	int status = facts_allocator_report(&text);
	if (status == SETT_OK)
		resp_verbatim(c->reply, "txt", text.data, text.size);
	else if (status == SETT_INVALID)
		resp_verbatim(c->reply, "txt", none, sizeof none - 1);
	buffer_free(&text);
	return status == SETT_INVALID ? SETT_OK : status;
}

int
command_memory_help(struct command_context *c)
{
	static const char *const lines[] = {
		"DOCTOR",
		"    Return memory problems reports.",
		"MALLOC-STATS",
		"    Return internal statistics report from the memory allocator.",
		"PURGE",
		"    Attempt to purge dirty pages for reclamation by the allocator.",
		"STATS",
		"    Return information about the memory usage of the server.",
		"USAGE <key> [SAMPLES <count>]",
		"    Return memory in bytes used by <key> and its value. Nested values are",
		"    sampled up to <count> times (default: 5, 0 means sample all).",
		NULL,
	};
	return context_help(c, lines);
}

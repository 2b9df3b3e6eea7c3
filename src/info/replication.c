/* The section "replication" of INFO. */
#include <inttypes.h>

#include "info/sections.h"
#include "repl/replicas.h"

struct replica_lines {
	struct output *out;
	unsigned number;
};

static void
write_replica(void *arg, const struct replica_facts *replica)
{
	struct replica_lines *lines = arg;
	info_print(lines->out,
		   "slave%u:ip=%s,port=%" PRId64 ",state=%s,offset=%" PRIu64 ",lag=%" PRId64 "\r\n",
		   lines->number++, replica->ip, replica->port, replica_state_name(replica->state),
		   replica->acknowledged, replica->state == REPLICA_ONLINE ? replica->lag_seconds : 0);
}

static void
write_transfer(const struct follower_facts *f, struct output *out)
{
	const double per_cent = 100;
	/* As Redis shows a data set whose size is not known. */
	uint64_t total = f->total_bytes == UINT64_MAX ? 0 : f->total_bytes;
	info_print(out, "master_sync_total_bytes:%" PRIu64 "\r\n", total);
	info_print(out, "master_sync_read_bytes:%" PRIu64 "\r\n", f->read_bytes);
	info_print(out, "master_sync_left_bytes:%" PRId64 "\r\n", (int64_t)(total - f->read_bytes));
	info_print(out, "master_sync_perc:%.2f\r\n",
		   total > 0 ? per_cent * (double)f->read_bytes / (double)total : 0);
	info_print(out, "master_sync_last_io_seconds_ago:%" PRId64 "\r\n", f->idle_seconds);
}

/* What a replica says of its master and of itself. */
static void
write_link(const struct info_facts *facts, struct output *out)
{
	const struct config *config = facts->server->config;
	const struct follower_facts *f = &facts->follower;
	bool is_up = f->state == FOLLOWER_CONNECTED;
	info_print(out, "master_host:%s\r\n", f->host);
	info_print(out, "master_port:%u\r\n", f->port);
	info_print(out, "master_link_status:%s\r\n", is_up ? "up" : "down");
	info_print(out, "master_last_io_seconds_ago:%" PRId64 "\r\n", is_up ? f->idle_seconds : -1);
	info_print(out, "master_sync_in_progress:%d\r\n", f->state == FOLLOWER_SYNC);
	info_print(out, "slave_read_repl_offset:%" PRIu64 "\r\n", f->received_offset);
	info_print(out, "slave_repl_offset:%" PRIu64 "\r\n", f->offset);
	if (f->state == FOLLOWER_SYNC)
		write_transfer(f, out);
	if (!is_up)
		info_print(out, "master_link_down_since_seconds:%" PRId64 "\r\n", f->down_seconds);
	info_print(out, "slave_priority:%d\r\n",
		   __atomic_load_n(&config->replica_priority, __ATOMIC_RELAXED));
	info_print(out, "slave_read_only:%d\r\n",
		   __atomic_load_n(&config->replica_read_only, __ATOMIC_RELAXED));
	info_print(out, "replica_announced:%d\r\n",
		   __atomic_load_n(&config->replica_announced, __ATOMIC_RELAXED));
}

int
info_write_replication(const struct info_facts *facts, struct keyspace_view *view, struct output *out)
{
	struct replication *r = facts->server->replication;
	const struct replication_state *s = &facts->replication;
	const struct config *config = facts->server->config;
	struct replica_lines lines = {.out = out};
	(void)view;
	bool is_replica = facts->follower.state != FOLLOWER_NONE;
	info_print(out, "role:%s\r\n", is_replica ? "slave" : "master");
	if (is_replica)
		write_link(facts, out);
	info_print(out, "connected_slaves:%u\r\n", replicas_count(r));
	if (__atomic_load_n(&config->min_replicas_to_write, __ATOMIC_RELAXED) > 0 &&
	    __atomic_load_n(&config->min_replicas_max_lag, __ATOMIC_RELAXED) > 0)
		info_print(out, "min_slaves_good_slaves:%u\r\n", replicas_good(r));
	replicas_each(r, write_replica, &lines);
	info_print(out, "master_failover_state:%s\r\n", failover_stage_name(facts->follower.failover));
	info_print(out, "master_replid:%s\r\n", s->position.id);
	info_print(out, "master_replid2:%s\r\n", s->position.second_id);
	info_print(out, "master_repl_offset:%" PRIu64 "\r\n", s->position.offset);
	info_print(out, "second_repl_offset:%" PRId64 "\r\n", s->position.second_offset);
	info_print(out, "repl_backlog_active:%d\r\n", s->streams);
	info_print(out, "repl_backlog_size:%" PRId64 "\r\n",
		   __atomic_load_n(&config->repl_backlog_size, __ATOMIC_RELAXED));
	info_print(out, "repl_backlog_first_byte_offset:%" PRIu64 "\r\n", s->streams ? s->history_start : 0);
	info_print(out, "repl_backlog_histlen:%" PRIu64 "\r\n", s->history_size);
	return out->status;
}

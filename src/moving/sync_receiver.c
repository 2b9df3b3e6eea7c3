/* See sync_receiver.h. The file is read as a whole, so it is received first; it need not be durable, as a sync that is cut off
 * begins anew. */
#include "moving/sync_receiver.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "config/config.h"
#include "expire/expirer.h"
#include "keyspace/replacement.h"
#include "moving/import.h"

#define FILE_NAME "temp-sync.rdb"
enum { HEADER_SIZE = 256 };

static void
path_of(const struct server *server, char ret[PATH_MAX])
{
	snprintf(ret, PATH_MAX, "%s/" FILE_NAME, server->config->dir);
}

void
sync_receiver_clean(struct server *server)
{
	char path[PATH_MAX];
	path_of(server, path);
	struct sett_error error;
	int status = vfs_remove(vfs_posix(), path, &error);
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		log_sink_printf(&server->sink, LOG_LEVEL_WARNING, "%s", error.message);
}

/* ---- receiving ---- */

/* Finds a mark in bytes that come in pieces (Knuth, Morris, Pratt 1977). */
struct mark_search {
	const char *mark;
	uint8_t fallback[PAYLOAD_MARK_SIZE]; /* where to go on behind so many that matched */
	size_t matched;
};

static void
mark_search_init(struct mark_search *m, const char *mark)
{
	*m = (struct mark_search){.mark = mark};
	size_t k = 0;
	for (size_t i = 1; i < PAYLOAD_MARK_SIZE; i++) {
		while (k > 0 && mark[i] != mark[k])
			k = m->fallback[k - 1];
		k += mark[i] == mark[k];
		m->fallback[i] = (uint8_t)k;
	}
}

/* How many of the bytes come up to the end of the mark; all of them if it is not there yet. */
static size_t
mark_search_step(struct mark_search *m, struct bytes b)
{
	for (size_t i = 0; i < b.size; i++) {
		while (m->matched > 0 && b.data[i] != (uint8_t)m->mark[m->matched])
			m->matched = m->fallback[m->matched - 1];
		m->matched += b.data[i] == (uint8_t)m->mark[m->matched];
		if (m->matched == PAYLOAD_MARK_SIZE)
			return i + 1;
	}
	return b.size;
}

static int
check_space(struct sync_receiver *f, const struct payload_header *header, struct sett_error *error)
{
	uint64_t available;
	if (header->has_mark)
		return SETT_OK;
	int status = vfs_free_space(vfs_posix(), f->server->config->dir, &available, error);
	if (status == SETT_OK && available / 2 < header->size)
		status = sett_error_set(error, SETT_NO_SPACE, 0,
					"the data set has %" PRIu64
					" bytes, and must lie in %s twice while it is "
					"taken over: there are %" PRIu64,
					header->size, f->server->config->dir, available);
	return status;
}

static int
read_header(struct sync_receiver *f, struct payload_header *ret, struct sett_error *error)
{
	char line[HEADER_SIZE];
	int status = link_read_line(f->link, line, sizeof(line), f->timeout_ms, error);
	if (status != SETT_OK)
		return status;
	if (line[0] == '-')
		return sett_error_set(error, SETT_INVALID, 0, "MASTER aborted replication with an error: %s",
				      line + 1);
	if (!payload_header_read(line, ret))
		return sett_error_set(
			error, SETT_CORRUPT, 0,
			"Bad protocol from MASTER, the first byte is not '$' (we received '%s'), are "
			"you sure the host and port are right?",
			line);
	const struct log_sink *sink = &f->server->sink;
	if (ret->has_mark)
		log_sink_printf(
			sink, LOG_LEVEL_NOTICE,
			"MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF to disk");
	else
		log_sink_printf(sink, LOG_LEVEL_NOTICE,
				"MASTER <-> REPLICA sync: receiving %" PRIu64 " bytes from master to disk",
				ret->size);
	return check_space(f, ret, error);
}

/* Some bytes of the data set, as they have come. */
static int
next_piece(struct sync_receiver *f, struct bytes *ret, struct sett_error *error)
{
	int status = link_fill(f->link, f->timeout_ms, error);
	if (status == SETT_NOT_FOUND)
		status = sett_error_set(
			error, SETT_IO, 0,
			"Timeout receiving bulk data from MASTER... If the problem persists try "
			"to set the 'repl-timeout' parameter in redis.conf to a larger value.");
	*ret = link_received(f->link);
	return status;
}

static int
receive(struct sync_receiver *f, const struct payload_header *header, struct vfs_file *file,
	struct sett_error *error)
{
	struct mark_search search;
	uint64_t size = 0;
	bool is_over = !header->has_mark && header->size == 0;
	int status = SETT_OK;
	if (header->has_mark)
		mark_search_init(&search, header->mark);
	while (status == SETT_OK && !is_over) {
		struct bytes piece;
		status = next_piece(f, &piece, error);
		if (status != SETT_OK)
			break;
		if (header->has_mark)
			piece.size = mark_search_step(&search, piece);
		else if (piece.size > header->size - size)
			piece.size = header->size - size;
		status = vfs_write(file, &(struct iovec){(void *)(uintptr_t)piece.data, piece.size}, 1, size,
				   error);
		size += piece.size;
		link_take(f->link, piece.size);
		is_over = header->has_mark ? search.matched == PAYLOAD_MARK_SIZE : size == header->size;
		__atomic_store_n(&f->facts->read_bytes, size, __ATOMIC_RELAXED);
		f->on_bytes(f->arg);
	}
	if (status == SETT_OK && header->has_mark)
		status = vfs_truncate(file, size - PAYLOAD_MARK_SIZE, error);
	return status;
}

int
sync_receiver_receive(struct sync_receiver *f, struct sett_error *error)
{
	char path[PATH_MAX];
	struct payload_header header;
	struct vfs_file *file;
	__atomic_store_n(&f->facts->read_bytes, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&f->facts->total_bytes, UINT64_MAX, __ATOMIC_RELAXED);
	int status = read_header(f, &header, error);
	if (status != SETT_OK)
		return status;
	if (!header.has_mark)
		__atomic_store_n(&f->facts->total_bytes, header.size, __ATOMIC_RELAXED);
	sync_receiver_clean(f->server);
	path_of(f->server, path);
	status = vfs_open(server_vfs(f->server), path, VFS_WRITE | VFS_CREATE | VFS_SEALED, &file, error);
	if (status != SETT_OK)
		return status;
	status = receive(f, &header, file, error);
	int closed = vfs_close(file, status == SETT_OK ? error : NULL);
	return status == SETT_OK ? closed : status;
}

/* ---- reading it ---- */

static int
read_file(struct sync_receiver *f, struct import *import)
{
	char path[PATH_MAX];
	struct import_file file;
	size_t size = 0;
	path_of(f->server, path);
	int status = import_file_open(&file, server_vfs(f->server), path, import->error);
	if (status != SETT_OK)
		return status;
	status = import_rdb(import, &file, &size);
	if (status == SETT_OK && size != file.content.size)
		status = sett_error_set(import->error, SETT_CORRUPT, 0, "%s: %zu bytes follow the data set",
					path, file.content.size - size);
	import_file_close(&file);
	return status;
}

/* ---- taking the place of what is served ---- */

struct change_over {
	struct commit_participant participant;
	struct sync_receiver *sync;
	struct replacement *replacement;
	struct stream_position position;
	bool is_done;
};

static bool
may_commit(struct commit_participant *p)
{
	return allegiance_holds(&((struct change_over *)p)->sync->allegiance);
}

static void
note_commit(struct commit_participant *p, uint64_t timestamp)
{
	struct change_over *o = (struct change_over *)p;
	replication_replace_apply(o->sync->server->replication, &o->position, timestamp);
	/* Here, as what clients commit behind it is told of to be kept. */
	expirer_forget_own(o->sync->server->expirer);
	o->is_done = true;
}

static void
answer_refused(struct commit_participant *p, struct command_context *c)
{
	(void)p;
	context_error(c, "ERR another master is to be followed");
}

/* In the transaction that replaces the libraries of functions. */
static int
take_place(void *arg, struct command_context *c)
{
	struct change_over *o = arg;
	int status = replacement_take_place(o->replacement, &c->view);
	if (status == SETT_OK)
		status = replication_replace_prepare(o->sync->server->replication, &c->view, &o->position);
	if (status != SETT_OK)
		return status;
	o->participant = (struct commit_participant){
		.validate = may_commit, .apply = note_commit, .answer = answer_refused};
	context_join_commit(c, &o->participant);
	return SETT_OK;
}

/* A library that this server does not take is left out, as at a start. */
static void
queue_libraries(struct sync_receiver *f, const struct import *import)
{
	const struct bytes flush[] = {BYTES_LITERAL("FUNCTION"), BYTES_LITERAL("FLUSH")};
	(void)feed_run(f->feed, 2, flush);
	for (const struct import_library *l = import->libraries; l != NULL; l = l->next) {
		const struct bytes load[] = {BYTES_LITERAL("FUNCTION"), BYTES_LITERAL("LOAD"),
					     BYTES_LITERAL("REPLACE"), bytes_of(l->text, l->size)};
		(void)feed_run(f->feed, 4, load);
	}
}

static int
change_over(struct sync_receiver *f, struct import *import, const struct stream_position *position)
{
	/* A replica that is followed passes its master's stream on, with whatever was selected in it. */
	const struct bytes multi = BYTES_LITERAL("MULTI"), exec = BYTES_LITERAL("EXEC");
	struct change_over o = {.sync = f, .replacement = import->replacement, .position = *position};
	if (import->stream_db >= 0)
		o.position.db = import->stream_db;
	int status = feed_run(f->feed, 1, &multi);
	queue_libraries(f, import);
	f->feed->client.before_commit = take_place;
	f->feed->client.before_commit_arg = &o;
	status = feed_run(f->feed, 1, &exec);
	f->feed->client.before_commit = NULL;
	if (o.is_done && status != SETT_OK)
		log_sink_printf(&f->server->sink, LOG_LEVEL_WARNING,
				"A library of functions is not taken over: %s", f->feed->error);
	if (o.is_done)
		return sett_engine_write(f->server->engine);
	if (!allegiance_holds(&f->allegiance))
		return sett_error_set(import->error, SETT_ABORTED, 0, "another master is to be followed");
	return sett_error_set(import->error, SETT_FAILED, 0,
			      "the master's data can't take the place of ours: %s", f->feed->error);
}

int
sync_receiver_load(struct sync_receiver *f, const struct stream_position *position, struct sett_error *error)
{
	struct import import = {.server = f->server,
				.should_stop = f->should_stop,
				.arg = f->arg,
				.keeps_expired = true,
				.fills_empty = true,
				.error = error};
	__atomic_store_n(&f->facts->is_loading, true, __ATOMIC_RELAXED);
	int status = replacement_create(f->server->engine, &import.replacement);
	if (status == SETT_OK)
		status = read_file(f, &import);
	if (status == SETT_OK)
		status = change_over(f, &import, position);
	if (status != SETT_OK && error->status != status)
		sett_error_set(error, status, 0, "%s", sett_status_text(status));
	import_free_libraries(&import);
	replacement_destroy(import.replacement);
	__atomic_store_n(&f->facts->is_loading, false, __ATOMIC_RELAXED);
	return status;
}

/* Finding a moment in an archive, and applying the commits up to it.
 *
 * Each commit becomes one transaction of an engine that nobody else writes to, so each gets the number that it had: that is
 * asserted by comparison. What a commit said of ids is said again, so that a collection that was being built where the
 * backup ends is built to its end (engine option `replays`). */
#include <stdlib.h>

#include "archive_files.h"
#include "batch.h"
#include "engine_private.h"

enum { COMMITS_PER_LOOK = 64 };

/* ---- finding ---- */

struct finding {
	const struct sett_moment *moment;
	struct archive_place place; /* of the newest commit that belongs to it */
	bool is_past;               /* a later commit was met */
};

static int
find_begin(void *arg, const struct archive_place *place)
{
	struct finding *f = arg;
	f->place = *place;
	if (f->moment->kind == SETT_MOMENT_COMMIT)
		f->is_past = place->commit >= f->moment->value;
	return f->is_past ? ARCHIVE_ENOUGH : SETT_OK;
}

static int
find_commit(void *arg, const struct archive_commit *commit)
{
	struct finding *f = arg;
	f->is_past = f->moment->kind == SETT_MOMENT_TIME && commit->place.time_ms > f->moment->value;
	if (!f->is_past)
		f->place = commit->place;
	if (f->moment->kind == SETT_MOMENT_COMMIT)
		f->is_past = commit->place.commit >= f->moment->value;
	return f->is_past ? ARCHIVE_ENOUGH : SETT_OK;
}

static bool
begins_by(const struct archive_header *h, const struct sett_moment *moment)
{
	switch (moment->kind) {
	case SETT_MOMENT_TIME:
		return h->after_ms <= moment->value;
	case SETT_MOMENT_COMMIT:
		return h->after <= moment->value;
	case SETT_MOMENT_END:
		return true;
	}
	return false;
}

/* The newest chain that has begun by then: its last file that has. NULL if there is none. */
static const struct archive_header *
choose_chain(const struct archive_files *files, const struct sett_moment *moment,
	     const struct archive_header **ret_first)
{
	const struct archive_header *chosen = NULL, *first = NULL;
	for (size_t i = 0; i < files->count; i++) {
		const struct archive_header *h = &files->files[i].header;
		if (files->files[i].is_unreadable || !begins_by(h, moment))
			continue;
		if (!first || first->chain != h->chain)
			first = h;
		chosen = h;
	}
	*ret_first = first;
	return chosen;
}

struct moment_text {
	char text[60];
};

static struct moment_text
moment_text(uint64_t ms)
{
	struct moment_text t;
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	if (!gmtime_r(&seconds, &tm)) {
		snprintf(t.text, sizeof(t.text), "%" PRIu64 " ms after 1970", ms);
		return t;
	}
	size_t n = strftime(t.text, sizeof(t.text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(t.text + n, sizeof(t.text) - n, ".%03uZ", (unsigned)(ms % 1000));
	return t;
}

static int
out_of_reach(const char *directory, const struct archive_files *files, const struct sett_moment *moment,
	     const struct archive_place *end, const struct archive_tail *tail, struct sett_error *error)
{
	for (size_t i = 0; !end && i < files->count; i++) {
		const struct archive_header *h = &files->files[i].header;
		if (!files->files[i].is_unreadable)
			return sett_error_set(error, SETT_NOT_FOUND, 0,
					      "%s: what is archived begins later, behind commit %" PRIu64
					      ", at %s",
					      directory, h->after, moment_text(h->after_ms).text);
	}
	for (size_t i = 0; !end && i < files->count; i++) {
		if (files->files[i].size >= ARCHIVE_HEADER_SIZE)
			return sett_error_set(error, SETT_CORRUPT, 0,
					      "%s/%06" PRIu64 ARCHIVE_SUFFIX
					      " is damaged at offset 0, and no "
					      "file there has a header that is whole",
					      directory, files->files[i].header.number);
	}
	if (!end)
		return sett_error_set(error, SETT_NOT_FOUND, 0, "%s: nothing is archived there", directory);
	char unread[120] = "";
	if (tail->bytes > 0)
		snprintf(unread, sizeof(unread),
			 "; %" PRIu64 " bytes from offset %" PRIu64 " of %06" PRIu64 ARCHIVE_SUFFIX
			 " on are no whole block",
			 tail->bytes, tail->offset, tail->number);
	return sett_error_set(error, SETT_NOT_FOUND, 0,
			      "%s: what is archived %sends before that, with commit %" PRIu64
			      "; it knows of no later one before %s%s",
			      directory, moment->kind == SETT_MOMENT_TIME ? "by then " : "", end->commit,
			      moment_text(end->known_ms).text, unread);
}

static int
damaged_end(const char *directory, const struct archive_place *end, const struct archive_tail *tail,
	    struct sett_error *error)
{
	return sett_error_set(error, SETT_CORRUPT, 0,
			      "%s/%06" PRIu64 ARCHIVE_SUFFIX " is damaged at offset %" PRIu64
			      ": the commits from there on, in %" PRIu64
			      " bytes, can't be read; what can ends with commit %" PRIu64,
			      directory, tail->number, tail->offset, tail->bytes, end->commit);
}

int
sett_archive_find(struct vfs *vfs, const char *directory, const struct sett_moment *moment,
		  struct sett_archive_point *ret, struct sett_error *error)
{
	struct archive_files files;
	struct archive_place end;
	struct archive_tail tail = {0};
	struct finding f = {.moment = moment};
	const struct archive_header *first;
	vfs = vfs ? vfs : vfs_posix();
	int r = archive_files_list(vfs, directory, &files, error);
	if (r != SETT_OK)
		return r;
	const struct archive_header *h = choose_chain(&files, moment, &first);
	struct archive_visitor visitor = {.begin = find_begin, .commit = find_commit, .arg = &f};
	r = h ? archive_walk(vfs, directory, &files, h->chain, h->after, &visitor, &end, &tail, error)
	      : out_of_reach(directory, &files, moment, NULL, &tail, error);
	/* A commit of the same millisecond may still be missing. */
	bool is_known = f.is_past || (moment->kind == SETT_MOMENT_END && !tail.is_damage) ||
		(moment->kind == SETT_MOMENT_TIME && end.known_ms > moment->value);
	if (r == SETT_OK && !is_known)
		r = tail.is_damage ? damaged_end(directory, &end, &tail, error)
				   : out_of_reach(directory, &files, moment, &end, &tail, error);
	if (r == SETT_OK)
		*ret = (struct sett_archive_point){.chain = h->chain,
						   .commit = f.place.commit,
						   .time_ms = f.place.time_ms,
						   .since_commit = first->after,
						   .since_ms = first->after_ms};
	if (r == SETT_OK && moment->kind == SETT_MOMENT_END) {
		ret->unread_bytes = tail.bytes;
		ret->unread_offset = tail.offset;
		ret->unread_number = tail.number;
	}
	archive_files_free(&files);
	return r;
}

/* ---- reading what is to be applied ---- */

struct body {
	struct sett_body_writer *writer;
	uint64_t total, done;
};

struct replay {
	const struct sett_archive_replay *options;
	struct sett_engine *engine; /* NULL: it is only read */
	struct sett_txn *txn;
	struct body *bodies; /* of the commit that is to come */
	size_t body_count, body_capacity;
	uint64_t looked; /* commits */
	bool is_ours;    /* the place of `from` was met, and is that of the same database */
	struct sett_error *error;
};

static void
forget_bodies(void *arg)
{
	struct replay *p = arg;
	for (size_t i = 0; i < p->body_count; i++)
		sett_body_writer_close(p->bodies[i].writer);
	p->body_count = 0;
}

/* At `from` the archive has seen the same times as the database. */
static int
compare_place(struct replay *p, const struct archive_place *place)
{
	if (place->commit != p->options->from)
		return SETT_OK;
	if (place->now_ms != p->options->from_now_ms)
		return sett_error_set(
			p->error, SETT_INVALID, 0,
			"%s: its commit %" PRIu64
			" is of %s, that of the database of %s: it is another database's archive",
			p->options->directory, place->commit, moment_text(place->now_ms).text,
			moment_text(p->options->from_now_ms).text);
	p->is_ours = true;
	return p->options->to <= place->commit ? ARCHIVE_ENOUGH : SETT_OK;
}

static int
begin(void *arg, const struct archive_place *place)
{
	return compare_place(arg, place);
}

static int
add_body(struct replay *p, uint64_t total)
{
	if (p->body_count == p->body_capacity) {
		size_t capacity = p->body_capacity ? 2 * p->body_capacity : 16;
		struct body *grown = reallocarray(p->bodies, capacity, sizeof(*grown));
		if (!grown)
			return SETT_NO_MEMORY;
		p->bodies = grown;
		p->body_capacity = capacity;
	}
	struct body b = {.total = total};
	int r = total > SETT_MAX_BODY_SIZE ? SETT_CORRUPT
		: p->engine                ? sett_body_writer_open(p->engine, total, &b.writer, p->error)
					   : SETT_OK;
	if (r == SETT_OK)
		p->bodies[p->body_count++] = b;
	return r;
}

static int
take_piece(void *arg, uint64_t commit, uint64_t index, uint64_t total, struct bytes piece)
{
	struct replay *p = arg;
	int r = SETT_OK;
	if (commit <= p->options->from)
		return SETT_OK;
	if (index == p->body_count)
		r = add_body(p, total);
	if (r != SETT_OK)
		return r;
	if (index + 1 != p->body_count || p->bodies[index].total != total ||
	    piece.size > total - p->bodies[index].done)
		return SETT_CORRUPT;
	struct body *b = &p->bodies[index];
	b->done += piece.size;
	if (!b->writer)
		return SETT_OK;
	r = sett_body_writer_append(b->writer, piece.data, piece.size, p->error);
	return r == SETT_OK && b->done == b->total ? sett_body_writer_finish(b->writer, p->error) : r;
}

/* ---- applying ---- */

static int
find_body(struct replay *p, const struct entry *e, const struct body **ret)
{
	uint64_t index = e->pointer.offset;
	if (index >= p->body_count || p->bodies[index].total != e->pointer.body_size ||
	    p->bodies[index].done != p->bodies[index].total)
		return SETT_CORRUPT;
	*ret = &p->bodies[index];
	return SETT_OK;
}

static int
replay_entry(void *arg, struct bytes key, struct bytes value)
{
	struct replay *p = arg;
	const struct body *body = NULL;
	struct entry e;
	int r = entry_decode(value, &e);
	if (r == SETT_OK && e.kind == ENTRY_POINTER)
		r = find_body(p, &e, &body);
	if (r != SETT_OK || !p->engine)
		return r;
	if (e.kind == ENTRY_TOMBSTONE)
		return sett_txn_delete(p->txn, key);
	struct sett_put put = {.head = e.head, .expires_at = e.expires_at};
	if (body)
		put.written = body->writer;
	else
		put.body = e.body;
	return sett_txn_put(p->txn, key, &put);
}

static int
replay_counter(void *arg, const struct batch_counter *c)
{
	struct replay *p = arg;
	int r = p->engine && c->forget ? sett_txn_counter_drop(p->txn, c->counter) : SETT_OK;
	return r == SETT_OK && p->engine ? sett_txn_counter_add(p->txn, c->counter, c->delta) : r;
}

static int
replay_prefix(void *arg, const struct prefix_change *c)
{
	struct replay *p = arg;
	if (!p->engine)
		return SETT_OK;
	if (c->kind == PREFIX_DROPPED)
		return sett_txn_drop_prefix(p->txn, c->prefix);
	struct bytes stem = bytes_of(c->prefix.data, c->prefix.size - SETT_ID_SIZE);
	uint64_t id = get_be64(c->prefix.data + stem.size);
	switch (c->kind) {
	case ID_DROPPED:
		return sett_txn_drop_id(p->txn, stem, id, c->bytes);
	case ID_PENDING:
		return sett_txn_pend_id(p->txn, stem, id);
	case ID_PUBLISHED:
		return sett_txn_publish_id(p->txn, stem, id);
	default:
		return SETT_CORRUPT;
	}
}

static int
write_batch(struct replay *p, const struct archive_commit *commit)
{
	struct batch_visitor visitor = {replay_entry, replay_counter, replay_prefix, p, NULL};
	uint64_t timestamp = 0;
	int r = sett_txn_begin_at(p->txn, SETT_TXN_MANUAL_CONFLICTS, commit->now_ms);
	if (r == SETT_OK)
		r = batch_visit(commit->batch, &visitor);
	/* A commit that changed nothing has a number, too. */
	if (r == SETT_OK && !sett_txn_has_writes(p->txn))
		r = write_buffer_counter_add(&p->txn->writes, 0, 0);
	if (r != SETT_OK) {
		sett_txn_discard(p->txn);
		return r;
	}
	r = sett_txn_commit(p->txn, NULL, &timestamp);
	if (r == SETT_OK && timestamp != commit->place.commit)
		r = sett_error_set(p->error, SETT_INVALID, 0,
				   "commit %" PRIu64 " became %" PRIu64
				   ": the database is not as the archive found it",
				   commit->place.commit, timestamp);
	return r;
}

static int
apply_commit(struct replay *p, const struct archive_commit *commit)
{
	enum { TRIES = 100 };
	int r = SETT_CONFLICT; /* with nobody: with background work that took the log's room */
	for (unsigned i = 0; i < TRIES && r == SETT_CONFLICT; i++)
		r = write_batch(p, commit);
	return r;
}

static int
check_batch(struct replay *p, const struct archive_commit *commit)
{
	struct batch_visitor visitor = {replay_entry, replay_counter, replay_prefix, p, NULL};
	return batch_visit(commit->batch, &visitor);
}

static int
look_around(struct replay *p, uint64_t commit)
{
	const struct sett_archive_replay *o = p->options;
	if (++p->looked % COMMITS_PER_LOOK != 0)
		return SETT_OK;
	if (o->on_progress)
		o->on_progress(o->arg, commit);
	return o->should_stop && o->should_stop(o->arg) ? SETT_ABORTED : SETT_OK;
}

static int
take_commit(void *arg, const struct archive_commit *commit)
{
	struct replay *p = arg;
	int r = look_around(p, commit->place.commit);
	if (r != SETT_OK || commit->place.commit <= p->options->from)
		return r == SETT_OK ? compare_place(p, &commit->place) : r;
	r = p->engine ? apply_commit(p, commit) : check_batch(p, commit);
	forget_bodies(p);
	if (r != SETT_OK && r != SETT_CORRUPT && p->error->message[0] == '\0')
		(void)sett_error_set(p->error, r, 0, "commit %" PRIu64 ": %s", commit->place.commit,
				     sett_status_text(r));
	return r == SETT_OK && commit->place.commit >= p->options->to ? ARCHIVE_ENOUGH : r;
}

static int
run(struct replay *p)
{
	const struct sett_archive_replay *o = p->options;
	struct vfs *vfs = o->vfs ? o->vfs : vfs_posix();
	struct archive_files files;
	struct archive_place end = {0};
	struct archive_visitor visitor = {begin, take_commit, take_piece, forget_bodies, p};
	int r = archive_files_list(vfs, o->directory, &files, p->error);
	if (r != SETT_OK)
		return r;
	r = archive_walk(vfs, o->directory, &files, o->chain, o->from, &visitor, &end, NULL, p->error);
	if (r == SETT_OK && (!p->is_ours || end.commit < o->to))
		r = sett_error_set(p->error, SETT_CORRUPT, 0,
				   "%s: what is archived ends with commit %" PRIu64 ", not %" PRIu64,
				   o->directory, end.commit, o->to);
	forget_bodies(p);
	free(p->bodies);
	archive_files_free(&files);
	return r;
}

int
sett_archive_check(const struct sett_archive_replay *options, struct sett_error *error)
{
	struct sett_error ignored = {0};
	struct replay p = {.options = options, .error = error ? error : &ignored};
	return run(&p);
}

int
sett_archive_apply(struct sett_engine *engine, const struct sett_archive_replay *options,
		   struct sett_error *error)
{
	struct sett_error ignored = {0};
	struct replay p = {.options = options, .engine = engine, .error = error ? error : &ignored};
	if (!engine->options.replays || sett_engine_visible(engine) != options->from)
		return sett_error_set(error, SETT_INVALID, 0, "the engine is not at commit %" PRIu64,
				      options->from);
	int r = sett_txn_create(engine, &p.txn);
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "out of memory");
	r = run(&p);
	sett_txn_destroy(p.txn);
	return r;
}

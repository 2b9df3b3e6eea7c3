/* Mends, in the target, the collections of which something may be lost: each is built anew from what is there of it, so that its root
 * says what its elements are. Which they are follows from where the damage was: the keys between the whole blocks beside it, all keys
 * where the log or the manifest is damaged, the collection of an element whose value is lost.
 *
 * A root is one entry with a checksum, so it is whole; it may be older than its elements, or newer than some. */
#include "keyspace/root.h"
#include "storage/base/varint.h"
#include "types/mend_private.h"

enum { BATCH_KEYS = 256, ARENA_BLOCK = 64 * 1024 };

/* ---- one key ---- */

struct mend {
	struct salvage_run *run;
	struct keyspace *keyspace;
	struct sett_txn *txn;
	struct arena arena;
	struct keyspace_view view;
	struct buffer keys[BATCH_KEYS]; /* engine keys of roots */
	size_t count;
	struct buffer place; /* where the walk goes on */
};

int
rebuild_open(const struct rebuild *r, unsigned kind, struct sett_iterator **ret)
{
	uint8_t low[ELEMENT_PREFIX_SIZE + 1], high[ELEMENT_PREFIX_SIZE + 1];
	keyspace_element_prefix(low, r->old->epoch, r->old->root.object);
	memcpy(high, low, ELEMENT_PREFIX_SIZE);
	low[ELEMENT_PREFIX_SIZE] = (uint8_t)kind;
	high[ELEMENT_PREFIX_SIZE] = (uint8_t)(kind + 1);
	const struct sett_iterator_options options = {.lower = bytes_of(low, sizeof(low)),
						      .upper = bytes_of(high, sizeof(high)),
						      .is_committed = true};
	return sett_iterator_open(r->old->view->txn, &options, ret);
}

static int
begin(struct mend *m)
{
	m->view = (struct keyspace_view){0};
	arena_reset(&m->arena);
	int status = sett_txn_begin(m->txn, SETT_TXN_MANUAL_CONFLICTS | SETT_TXN_ROOMY);
	if (status == SETT_OK)
		status = keyspace_begin(&m->view, m->keyspace, m->txn, &m->arena);
	m->view.may_build = m->view.allow_expired = true;
	return status;
}

/* What is past its deadline is there, too: that it goes is the server's to do, and to tell. */
static int
open_root(struct mend *m, struct bytes engine_key, struct key *ret)
{
	struct sett_record record;
	struct root root;
	struct bytes name, stored;
	unsigned db;
	int status = sett_txn_get(m->txn, engine_key, &record);
	if (status == SETT_OK)
		status = root_parse(&record, &root);
	if (status == SETT_OK && !keyspace_parse_root_key(m->keyspace, engine_key, &db, &stored))
		return SETT_NOT_FOUND;
	if (status == SETT_OK)
		status = root_user_key(&m->view, engine_key, &root, &name);
	return status == SETT_OK ? key_open(&m->view, db, name, ret) : status;
}

static void
tell(struct mend *m, enum salvaged_kind kind, const struct key *k, const struct rebuild *r)
{
	struct salvaged s = {
		.kind = kind, .db = k->db, .epoch = k->epoch, .name = k->name, .type = k->root.type};
	s.had = r->had;
	s.has = r->has;
	salvage_tell(m->run, &s);
}

/* Its elements go to a new object; the old one is dropped with the root. */
static int
rebuild_collection(struct mend *m, struct rebuild *r)
{
	struct key key = *r->old;
	int status = key_delete(&key);
	key.new_deadline = r->old->root.expires_at;
	r->key = &key;
	if (status != SETT_OK)
		return status;
	switch (key.root.type) {
	case VALUE_LIST:
		return rebuild_list(r);
	case VALUE_STREAM:
		return rebuild_stream(r);
	default:
		return rebuild_members(r);
	}
}

static int
mend_collection(struct mend *m, struct rebuild *r)
{
	struct salvage_figures *f = m->run->figures;
	int status = rebuild_collection(m, r);
	if (status == SETT_OK)
		status = sett_txn_commit(m->txn, NULL, NULL);
	if (status != SETT_OK)
		return status;
	bool is_changed = r->has != r->had || r->is_unsorted;
	if (r->has == 0)
		tell(m, SALVAGED_GONE, r->old, r);
	else if (is_changed)
		tell(m, r->is_unsorted ? SALVAGED_UNSORTED : SALVAGED_MENDED, r->old, r);
	f->mended += r->has > 0 && is_changed;
	f->left_out += r->has == 0;
	f->keys -= r->has == 0;
	return SETT_OK;
}

static int
mend_key(struct mend *m, struct bytes engine_key)
{
	struct key old;
	struct rebuild r = {.run = m->run, .old = &old};
	int status = begin(m);
	if (status == SETT_OK)
		status = open_root(m, engine_key, &old);
	if (status == SETT_OK && !old.exists)
		status = SETT_CORRUPT; /* it was there a moment ago */
	if (status == SETT_OK && old.root.type == VALUE_STRING)
		tell(m, SALVAGED_OLDER, &old, &r);
	else if (status == SETT_OK)
		status = mend_collection(m, &r);
	if (status != SETT_OK)
		status = salvage_failed(m->run, status, m->txn);
	sett_txn_discard(m->txn);
	build_close_all(&m->view);
	return status == SETT_OK ? sett_engine_write(m->run->options->engine) : status;
}

/* ---- which keys ---- */

/* Whether something may be lost of the collection, its root included. Of a string in chunks only a place says so: with a commit of the
 * log any edit may be lost, as any other write may. */
static bool
is_suspect(const struct mend *m, struct bytes key, const struct root *root)
{
	uint8_t low[ELEMENT_PREFIX_SIZE], high[ELEMENT_PREFIX_SIZE];
	uint64_t epoch = get_be64(key.data + 1);
	struct lost_ranges lost = m->run->lost;
	lost.any &= root->type != VALUE_STRING;
	keyspace_element_prefix(low, epoch, root->object);
	keyspace_element_prefix(high, epoch, root->object + 1);
	struct bytes after = bytes_of(key.data, key.size);
	return lost_ranges_meet(&lost, bytes_of(low, sizeof(low)), bytes_of(high, sizeof(high))) ||
		(root->type != VALUE_STRING && (lost.any || lost_ranges_meet(&lost, after, after)));
}

/* The next keys that are to be mended. SETT_NOT_FOUND: all keys were met. */
static int
gather(struct mend *m, const struct sett_iterator_options *options)
{
	struct sett_iterator *iterator;
	int status = sett_iterator_open(m->txn, options, &iterator);
	if (status != SETT_OK)
		return status;
	status = sett_iterator_seek(iterator, buffer_bytes(&m->place));
	while (status == SETT_OK) {
		struct sett_record record;
		struct root root;
		struct bytes key = sett_iterator_key(iterator);
		struct sett_read_mark mark = sett_txn_read_mark(m->txn);
		if (m->count == BATCH_KEYS) {
			buffer_clear(&m->place);
			status = buffer_append(&m->place, key.data, key.size);
			break;
		}
		status = sett_iterator_record(iterator, &record);
		if (status == SETT_OK && root_parse(&record, &root) == SETT_OK && root.object != 0 &&
		    is_suspect(m, key, &root)) {
			struct buffer *b = &m->keys[m->count++];
			buffer_clear(b);
			status = buffer_append(b, key.data, key.size);
		}
		sett_txn_forget_reads(m->txn, &mark);
		if (status == SETT_OK)
			status = sett_iterator_next(iterator);
	}
	sett_iterator_close(iterator);
	return status;
}

static int
mend_all(struct mend *m)
{
	static const uint8_t low[] = {1}, high[] = {2}; /* roots */
	const struct salvage_options *o = m->run->options;
	const struct sett_iterator_options options = {.lower = bytes_of(low, sizeof(low)),
						      .upper = bytes_of(high, sizeof(high))};
	int walked = buffer_append(&m->place, low, sizeof(low)), status = SETT_OK;
	while (walked == SETT_OK && status == SETT_OK) {
		m->count = 0;
		walked = begin(m);
		if (walked == SETT_OK)
			walked = gather(m, &options);
		sett_txn_discard(m->txn);
		for (size_t i = 0; status == SETT_OK && i < m->count; i++)
			status = mend_key(m, buffer_bytes(&m->keys[i]));
		if (status == SETT_OK && o->should_stop != NULL && o->should_stop(o->arg))
			status = sett_error_set(m->run->error, SETT_ABORTED, 0, "%s: it was stopped",
						o->directory);
	}
	return status != SETT_OK || walked == SETT_NOT_FOUND ? status
							     : salvage_failed(m->run, walked, m->txn);
}

/* In the target, once all is there. */
static int
mend(struct salvage_run *run)
{
	struct mend m = {.run = run};
	arena_init(&m.arena, ARENA_BLOCK);
	/* This makes what a first start would make: databases without an epoch get one. */
	int status = keyspace_open(run->options->engine, run->databases, &m.keyspace, run->error);
	if (status == SETT_OK)
		status = sett_txn_create(run->options->engine, &m.txn);
	if (status == SETT_OK && (run->lost.any || run->lost.count > 0))
		status = mend_all(&m);
	if (status != SETT_OK)
		status = salvage_failed(run, status, m.txn);
	sett_txn_destroy(m.txn);
	for (size_t i = 0; i < BATCH_KEYS; i++)
		buffer_free(&m.keys[i]);
	buffer_free(&m.place);
	arena_free(&m.arena);
	keyspace_close(m.keyspace);
	return status;
}

int
salvage_all(const struct salvage_options *options, struct salvage_figures *ret, struct sett_error *error)
{
	struct salvage_run run = {.options = options, .figures = ret, .error = error};
	*ret = (struct salvage_figures){0};
	int status = salvage_copy(&run);
	if (status == SETT_OK)
		status = mend(&run);
	lost_ranges_free(&run.lost);
	return status;
}

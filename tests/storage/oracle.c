/* A known history of commits; see oracle.h. */
#include "oracle.h"

#include <stdarg.h>
#include <stdio.h>

int
oracle_complain(struct oracle *oracle, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(oracle->why, oracle->why_size, format, arguments);
	va_end(arguments);
	return -1;
}

static struct bytes
key_name(unsigned key, char name[16])
{
	int n = snprintf(name, 16, "key%03u", key);
	return bytes_of(name, (size_t)n);
}

/* ---- ids ---- */

enum { ID_ENTRIES = 2, ID_BODY_MAX = 600 };
#define ID_STEM BYTES_LITERAL("zid")
enum id_state { ID_ABSENT, ID_PENDING, ID_LIVE, ID_DEAD };

/* Some are neighbours, some far apart. */
static uint64_t
id_number(size_t id)
{
	return id % 3 ? id : id * 0x9e3779b97f4a7c15;
}

static struct bytes
id_key(size_t id, unsigned entry, uint8_t ret[SETT_MAX_PREFIX_SIZE])
{
	size_t size = sett_id_prefix(ID_STEM, id_number(id), ret);
	ret[size] = (uint8_t)entry;
	return bytes_of(ret, size + 1);
}

static struct bytes
id_body(size_t id, unsigned entry, uint8_t ret[ID_BODY_MAX])
{
	size_t size = (id * 311 + entry * 97) % ID_BODY_MAX;
	upload_fill(ret, size, id * 1000 + entry);
	return bytes_of(ret, size);
}

/* What the id is after so many commits, and how many entries were put. */
static enum id_state
id_after(const struct oracle *oracle, size_t commits, size_t id, unsigned *ret_entries)
{
	enum id_state state = ID_ABSENT;
	unsigned entries = 0;
	for (size_t i = id; i < commits; i++) {
		const struct oracle_commit *c = &oracle->commits[i];
		if (c->id != id || c->event == ORACLE_ID_NONE)
			continue;
		state = c->event == ORACLE_ID_DROPPED                                 ? ID_DEAD
			: c->event == ORACLE_ID_BEGUN || c->event == ORACLE_ID_FILLED ? ID_PENDING
										      : ID_LIVE;
		if (c->event == ORACLE_ID_MADE || state == ID_PENDING)
			entries += ID_ENTRIES;
		if (state == ID_PENDING && c->life != oracle->life)
			state = ID_DEAD; /* unless it was published */
	}
	*ret_entries = entries;
	return state;
}

/* An id of one of the states; the count if there is none. */
static size_t
choose_id(const struct oracle *oracle, uint64_t draw, unsigned states)
{
	unsigned entries;
	for (size_t i = 0; i < oracle->count; i++) {
		size_t id = (draw + i) % oracle->count;
		if (states & 1U << id_after(oracle, oracle->count, id, &entries))
			return id;
	}
	return oracle->count;
}

static void
choose_event(struct oracle *oracle, uint64_t draw)
{
	static const enum oracle_id_event events[] = {
		ORACLE_ID_MADE,   ORACLE_ID_MADE,      ORACLE_ID_BEGUN,   ORACLE_ID_FILLED,
		ORACLE_ID_FILLED, ORACLE_ID_PUBLISHED, ORACLE_ID_DROPPED, ORACLE_ID_DROPPED};
	struct oracle_commit *c = &oracle->commits[oracle->count];
	unsigned states = 0;
	c->event = draw % 32 < 8 ? events[draw % 8] : ORACLE_ID_NONE;
	c->id = oracle->count;
	c->life = oracle->life;
	if (c->event == ORACLE_ID_FILLED || c->event == ORACLE_ID_PUBLISHED)
		states = 1U << ID_PENDING;
	else if (c->event == ORACLE_ID_DROPPED)
		states = 1U << ID_PENDING | 1U << ID_LIVE;
	if (states)
		c->id = choose_id(oracle, draw / 32, states);
	if (states && c->id == oracle->count)
		c->event = ORACLE_ID_NONE;
}

static int
put_id_entries(struct oracle *oracle, struct sett_txn *txn, size_t id)
{
	uint8_t key[SETT_MAX_PREFIX_SIZE], body[ID_BODY_MAX];
	unsigned from;
	(void)id_after(oracle, oracle->count, id, &from);
	int r = SETT_OK;
	for (unsigned i = from; r == SETT_OK && i < from + ID_ENTRIES; i++)
		r = sett_txn_put(txn, id_key(id, i, key), &(struct sett_put){.body = id_body(id, i, body)});
	return r;
}

static int
buffer_event(struct oracle *oracle, struct sett_txn *txn)
{
	const struct oracle_commit *c = &oracle->commits[oracle->count];
	uint64_t number = id_number(c->id);
	int r = SETT_OK;
	switch (c->event) {
	case ORACLE_ID_NONE:
		return SETT_OK;
	case ORACLE_ID_PUBLISHED:
		return sett_txn_publish_id(txn, ID_STEM, number);
	case ORACLE_ID_DROPPED:
		return sett_txn_drop_id(txn, ID_STEM, number, c->id % 2 ? 1000 : 0);
	case ORACLE_ID_BEGUN:
		r = sett_txn_pend_id(txn, ID_STEM, number);
		break;
	case ORACLE_ID_FILLED:
		r = sett_txn_check_pending(txn, ID_STEM, number);
		break;
	case ORACLE_ID_MADE:
		break;
	}
	return r == SETT_OK ? put_id_entries(oracle, txn, c->id) : r;
}

static int
check_id(struct oracle *oracle, struct sett_txn *txn, size_t commits, size_t id, int allowed)
{
	uint8_t key[SETT_MAX_PREFIX_SIZE], expected[ID_BODY_MAX];
	struct sett_record record;
	struct bytes body = {0};
	unsigned entries;
	enum id_state state = id_after(oracle, commits, id, &entries);
	for (unsigned i = 0; (state == ID_LIVE || state == ID_PENDING) && i < entries; i++) {
		int r = sett_txn_get(txn, id_key(id, i, key), &record);
		if (r == SETT_OK)
			r = sett_txn_body(txn, &record, &body);
		if (r != SETT_OK && r == allowed)
			continue;
		if (r != SETT_OK || !bytes_equal(body, id_body(id, i, expected)))
			return oracle_complain(oracle, "entry %u of id %zu is not what it was (status %d)", i,
					       id, r);
	}
	return 0;
}

int
oracle_check_erased(struct oracle *oracle, struct sett_engine *engine, size_t commits)
{
	struct sett_txn *txn;
	struct sett_iterator *it;
	uint64_t expected = 0, found = 0;
	for (size_t id = 0; id < commits; id++) {
		unsigned entries;
		enum id_state state = id_after(oracle, commits, id, &entries);
		expected += state == ID_LIVE || state == ID_PENDING ? entries : 0;
	}
	if (sett_txn_create(engine, &txn) != SETT_OK || sett_txn_begin(txn, 0) != SETT_OK)
		return oracle_complain(oracle, "no transaction");
	int r = sett_iterator_open(txn, &(struct sett_iterator_options){.lower = ID_STEM}, &it);
	if (r == SETT_OK) {
		for (r = sett_iterator_first(it); r == SETT_OK; r = sett_iterator_next(it))
			found++;
		sett_iterator_close(it);
	}
	sett_txn_destroy(txn);
	return r == SETT_NOT_FOUND && found == expected
		? 0
		: oracle_complain(oracle, "%llu entries of ids are left instead of %llu (status %d)",
				  (unsigned long long)found, (unsigned long long)expected, r);
}

/* ---- making the history ---- */

/* A step of the body in pieces. It may fail where the vfs does: then there is none. */
static void
advance_upload(struct oracle *oracle, struct random *random)
{
	sett_body_writer_close(oracle->put);
	oracle->put = NULL;
	if (oracle->engine)
		(void)upload_step(&oracle->upload, oracle->engine, random_next(random), ORACLE_VALUE_MAX);
}

/* Puts the body that came in pieces. */
static int
put_upload(struct oracle *oracle, struct sett_txn *txn, struct oracle_write *write)
{
	char name[16];
	write->is_delete = false;
	write->content = oracle->upload.content;
	write->size = oracle->upload.size;
	oracle->put = oracle->upload.writer;
	oracle->upload = (struct upload){0};
	return sett_txn_put(txn, key_name(write->key, name), &(struct sett_put){.written = oracle->put});
}

static int
buffer_write(struct sett_txn *txn, const struct oracle_write *write)
{
	uint8_t bytes[ORACLE_VALUE_MAX];
	char name[16];
	struct bytes key = key_name(write->key, name);
	if (write->is_delete)
		return sett_txn_delete(txn, key);
	upload_fill(bytes, write->size, write->content);
	return sett_txn_put(txn, key, &(struct sett_put){.body = bytes_of(bytes, write->size)});
}

int
oracle_prepare(struct oracle *oracle, struct random *random, struct sett_txn *txn)
{
	if (oracle->count == ORACLE_COMMITS)
		return SETT_TOO_LARGE;
	struct oracle_commit *commit = &oracle->commits[oracle->count];
	commit->count = 1 + (unsigned)random_below(random, ORACLE_WRITES);
	commit->delta = (int64_t)random_below(random, 9) - 4;
	advance_upload(oracle, random);
	int r = sett_txn_begin(txn, 0);
	if (r != SETT_OK)
		return r;
	for (unsigned i = 0; i < commit->count; i++) {
		struct oracle_write *w = &commit->writes[i];
		w->key = (uint8_t)random_below(random, ORACLE_KEYS);
		w->is_delete = random_below(random, 5) == 0;
		w->content = random_next(random);
		w->size = (uint32_t)random_below(random, random_below(random, 3) ? 100 : ORACLE_VALUE_MAX);
		/* All numbers are drawn, whatever fails. */
		int put = oracle->upload.finished ? put_upload(oracle, txn, w) : buffer_write(txn, w);
		r = r == SETT_OK ? put : r;
	}
	choose_event(oracle, random_next(random));
	if (r == SETT_OK)
		r = buffer_event(oracle, txn);
	if (r == SETT_OK && commit->delta)
		r = sett_txn_counter_add(txn, ORACLE_COUNTER, commit->delta);
	if (r == SETT_OK)
		oracle->count++;
	else
		sett_txn_discard(txn);
	return r;
}

void
oracle_let_go(struct oracle *oracle)
{
	upload_close(&oracle->upload);
	sett_body_writer_close(oracle->put);
	oracle->put = NULL;
	oracle->engine = NULL;
}

void
oracle_take_back(struct oracle *oracle)
{
	oracle->count--;
}

/* ---- comparing ---- */

static const struct oracle_write *
newest_write(const struct oracle *oracle, size_t commits, unsigned key)
{
	for (size_t c = commits; c-- > 0;)
		for (unsigned w = oracle->commits[c].count; w-- > 0;)
			if (oracle->commits[c].writes[w].key == key)
				return &oracle->commits[c].writes[w];
	return NULL;
}

static int
check_key(struct oracle *oracle, struct sett_txn *txn, size_t commits, unsigned key, int allowed)
{
	char name[16];
	uint8_t expected[ORACLE_VALUE_MAX];
	struct sett_record record;
	const struct oracle_write *write = newest_write(oracle, commits, key);
	int r = sett_txn_get(txn, key_name(key, name), &record);
	if (r != SETT_OK && r == allowed)
		return 0;
	if (!write || write->is_delete)
		return r == SETT_NOT_FOUND
			? 0
			: oracle_complain(oracle, "%s should be absent after %zu commits: %d", name, commits,
					  r);
	if (r != SETT_OK)
		return oracle_complain(oracle, "%s should be there after %zu commits: %d", name, commits, r);
	struct bytes body = {0};
	r = sett_txn_body(txn, &record, &body);
	if (r != SETT_OK && r == allowed)
		return 0;
	upload_fill(expected, write->size, write->content);
	if (r != SETT_OK || !bytes_equal(body, bytes_of(expected, write->size)))
		return oracle_complain(oracle,
				       "%s is not what its commit made it (status %d, %zu of %u bytes)", name,
				       r, body.size, write->size);
	return 0;
}

static int
check_scan(struct oracle *oracle, struct sett_txn *txn, size_t commits, bool backward, int allowed)
{
	struct sett_iterator *it;
	unsigned expected = 0, found = 0;
	for (unsigned k = 0; k < ORACLE_KEYS; k++) {
		const struct oracle_write *w = newest_write(oracle, commits, k);
		expected += w && !w->is_delete;
	}
	int r = sett_iterator_open(txn, &(struct sett_iterator_options){.upper = ID_STEM}, &it);
	if (r != SETT_OK)
		return r == allowed ? 0 : oracle_complain(oracle, "no iterator: %d", r);
	r = backward ? sett_iterator_last(it) : sett_iterator_first(it);
	while (r == SETT_OK) {
		found++;
		r = backward ? sett_iterator_previous(it) : sett_iterator_next(it);
	}
	sett_iterator_close(it);
	if (r != SETT_NOT_FOUND && r == allowed)
		return 0;
	if (r != SETT_NOT_FOUND || found != expected)
		return oracle_complain(oracle, "%s scan found %u of %u keys (status %d)",
				       backward ? "backward" : "forward", found, expected, r);
	return 0;
}

int
oracle_check(struct oracle *oracle, struct sett_txn *txn, size_t commits, bool counter, int allowed)
{
	int r = 0;
	for (unsigned k = 0; r == 0 && k < ORACLE_KEYS; k++)
		r = check_key(oracle, txn, commits, k, allowed);
	for (size_t id = 0; r == 0 && id < commits; id++)
		r = check_id(oracle, txn, commits, id, allowed);
	if (r == 0)
		r = check_scan(oracle, txn, commits, false, allowed);
	if (r == 0)
		r = check_scan(oracle, txn, commits, true, allowed);
	int64_t expected = 0, found = 0;
	for (size_t c = 0; c < commits; c++)
		expected += oracle->commits[c].delta;
	if (r == 0 && counter &&
	    (sett_txn_counter(txn, ORACLE_COUNTER, &found) != SETT_OK || found != expected))
		r = oracle_complain(oracle, "counter is %lld, not %lld", (long long)found,
				    (long long)expected);
	return r;
}

int
oracle_check_engine(struct oracle *oracle, struct sett_engine *engine, size_t commits)
{
	struct sett_txn *txn;
	if (sett_txn_create(engine, &txn) != SETT_OK)
		return oracle_complain(oracle, "no transaction");
	int r = sett_txn_begin(txn, 0) == SETT_OK ? oracle_check(oracle, txn, commits, true, SETT_OK)
						  : oracle_complain(oracle, "begin failed");
	sett_txn_destroy(txn);
	return r;
}

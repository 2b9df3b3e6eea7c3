/* Copies what storage/salvage.h gives into the target, in the order of the keys:
 *
 *     00 ...  what the server keeps of the whole: which epoch is whose, the next numbers, libraries
 *     01 ...  roots: those of an epoch that is a database's, counted; which object is whose is noted
 *     02 ...  elements: those of an object that a root has
 *
 * and then writes anew what counts all that. Left out: cursors of SCAN, which begin anew; which of Redis' files were read, as it was
 * this database that had; and the place in a replication stream, as the target has a history of its own. */
#include <inttypes.h>
#include <stdlib.h>

#include "keyspace/describe.h"
#include "keyspace/private.h"
#include "keyspace/root.h"
#include "keyspace/salvage.h"
#include "storage/base/hash.h"
#include "storage/base/varint.h"

enum {
	BATCH_ENTRIES = 1000,
	BATCH_BYTES = 512 * 1024,
	PIECE = 1 << 20,
	LEAST_DATABASES = 16,
	MOST_DATABASES = INT32_MAX,
};

struct object {
	uint64_t epoch, id;
	uint64_t timestamp; /* of the root */
	uint64_t root;      /* hash of its engine key */
};

struct epoch {
	uint64_t number;
	bool has_database;
	unsigned db;
	int64_t keys, deadlines, due, deadline_sum;
};

struct database_entry {
	unsigned db;
	uint64_t epoch;
};

struct copy {
	struct salvage_run *run;
	struct sett_salvage *salvage;
	struct sett_txn *txn;
	bool is_begun;
	uint64_t entries, bytes; /* of the transaction */
	struct database_entry *databases;
	size_t database_count, database_capacity;
	struct epoch *epochs; /* with keys, ascending */
	size_t epoch_count, epoch_capacity;
	struct object *objects;
	size_t object_count, object_capacity;
	bool are_settled;             /* the objects are sorted */
	const struct object *present; /* of the element before; NULL: it had none */
	uint64_t present_epoch, present_id, present_entries;
	bool has_present, adopts, has_seed;
	bool has_own; /* an entry that a server writes */
	uint64_t next_epoch, next_object, functions, library_bytes;
	uint8_t *piece;
};

static int
grow(void **array, size_t count, size_t *capacity, size_t size)
{
	if (count < *capacity)
		return SETT_OK;
	size_t wanted = *capacity ? 2 * *capacity : 16;
	void *more = reallocarray(*array, wanted, size);
	if (more == NULL)
		return SETT_NO_MEMORY;
	*array = more;
	*capacity = wanted;
	return SETT_OK;
}

/* ---- writing ---- */

static int
commit(struct copy *c)
{
	if (!c->is_begun)
		return SETT_OK;
	c->is_begun = false;
	c->entries = c->bytes = 0;
	int status = sett_txn_commit(c->txn, NULL, NULL);
	/* So that the log does not gather all of it in memory. */
	return status == SETT_OK ? sett_engine_write(c->run->options->engine) : status;
}

static int
begin(struct copy *c)
{
	if (c->is_begun)
		return SETT_OK;
	int status = sett_txn_begin(c->txn, SETT_TXN_MANUAL_CONFLICTS);
	c->is_begun = status == SETT_OK;
	return status;
}

static int
put(struct copy *c, struct bytes key, const struct sett_put *what, uint64_t body_size)
{
	int status = begin(c);
	if (status == SETT_OK)
		status = sett_txn_put(c->txn, key, what);
	if (status != SETT_OK)
		return status;
	c->entries++;
	c->bytes += key.size + what->head.size + what->body.size;
	c->run->figures->bytes += key.size + what->head.size + body_size;
	return c->entries >= BATCH_ENTRIES || c->bytes >= BATCH_BYTES ? commit(c) : SETT_OK;
}

/* SETT_NOT_FOUND: the body is damaged, and was told of. */
static int
pour_body(struct copy *c, struct sett_body_writer *writer, uint64_t size)
{
	struct sett_error *error = c->run->error;
	int status = SETT_OK;
	for (uint64_t done = 0; status == SETT_OK && done < size;) {
		size_t step = size - done < PIECE ? (size_t)(size - done) : PIECE;
		status = sett_salvage_read(c->salvage, c->piece, step, error);
		if (status == SETT_CORRUPT)
			return SETT_NOT_FOUND;
		if (status == SETT_OK)
			status = sett_body_writer_append(writer, c->piece, step, error);
		done += step;
	}
	return status == SETT_OK ? sett_body_writer_finish(writer, error) : status;
}

static int
put_streamed(struct copy *c, const struct sett_salvage_entry *e)
{
	struct sett_body_writer *writer;
	int status = sett_body_writer_open(c->run->options->engine, e->body_size, &writer, c->run->error);
	if (status != SETT_OK)
		return status;
	status = pour_body(c, writer, e->body_size);
	struct sett_put what = {.head = e->head, .written = writer, .expires_at = e->expires_at};
	if (status == SETT_OK)
		status = put(c, e->key, &what, e->body_size);
	if (status == SETT_OK)
		status = commit(c); /* the writer must not be closed before */
	sett_body_writer_close(writer);
	return status;
}

/* SETT_NOT_FOUND: its body was damaged, so it is not taken. */
static int
take(struct copy *c, const struct sett_salvage_entry *e)
{
	struct sett_put what = {.head = e->head, .body = e->body, .expires_at = e->expires_at};
	return e->is_streamed ? put_streamed(c, e) : put(c, e->key, &what, e->body_size);
}

static int
put_number(struct copy *c, struct bytes key, uint64_t number)
{
	uint8_t text[8];
	put_le64(text, number);
	return put(c, key, &(struct sett_put){.head = bytes_of(text, sizeof(text))}, 0);
}

/* ---- what the server keeps of the whole ---- */

static int
note_database(struct copy *c, unsigned db, const struct sett_salvage_entry *e)
{
	if (e->head.size != 8 || get_le64(e->head.data) == 0)
		return SETT_OK; /* it is one that is missing, then */
	int status =
		grow((void **)&c->databases, c->database_count, &c->database_capacity, sizeof(*c->databases));
	if (status == SETT_OK)
		c->databases[c->database_count++] = (struct database_entry){db, get_le64(e->head.data)};
	return status;
}

static void
raise_number(uint64_t *number, const struct sett_salvage_entry *e)
{
	if (e->head.size == 8 && get_le64(e->head.data) > *number)
		*number = get_le64(e->head.data);
}

static int
take_meta(struct copy *c, const struct engine_key *k, const struct sett_salvage_entry *e)
{
	int status = SETT_OK;
	switch (k->kind) {
	case ENGINE_KEY_EPOCH:
		return note_database(c, k->db, e);
	case ENGINE_KEY_NEXT_EPOCH:
		raise_number(&c->next_epoch, e);
		return SETT_OK;
	case ENGINE_KEY_NEXT_OBJECT:
		raise_number(&c->next_object, e);
		return SETT_OK;
	case ENGINE_KEY_MEMBER_SEED:
		c->has_seed = e->head.size == 8;
		return c->has_seed ? take(c, e) : SETT_OK;
	case ENGINE_KEY_LIBRARY:
		if (e->head.size != 8)
			return SETT_OK;
		status = take(c, e);
		if (status != SETT_OK)
			return status == SETT_NOT_FOUND ? SETT_OK : status;
		c->run->figures->libraries++;
		c->functions += get_le64(e->head.data);
		c->library_bytes += e->body_size;
		return SETT_OK;
	default:
		return SETT_OK;
	}
}

/* ---- roots ---- */

static const struct database_entry *
database_of(const struct copy *c, uint64_t epoch)
{
	for (size_t i = 0; i < c->database_count; i++)
		if (c->databases[i].epoch == epoch)
			return &c->databases[i];
	return NULL;
}

static bool
has_entry(const struct copy *c, unsigned db)
{
	for (size_t i = 0; i < c->database_count; i++)
		if (c->databases[i].db == db)
			return true;
	return false;
}

/* Whether entries that say which epoch is whose may be lost: then epochs that are nobody's are taken, too. */
static bool
lacks_databases(const struct copy *c)
{
	static const uint8_t low[] = {KIND_META, 'e'}, high[] = {KIND_META, 'e' + 1};
	unsigned most = 0;
	struct lost_ranges named = c->run->lost;
	named.any = false; /* with a commit of the log a FLUSHDB may be lost, but no entry is */
	for (size_t i = 0; i < c->database_count; i++)
		if (c->databases[i].db < NUMBERED_DATABASES && c->databases[i].db > most)
			most = c->databases[i].db;
	for (unsigned db = 0; db <= most; db++)
		if (!has_entry(c, db))
			return true;
	return lost_ranges_meet(&named, bytes_of(low, sizeof(low)), bytes_of(high, sizeof(high)));
}

static int
enter_epoch(struct copy *c, uint64_t number)
{
	if (c->epoch_count == 0)
		c->adopts = lacks_databases(c);
	int status = grow((void **)&c->epochs, c->epoch_count, &c->epoch_capacity, sizeof(*c->epochs));
	if (status != SETT_OK)
		return status;
	struct epoch *e = &c->epochs[c->epoch_count++];
	const struct database_entry *d = database_of(c, number);
	*e = (struct epoch){.number = number, .has_database = d != NULL, .db = d != NULL ? d->db : 0};
	uint64_t own = number - EPOCHS_BY_DATABASE;
	if (d == NULL && number >= EPOCHS_BY_DATABASE && own < MOST_DATABASES &&
	    !has_entry(c, (unsigned)own)) {
		e->has_database = true;
		e->db = (unsigned)own;
	}
	return SETT_OK;
}

static struct sett_record
record_of(const struct sett_salvage_entry *e)
{
	return (struct sett_record){.head = e->head, .body_size = e->body_size, .expires_at = e->expires_at};
}

static void
count_root(struct epoch *e, const struct root *root, int by)
{
	e->keys += by;
	e->deadlines += by * (root->expires_at != 0);
	e->due += by * (root->due_at != 0);
	if (root->expires_at != 0)
		e->deadline_sum += by * deadline_share(root->expires_at);
}

static int
take_root(struct copy *c, const struct engine_key *k, const struct sett_salvage_entry *e)
{
	struct root root;
	struct sett_record record = record_of(e);
	int status = SETT_OK;
	if (c->epoch_count == 0 || c->epochs[c->epoch_count - 1].number != k->epoch)
		status = enter_epoch(c, k->epoch);
	if (status != SETT_OK)
		return status;
	struct epoch *epoch = &c->epochs[c->epoch_count - 1];
	if (!epoch->has_database && !c->adopts) {
		epoch->keys++;
		return SETT_OK;
	}
	if (root_parse(&record, &root) != SETT_OK) {
		c->run->figures->left_out++;
		salvage_tell(
			c->run,
			&(struct salvaged){
				.kind = SALVAGED_ODD, .db = epoch->db, .epoch = k->epoch, .name = k->name});
		return SETT_OK;
	}
	status = take(c, e);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_OK : status;
	c->run->figures->keys++;
	count_root(epoch, &root, 1);
	if (root.object == 0)
		return SETT_OK;
	status = grow((void **)&c->objects, c->object_count, &c->object_capacity, sizeof(*c->objects));
	if (status == SETT_OK)
		c->objects[c->object_count++] =
			(struct object){k->epoch, root.object, e->timestamp, hash64_bytes(e->key, 0)};
	if (root.object != UINT64_MAX && root.object >= c->next_object)
		c->next_object = root.object + 1;
	return status;
}

/* ---- which object is whose ---- */

static int
compare_objects(const void *a, const void *b)
{
	const struct object *x = a, *y = b;
	if (x->epoch != y->epoch)
		return x->epoch < y->epoch ? -1 : 1;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->timestamp > y->timestamp ? -1 : x->timestamp < y->timestamp; /* the newest first */
}

static const struct object *
find_object(const struct copy *c, uint64_t epoch, uint64_t id)
{
	size_t low = 0, high = c->object_count;
	const struct object wanted = {.epoch = epoch, .id = id, .timestamp = UINT64_MAX};
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (compare_objects(&c->objects[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	const struct object *found = &c->objects[low];
	return low < c->object_count && found->epoch == epoch && found->id == id ? found : NULL;
}

static struct epoch *
find_epoch(struct copy *c, uint64_t number)
{
	for (size_t i = 0; i < c->epoch_count; i++)
		if (c->epochs[i].number == number)
			return &c->epochs[i];
	return NULL;
}

/* A root that has given its object to another (RENAME) came back: it goes, its elements stay. */
static int
remove_stale(struct copy *c, struct bytes key, const struct sett_record *record)
{
	struct engine_key k = keyspace_describe_key(key);
	struct root root;
	int status = root_parse(record, &root);
	if (status != SETT_OK || root.object == 0)
		return status;
	const struct object *owner = find_object(c, k.epoch, root.object);
	if (owner == NULL || owner->root == hash64_bytes(key, 0))
		return SETT_OK;
	struct epoch *epoch = find_epoch(c, k.epoch);
	count_root(epoch, &root, -1);
	c->run->figures->keys--;
	c->run->figures->left_out++;
	salvage_tell(c->run,
		     &(struct salvaged){
			     .kind = SALVAGED_STALE, .db = epoch->db, .epoch = k.epoch, .name = k.name});
	return sett_txn_delete(c->txn, key);
}

static int
remove_all_stale(struct copy *c)
{
	static const uint8_t low[] = {KIND_ROOT}, high[] = {KIND_ELEMENT};
	const struct sett_iterator_options options = {.lower = bytes_of(low, sizeof(low)),
						      .upper = bytes_of(high, sizeof(high)),
						      .is_committed = true};
	struct sett_iterator *iterator;
	int status = begin(c);
	if (status == SETT_OK)
		status = sett_iterator_open(c->txn, &options, &iterator);
	if (status != SETT_OK)
		return status;
	for (status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator)) {
		struct sett_record record;
		struct sett_read_mark mark = sett_txn_read_mark(c->txn);
		status = sett_iterator_record(iterator, &record);
		if (status == SETT_OK)
			status = remove_stale(c, sett_iterator_key(iterator), &record);
		if (status != SETT_OK)
			break;
		sett_txn_forget_reads(c->txn, &mark);
	}
	sett_iterator_close(iterator);
	return status == SETT_NOT_FOUND ? commit(c) : status;
}

/* All roots were met. */
static int
settle_objects(struct copy *c)
{
	bool has_stale = false;
	c->are_settled = true;
	if (c->object_count > 1)
		qsort(c->objects, c->object_count, sizeof(*c->objects), compare_objects);
	for (size_t i = 1; i < c->object_count; i++)
		has_stale |= c->objects[i].epoch == c->objects[i - 1].epoch &&
			c->objects[i].id == c->objects[i - 1].id;
	int status = commit(c);
	return status == SETT_OK && has_stale ? remove_all_stale(c) : status;
}

/* ---- elements ---- */

static void
leave_object(struct copy *c)
{
	if (!c->has_present || c->present != NULL)
		return;
	c->run->figures->orphans += c->present_entries;
	salvage_tell(c->run,
		     &(struct salvaged){.kind = SALVAGED_ORPHANS,
					.epoch = c->present_epoch,
					.object = c->present_id,
					.has = c->present_entries});
}

static int
take_element(struct copy *c, const struct engine_key *k, const struct sett_salvage_entry *e)
{
	int status = c->are_settled ? SETT_OK : settle_objects(c);
	if (status != SETT_OK)
		return status;
	if (!c->has_present || c->present_epoch != k->epoch || c->present_id != k->object) {
		leave_object(c);
		c->present = find_object(c, k->epoch, k->object);
		c->present_epoch = k->epoch;
		c->present_id = k->object;
		c->present_entries = 0;
		c->has_present = true;
	}
	c->present_entries++;
	if (k->object != UINT64_MAX && k->object >= c->next_object)
		c->next_object = k->object + 1;
	if (c->present == NULL)
		return SETT_OK;
	status = take(c, e);
	c->run->figures->elements += status == SETT_OK;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* ---- what counts it all ---- */

/* Databases that there are: more than LEAST_DATABASES only if an entry says so. */
static unsigned
count_databases(const struct copy *c)
{
	unsigned count = LEAST_DATABASES;
	for (size_t i = 0; i < c->database_count; i++)
		if (c->databases[i].db < NUMBERED_DATABASES && c->databases[i].db >= count)
			count = c->databases[i].db + 1;
	return count;
}

/* Whether the database has an entry that leads to keys. */
static bool
has_keys(struct copy *c, unsigned db)
{
	for (size_t i = 0; i < c->database_count; i++) {
		const struct epoch *e = find_epoch(c, c->databases[i].epoch);
		if (c->databases[i].db == db && e != NULL && e->keys > 0)
			return true;
	}
	return false;
}

/* A database for an epoch that has none: that which it was made for, if there is such a one and nobody else has that, or
 * the first that has no entry or whose entry leads to no key. By its number an epoch after a flush is of no database. */
static unsigned
choose_database(struct copy *c, uint64_t epoch)
{
	unsigned db = 0;
	if (epoch - 1 < count_databases(c) && !has_entry(c, (unsigned)(epoch - 1)))
		return (unsigned)(epoch - 1);
	while (has_keys(c, db))
		db++;
	return db;
}

/* In the place of the entry that there is. */
static int
enter_database(struct copy *c, unsigned db, uint64_t epoch)
{
	for (size_t i = 0; i < c->database_count; i++) {
		if (c->databases[i].db != db)
			continue;
		c->databases[i].epoch = epoch;
		return SETT_OK;
	}
	int status =
		grow((void **)&c->databases, c->database_count, &c->database_capacity, sizeof(*c->databases));
	if (status == SETT_OK)
		c->databases[c->database_count++] = (struct database_entry){db, epoch};
	return status;
}

static int
settle_epochs(struct copy *c)
{
	int status = SETT_OK;
	for (size_t i = 0; status == SETT_OK && i < c->epoch_count; i++) {
		struct epoch *e = &c->epochs[i];
		struct salvaged s = {.kind = SALVAGED_HOMELESS, .epoch = e->number, .has = (uint64_t)e->keys};
		if (e->has_database || e->keys == 0)
			continue;
		if (c->adopts) {
			s.kind = SALVAGED_ADOPTED;
			s.db = e->db = choose_database(c, e->number);
			e->has_database = true;
			status = enter_database(c, e->db, e->number);
		}
		salvage_tell(c->run, &s);
	}
	return status;
}

static int
put_database(struct copy *c, const struct database_entry *d)
{
	uint8_t key[6] = {KIND_META, 'e'};
	if (d->epoch < EPOCHS_BY_DATABASE && d->epoch >= c->next_epoch)
		c->next_epoch = d->epoch + 1;
	if (d->db >= MOST_DATABASES)
		return SETT_OK;
	if (d->db >= c->run->databases)
		c->run->databases = d->db + 1;
	if (d->db >= NUMBERED_DATABASES) {
		put_be32(key + 2, d->db);
		return put_number(c, bytes_of(key, 6), d->epoch);
	}
	key[2] = (uint8_t)(d->db >> 8);
	key[3] = (uint8_t)d->db;
	return put_number(c, bytes_of(key, 4), d->epoch);
}

static int
add_counters(struct copy *c, const struct epoch *e)
{
	int status = begin(c);
	if (!e->has_database)
		return status;
	if (e->number < EPOCHS_BY_DATABASE && e->number >= c->next_epoch)
		c->next_epoch = e->number + 1;
	if (e->db >= c->run->databases)
		c->run->databases = e->db + 1;
	if (status == SETT_OK)
		status = sett_txn_counter_add(c->txn, keys_counter(e->number), e->keys);
	if (status == SETT_OK && e->deadlines != 0)
		status = sett_txn_counter_add(c->txn, deadlines_counter(e->number), e->deadlines);
	if (status == SETT_OK && e->due != 0)
		status = sett_txn_counter_add(c->txn, due_counter(e->number), e->due);
	if (status == SETT_OK && e->deadline_sum != 0)
		status = sett_txn_counter_add(c->txn, deadline_sum_counter(e->number), e->deadline_sum);
	return status;
}

static int
put_libraries(struct copy *c)
{
	static const uint8_t key[] = {KIND_META, 'l'};
	uint8_t head[24];
	if (c->run->figures->libraries == 0)
		return SETT_OK;
	put_le64(head, c->run->figures->libraries);
	put_le64(head + 8, c->functions);
	put_le64(head + 16, c->library_bytes);
	return put(c, bytes_of(key, sizeof(key)), &(struct sett_put){.head = bytes_of(head, sizeof(head))},
		   0);
}

static int
finish(struct copy *c)
{
	static const uint8_t epoch_key[] = {KIND_META, 'n'}, object_key[] = {KIND_META, 'o'};
	leave_object(c);
	if (!c->has_seed) /* members are found by another one then: all are put anew */
		c->run->lost.any = true;
	int status = c->are_settled ? SETT_OK : settle_objects(c);
	if (status == SETT_OK)
		status = settle_epochs(c);
	for (size_t i = 0; status == SETT_OK && i < c->database_count; i++)
		status = put_database(c, &c->databases[i]);
	for (size_t i = 0; status == SETT_OK && i < c->epoch_count; i++)
		status = add_counters(c, &c->epochs[i]);
	if (status == SETT_OK)
		status = put_libraries(c);
	if (status == SETT_OK)
		status = put_number(c, bytes_of(epoch_key, sizeof(epoch_key)), c->next_epoch);
	if (status == SETT_OK)
		status = put_number(c, bytes_of(object_key, sizeof(object_key)), c->next_object);
	return status == SETT_OK ? commit(c) : status;
}

/* ---- the whole ---- */

static void
on_finding(void *arg, const struct sett_salvage_finding *f)
{
	struct salvage_run *run = arg;
	if (lost_ranges_add(&run->lost, f) != SETT_OK)
		run->lost.any = true;
	if (run->options->on_finding != NULL)
		run->options->on_finding(run->options->arg, f);
}

static void
on_progress(void *arg, uint64_t done, uint64_t total)
{
	const struct salvage_options *o = ((struct salvage_run *)arg)->options;
	if (o->on_progress != NULL)
		o->on_progress(o->arg, done, total);
}

static bool
should_stop(void *arg)
{
	const struct salvage_options *o = ((struct salvage_run *)arg)->options;
	return o->should_stop != NULL && o->should_stop(o->arg);
}

static int
take_entry(struct copy *c, const struct sett_salvage_entry *e)
{
	struct engine_key k = keyspace_describe_key(e->key);
	switch (k.kind) {
	case ENGINE_KEY_ROOT:
		c->has_own = true;
		return take_root(c, &k, e);
	case ENGINE_KEY_ELEMENT:
		c->has_own = true;
		return take_element(c, &k, e);
	case ENGINE_KEY_OTHER:
		c->run->figures->strangers++;
		return SETT_OK;
	default:
		c->has_own = true;
		return take_meta(c, &k, e);
	}
}

static int
copy_all(struct copy *c)
{
	struct sett_salvage_entry e;
	int status;
	while ((status = sett_salvage_next(c->salvage, &e, c->run->error)) == SETT_OK) {
		status = take_entry(c, &e);
		if (status != SETT_OK)
			return status;
	}
	if (status == SETT_NOT_FOUND && c->run->figures->strangers > 0 && !c->has_own)
		return sett_error_set(c->run->error, SETT_INVALID, 0,
				      "%s: none of its %" PRIu64
				      " keys is one that a server writes: it is another program's database",
				      c->run->options->directory, c->run->figures->strangers);
	return status == SETT_NOT_FOUND ? finish(c) : status;
}

int
salvage_copy(struct salvage_run *run)
{
	const struct sett_salvage_options options = {.vfs = run->options->vfs,
						     .on_finding = on_finding,
						     .on_progress = on_progress,
						     .should_stop = should_stop,
						     .arg = run};
	struct copy c = {.run = run, .next_epoch = 1, .next_object = 1, .piece = malloc(PIECE)};
	run->databases = LEAST_DATABASES;
	int status = c.piece != NULL ? sett_txn_create(run->options->engine, &c.txn) : SETT_NO_MEMORY;
	if (status == SETT_OK)
		status = sett_salvage_open(run->options->directory, &options, &c.salvage, run->error);
	if (status == SETT_OK)
		status = copy_all(&c);
	if (status == SETT_OK)
		sett_salvage_figures(c.salvage, &run->figures->files);
	if (status != SETT_OK)
		status = salvage_failed(run, status, c.txn);
	sett_txn_destroy(c.txn);
	sett_salvage_close(c.salvage);
	free(c.databases);
	free(c.epochs);
	free(c.objects);
	free(c.piece);
	return status;
}

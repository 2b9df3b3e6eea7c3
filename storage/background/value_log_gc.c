/* Value-log garbage collection: accounting, marking, moving.
 *
 * Invariants:
 *  1. Values move within compaction, in key order, and the moved pointer keeps its key and commit
 *     timestamp: GC writes nothing through the top of the tree, so a deleted key cannot come back and no
 *     commit sees it.
 *  2. What is counted as garbage is a lower bound where a pointer stands in two tables; a file goes only when
 *     nothing refers to it, so a wrong estimate costs work, never a value.
 *  3. A marked file is worth emptying: at least a share of it is garbage. Moving writes each live value
 *     once into files without garbage, so every finished batch lowers the sum: the work comes to an end.
 *  4. The new files are synced before the edit that points at them (I10). */
#include "value_log_gc.h"

#include <assert.h>
#include <inttypes.h>

/* A file with less garbage than a twentieth, or than a block, stays as it is: headers alone are that much. */
enum { MINIMUM_SHARE = 20, MINIMUM_GARBAGE = 4096 };

/* ---- accounting ---- */

struct collector {
	struct gc_account account;
	size_t capacity;
	bool failed;
};

static void
collect_file(void *arg, const struct value_log_file_info *info)
{
	struct collector *c = arg;
	if (c->account.count == c->capacity) {
		size_t capacity = c->capacity ? c->capacity * 2 : 64;
		void *p = reallocarray(c->account.files, capacity, sizeof(*c->account.files));
		if (!p) {
			c->failed = true;
			return;
		}
		c->account.files = p;
		c->capacity = capacity;
	}
	c->account.files[c->account.count++] = (struct gc_file){
		.number = info->number,
		.size = info->size,
		.promised = info->promised,
		.sealed = info->sealed,
		.by_commits = info->written_by_commits,
	};
}

static struct gc_file *
find_file(const struct gc_account *a, uint64_t number)
{
	size_t low = 0, high = a->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (a->files[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low < a->count && a->files[low].number == number ? &a->files[low] : NULL;
}

static void
count_references(struct gc_account *a, const struct version *v)
{
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		for (size_t i = 0; i < v->levels[l].count; i++) {
			const struct table_properties *p = v->levels[l].tables[i]->properties;
			for (size_t k = 0; k < p->reference_count; k++) {
				struct gc_file *f = find_file(a, p->references[k].file);
				if (f)
					f->referenced += p->references[k].bytes;
			}
		}
	}
}

uint64_t
gc_file_garbage(const struct gc_file *f)
{
	uint64_t used = f->referenced + f->unflushed + f->promised;
	return used < f->size ? f->size - used : 0;
}

/* Memtables hold the newest commits: what they point at is laid to the newest files that commits wrote. */
static void
lay_unflushed(struct gc_account *a, uint64_t memtable_bytes)
{
	for (size_t i = a->count; i > 0; i--) {
		struct gc_file *f = &a->files[i - 1];
		uint64_t room = f->referenced < f->size ? f->size - f->referenced : 0;
		if (!f->by_commits)
			continue;
		f->unflushed = room < memtable_bytes ? room : memtable_bytes;
		memtable_bytes -= f->unflushed;
	}
}

int
gc_account_make(struct value_log *log, const struct version *v, uint64_t memtable_bytes,
		struct gc_account *ret)
{
	struct collector c = {0};
	value_log_each_file(log, collect_file, &c);
	if (c.failed) {
		gc_account_free(&c.account);
		return SETT_NO_MEMORY;
	}
	count_references(&c.account, v);
	lay_unflushed(&c.account, memtable_bytes);
	for (size_t i = 0; i < c.account.count; i++) {
		const struct gc_file *f = &c.account.files[i];
		if (f->sealed && f->referenced > 0)
			c.account.garbage += gc_file_garbage(f);
	}
	*ret = c.account;
	return SETT_OK;
}

void
gc_account_free(struct gc_account *a)
{
	free(a->files);
	*a = (struct gc_account){0};
}

/* ---- marks ---- */

static bool
is_worth_it(const struct gc_file *f, const struct gc_marks *avoid)
{
	uint64_t garbage = gc_file_garbage(f);
	return f->sealed && f->referenced > 0 && garbage >= MINIMUM_GARBAGE &&
		garbage >= f->size / MINIMUM_SHARE && !gc_marks_has(avoid, f->number);
}

/* By falling share of garbage. */
static int
compare_shares(const void *a, const void *b)
{
	const struct gc_file *x = *(const struct gc_file *const *)a, *y = *(const struct gc_file *const *)b;
	double p = (double)gc_file_garbage(x) / (double)x->size,
	       q = (double)gc_file_garbage(y) / (double)y->size;
	if (p != q)
		return p > q ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static int
compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static struct gc_marks *
marks_allocate(size_t capacity)
{
	struct gc_marks *m = calloc(1, sizeof(*m) + capacity * sizeof(m->files[0]));
	if (m)
		m->references = 1;
	return m;
}

int
gc_marks_choose(const struct gc_account *a, uint64_t wanted, uint64_t live_limit,
		const struct gc_marks *avoid, struct gc_marks **ret)
{
	const struct gc_file **worth = calloc(a->count + 1, sizeof(*worth));
	struct gc_marks *m = marks_allocate(a->count);
	if (!worth || !m) {
		free(worth);
		free(m);
		return SETT_NO_MEMORY;
	}
	size_t count = 0;
	for (size_t i = 0; i < a->count; i++) {
		if (is_worth_it(&a->files[i], avoid))
			worth[count++] = &a->files[i];
	}
	qsort(worth, count, sizeof(*worth), compare_shares);
	uint64_t garbage = 0, live = 0;
	for (size_t i = 0; i < count && garbage < wanted; i++) {
		live += worth[i]->referenced;
		if (i > 0 && live > live_limit)
			break;
		garbage += gc_file_garbage(worth[i]);
		m->files[m->count++] = worth[i]->number;
	}
	free(worth);
	if (m->count == 0) {
		free(m);
		return SETT_NOT_FOUND;
	}
	qsort(m->files, m->count, sizeof(m->files[0]), compare_numbers);
	*ret = m;
	return SETT_OK;
}

int
gc_marks_older(struct value_log *log, uint64_t below, const struct gc_marks *avoid, struct gc_marks **ret)
{
	struct collector c = {0};
	value_log_each_file(log, collect_file, &c);
	struct gc_marks *m = c.failed ? NULL : marks_allocate(c.account.count);
	for (size_t i = 0; m && i < c.account.count; i++) { /* by number */
		const struct gc_file *f = &c.account.files[i];
		if (f->sealed && f->number < below && !gc_marks_has(avoid, f->number))
			m->files[m->count++] = f->number;
	}
	gc_account_free(&c.account);
	if (!m)
		return SETT_NO_MEMORY;
	*ret = m;
	return SETT_OK;
}

int
gc_marks_with(const struct gc_marks *from, uint64_t file, struct gc_marks **ret)
{
	size_t count = from ? from->count : 0;
	struct gc_marks *m = marks_allocate(count + 1);
	if (!m)
		return SETT_NO_MEMORY;
	if (count)
		memcpy(m->files, from->files, count * sizeof(m->files[0]));
	m->files[count] = file;
	m->count = count + 1;
	qsort(m->files, m->count, sizeof(m->files[0]), compare_numbers);
	*ret = m;
	return SETT_OK;
}

struct gc_marks *
gc_marks_retain(struct gc_marks *m)
{
	if (m) /* relaxed: the caller holds a reference */
		__atomic_fetch_add(&m->references, 1, __ATOMIC_RELAXED);
	return m;
}

void
gc_marks_release(struct gc_marks *m)
{
	/* acq_rel: the last one to let go sees all that the others did */
	if (m && __atomic_fetch_sub(&m->references, 1, __ATOMIC_ACQ_REL) == 1)
		free(m);
}

bool
gc_marks_has(const struct gc_marks *m, uint64_t file)
{
	return m && bsearch(&file, m->files, m->count, sizeof(m->files[0]), compare_numbers) != NULL;
}

uint64_t
gc_marks_bytes_of(const struct gc_marks *m, const struct table_file *f)
{
	uint64_t bytes = 0;
	if (!m)
		return 0;
	for (size_t i = 0; i < f->properties->reference_count; i++) {
		if (gc_marks_has(m, f->properties->references[i].file))
			bytes += f->properties->references[i].bytes;
	}
	return bytes;
}

/* ---- moving ---- */

static int
ensure_writer(struct gc_mover *m, struct sett_error *error)
{
	int r = m->writer ? SETT_OK : value_log_writer_create(m->value_log, &m->writer);
	if (r == SETT_OK)
		return r;
	m->writer = NULL;
	return sett_error_set(error, r, 0, "value log: cannot begin a file for moved values");
}

/* Out of the entry into a file of the mover's: `e` gets the pointer. */
static int
put_out(struct gc_mover *m, struct entry *e, struct sett_error *error)
{
	int r = ensure_writer(m, error);
	if (r == SETT_OK)
		r = value_log_writer_add(m->writer, e->body, &e->pointer, error);
	if (r != SETT_OK)
		return r;
	e->kind = ENTRY_POINTER;
	m->moved_bytes += e->pointer.stored_size;
	return SETT_OK;
}

/* Out of its file: to another one, or into the entry if it is small. */
static int
move_body(struct gc_mover *m, struct entry *e, struct sett_error *error)
{
	if (e->pointer.body_size >= m->threshold) {
		struct value_pointer from = e->pointer;
		int r = ensure_writer(m, error);
		if (r == SETT_OK)
			r = value_log_writer_copy(m->writer, &from, &e->pointer, error);
		if (r == SETT_OK)
			m->moved_bytes += e->pointer.stored_size;
		return r;
	}
	buffer_clear(&m->body);
	int r = value_log_read(m->value_log, &e->pointer, 0, &m->body, error);
	if (r != SETT_OK)
		return r;
	e->kind = ENTRY_INLINE;
	e->body = buffer_bytes(&m->body);
	return SETT_OK;
}

static bool
is_marked(struct gc_mover *m, uint64_t file)
{
	size_t place = file % KNOWN_FILES;
	if (m->known[place].file != file) {
		m->known[place].file = file;
		m->known[place].is_marked = gc_marks_has(m->marks, file);
	}
	return m->known[place].is_marked;
}

/* Whether the entry's body should lie elsewhere. */
static bool
is_misplaced(struct gc_mover *m, const struct entry *e)
{
	if (e->kind == ENTRY_INLINE)
		return e->body.size >= m->threshold;
	return e->kind == ENTRY_POINTER &&
		(e->pointer.body_size < m->threshold || is_marked(m, e->pointer.file));
}

static int
encode(struct gc_mover *m, const struct entry *e, struct bytes *ret_value, struct sett_error *error)
{
	buffer_clear(&m->entry);
	if (buffer_reserve(&m->entry, entry_encoded_size(e)) != SETT_OK)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	m->entry.size = (size_t)(entry_encode(e, m->entry.data) - m->entry.data);
	*ret_value = buffer_bytes(&m->entry);
	return SETT_OK;
}

int
gc_mover_take(struct gc_mover *m, struct bytes value, struct bytes *ret_value, struct sett_error *error)
{
	struct entry e;
	unsigned kind = value.size > 0 ? value.data[0] & ENTRY_KIND_MASK : ENTRY_TOMBSTONE;
	*ret_value = value;
	if (kind == ENTRY_TOMBSTONE || (kind == ENTRY_INLINE && value.size < m->threshold))
		return SETT_OK;
	int r = entry_decode(value, &e);
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "a table entry makes no sense");
	if (!is_misplaced(m, &e))
		return SETT_OK;
	if (e.kind == ENTRY_INLINE) {
		r = put_out(m, &e, error);
		return r == SETT_OK ? encode(m, &e, ret_value, error) : r;
	}
	uint64_t file = e.pointer.file;
	r = move_body(m, &e, error);
	if (r == SETT_CORRUPT || r == SETT_NOT_FOUND) {
		log_sink_printf(&m->sink, LOG_LEVEL_WARNING,
				"value log: a value in file %" PRIu64 " is damaged%s%s", file,
				error ? ": " : "", error ? error->message : "");
		m->unreadable = file;
		return SETT_OK;
	}
	return r == SETT_OK ? encode(m, &e, ret_value, error) : r;
}

int
gc_mover_finish(struct gc_mover *m, struct sett_error *error)
{
	return m->writer ? value_log_writer_finish(m->writer, error) : SETT_OK;
}

void
gc_mover_free(struct gc_mover *m)
{
	if (m->writer)
		value_log_writer_destroy(m->writer);
	buffer_free(&m->body);
	buffer_free(&m->entry);
	m->writer = NULL;
}

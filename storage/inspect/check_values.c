/* Whether every pointer leads to a whole value, and what else stands in the value log.
 *
 * Pointers of tables are held until there are many, and read in the order of the files: a table is in key
 * order, its values in the order they were written. Then each file is walked from front to back, past the
 * values that no key needs any more: damage there takes nothing away, but says something of the disk, so it
 * is a note. */
#include "check.h"

#include <stdlib.h>

#include "value_log_format.h"
#include "value_walk.h"

enum {
	HELD_MAX = 1 << 18,
	HELD_KEYS_MAX = 32 << 20, /* bytes */
	GAPS_TOLD = 8,            /* of one file */
	READ_WHOLE = 1 << 20,     /* stored bytes; larger values are read in pieces */
};

int
check_values_open(struct check *c)
{
	const struct found_files *files = &c->directory.value_files;
	struct value_log_options options = {.vfs = c->directory.vfs, .directory = c->directory.path};
	struct sett_error error = {0};
	c->is_referenced = calloc(files->count + 1, sizeof(*c->is_referenced));
	if (!c->is_referenced)
		return check_no_memory(c);
	int r = value_log_open(&options, &c->values, &error);
	if (r == SETT_NO_MEMORY)
		return check_no_memory(c);
	if (r != SETT_OK)
		check_find(c, SETT_DAMAGE, "", (struct bytes){0}, error.message);
	return SETT_OK;
}

void
check_values_close(struct check *c)
{
	value_log_close(c->values);
	free(c->is_referenced);
	free(c->held);
	free(c->lost);
	buffer_free(&c->keys);
	buffer_free(&c->body);
}

void
check_values_reference(struct check *c, uint64_t file)
{
	const struct found_files *files = &c->directory.value_files;
	const struct found_file *found = found_files_find(files, file);
	if (found)
		c->is_referenced[found - files->files] = true;
}

/* ---- pointers ---- */

int
check_values_read(struct check *c, const struct value_pointer *pointer, struct sett_error *error)
{
	if (!c->values)
		return SETT_OK; /* told already */
	buffer_clear(&c->body);
	int r = pointer->stored_size > READ_WHOLE ? value_log_verify(c->values, pointer, error)
						  : value_log_read(c->values, pointer, 0, &c->body, error);
	if (r == SETT_NO_MEMORY)
		return check_no_memory(c);
	c->figures->values += r == SETT_OK;
	return r == SETT_OK ? r : SETT_NOT_FOUND;
}

int
check_values_lose(struct check *c, const struct value_pointer *pointer, const char *holder, struct bytes key,
		  const struct sett_error *why)
{
	char name[CHECK_NAME_MAX], text[sizeof(why->message) + 64];
	check_file_name(pointer->file, VALUE_LOG_SUFFIX, name);
	snprintf(text, sizeof(text), "%s; needed by %s", why->message, holder);
	check_find(c, SETT_DAMAGE, name, key, text);
	if (!array_grow((void **)&c->lost, c->lost_count, &c->lost_capacity, sizeof(*c->lost)))
		return check_no_memory(c);
	c->lost[c->lost_count++] = (struct value_place){pointer->file, pointer->offset};
	return SETT_OK;
}

int
check_values_hold(struct check *c, const struct value_pointer *pointer, uint64_t table, struct bytes key)
{
	if (c->held_count == HELD_MAX || c->keys.size > HELD_KEYS_MAX) {
		int r = check_values_read_held(c);
		if (r != SETT_OK)
			return r;
	}
	if (!array_grow((void **)&c->held, c->held_count, &c->held_capacity, sizeof(*c->held)) ||
	    buffer_append(&c->keys, key.data, key.size) != SETT_OK)
		return check_no_memory(c);
	c->held[c->held_count++] = (struct held_pointer){*pointer, table, c->keys.size - key.size, key.size};
	return SETT_OK;
}

static int
compare_pointers(const void *a, const void *b)
{
	const struct value_pointer *x = &((const struct held_pointer *)a)->pointer;
	const struct value_pointer *y = &((const struct held_pointer *)b)->pointer;
	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

int
check_values_read_held(struct check *c)
{
	int r = SETT_OK;
	if (c->held_count > 1)
		qsort(c->held, c->held_count, sizeof(*c->held), compare_pointers);
	for (size_t i = 0; r == SETT_OK && i < c->held_count; i++) {
		const struct held_pointer *h = &c->held[i];
		struct sett_error error = {0};
		char holder[CHECK_NAME_MAX];
		r = check_values_read(c, &h->pointer, &error);
		check_progress(c, h->pointer.stored_size);
		if (c->is_stopped)
			return check_aborted(c);
		if (r != SETT_NOT_FOUND)
			continue;
		check_file_name(h->table, ".sst", holder);
		r = check_values_lose(c, &h->pointer, holder, bytes_of(c->keys.data + h->key, h->key_size),
				      &error);
	}
	c->held_count = 0;
	buffer_clear(&c->keys);
	return r;
}

/* ---- files from front to back ---- */

struct walked {
	struct check *check;
	struct found_file *file;
	char name[CHECK_NAME_MAX];
	uint64_t gaps;
};

static int
walk_record(void *arg, uint64_t offset, uint64_t size, uint32_t flags, struct bytes payload)
{
	struct walked *w = arg;
	w->check->figures->stored_values++;
	check_progress(w->check, size);
	return w->check->is_stopped ? SETT_ABORTED : SETT_OK;
}

/* Whether what is damaged between the two offsets was told of already, because a key needs it. */
static bool
is_lost(const struct check *c, uint64_t file, uint64_t from, uint64_t to)
{
	for (size_t i = 0; i < c->lost_count; i++) {
		if (c->lost[i].file == file && c->lost[i].offset >= from && c->lost[i].offset < to)
			return true;
	}
	return false;
}

static int
walk_gap(void *arg, uint64_t offset, uint64_t size, const char *what)
{
	struct walked *w = arg;
	char text[SETT_PATH_MAX + 128];
	check_progress(w->check, size);
	if (is_lost(w->check, w->file->number, offset, offset + size) || w->gaps++ >= GAPS_TOLD)
		return SETT_OK;
	snprintf(text, sizeof(text), "%s/%s at offset %" PRIu64 ": %" PRIu64 " bytes that no key needs: %s",
		 w->check->directory.path, w->name, offset, size, what);
	check_find(w->check, SETT_NOTE, w->name, (struct bytes){0}, text);
	return SETT_OK;
}

static int
walk_header(void *arg, const char *what)
{
	struct walked *w = arg;
	const struct found_files *files = &w->check->directory.value_files;
	bool is_needed = w->check->is_referenced[w->file - files->files];
	char text[SETT_PATH_MAX + 128];
	snprintf(text, sizeof(text), "%s/%s at offset 0: %s", w->check->directory.path, w->name, what);
	check_find(w->check, is_needed ? SETT_DAMAGE : SETT_NOTE, w->name, (struct bytes){0}, text);
	return SETT_OK;
}

static int
walk_file(struct check *c, size_t index)
{
	char path[SETT_PATH_MAX], text[SETT_PATH_MAX + 128];
	struct walked w = {.check = c, .file = &c->directory.value_files.files[index]};
	struct value_walk walk = {walk_record, walk_gap, walk_header, &w};
	struct sett_error error = {0};
	check_file_name(w.file->number, VALUE_LOG_SUFFIX, w.name);
	int r = file_name_make(c->directory.path, w.file->number, VALUE_LOG_SUFFIX, path);
	if (r == SETT_OK)
		r = value_walk(c->directory.vfs, path, w.file->number, &walk, &error);
	if (r == SETT_NO_MEMORY)
		return check_no_memory(c);
	if (r == SETT_ABORTED)
		return check_aborted(c);
	if (r != SETT_OK)
		check_find(c, SETT_DAMAGE, w.name, (struct bytes){0}, error.message);
	if (w.gaps > GAPS_TOLD) {
		snprintf(text, sizeof(text), "%s: %" PRIu64 " more such places", path, w.gaps - GAPS_TOLD);
		check_find(c, SETT_NOTE, w.name, (struct bytes){0}, text);
	}
	if (c->is_whole && !c->is_referenced[index]) {
		snprintf(text, sizeof(text), "%s: no key needs it; the next start removes it", path);
		check_find(c, SETT_NOTE, w.name, (struct bytes){0}, text);
	}
	return SETT_OK;
}

int
check_values_walk(struct check *c)
{
	int r = SETT_OK;
	for (size_t i = 0; r == SETT_OK && i < c->directory.value_files.count; i++)
		r = walk_file(c, i);
	return r;
}

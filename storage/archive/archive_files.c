/* Reading an archive.
 *
 * A file of a chain begins behind a commit that the one before it has, so whatever stands behind the last whole block of
 * a file is of no meaning: a failed write, a power cut, or damage. If it was damage, the next file begins later than the
 * last whole commit, and that is a gap. What the next file repeats is passed over. Behind the last file nothing
 * begins: `look_at_tails` tells what it can.
 *
 * Every length read from a file is checked against the file's size before it is used. */
#include "archive_files.h"

#include <assert.h>
#include <stdlib.h>

/* ---- the list ---- */

static int
read_header(struct vfs *vfs, const char *path, struct archive_file *f, struct sett_error *error)
{
	uint8_t bytes[ARCHIVE_HEADER_SIZE];
	struct vfs_file *file;
	uint32_t version;
	uint64_t number = f->header.number;
	int r = vfs_open(vfs, path, VFS_READ, &file, error);
	if (r != SETT_OK)
		return r;
	r = vfs_size(file, &f->size, error);
	f->is_unreadable = f->size < ARCHIVE_HEADER_SIZE;
	if (r == SETT_OK && !f->is_unreadable)
		r = vfs_read_exact(file, bytes, sizeof(bytes), 0, 0, error);
	(void)vfs_close(file, NULL); /* it was only read */
	if (r != SETT_OK || f->is_unreadable)
		return r;
	f->is_unreadable = !archive_header_decode(bytes, &version, &f->header) || f->header.number != number;
	if (!f->is_unreadable && version != ARCHIVE_VERSION)
		return sett_error_set(error, SETT_CORRUPT, 0,
				      "%s at offset 0: an archive of another version than this program reads",
				      path);
	if (f->is_unreadable)
		f->header = (struct archive_header){.number = number};
	return SETT_OK;
}

int
archive_files_add(struct archive_files *list, const struct archive_file *f)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? 2 * list->capacity : 16;
		struct archive_file *grown = reallocarray(list->files, capacity, sizeof(*grown));
		if (!grown)
			return SETT_NO_MEMORY;
		list->files = grown;
		list->capacity = capacity;
	}
	assert(list->count < list->capacity);
	list->files[list->count++] = *f;
	list->bytes += f->size;
	return SETT_OK;
}

static int
note_name(void *arg, const char *name)
{
	struct archive_file f = {0};
	return file_name_parse(name, ARCHIVE_SUFFIX, &f.header.number) ? archive_files_add(arg, &f) : SETT_OK;
}

static int
compare_numbers(const void *a, const void *b)
{
	const struct archive_file *x = a, *y = b;
	return x->header.number < y->header.number ? -1 : x->header.number > y->header.number;
}

int
archive_files_list(struct vfs *vfs, const char *directory, struct archive_files *ret,
		   struct sett_error *error)
{
	struct archive_files list = {0};
	int r = vfs_list(vfs, directory, note_name, &list, error);
	if (r == SETT_NOT_FOUND)
		r = SETT_OK;
	if (r == SETT_NO_MEMORY)
		(void)sett_error_set(error, r, 0, "out of memory");
	if (list.count > 0)
		qsort(list.files, list.count, sizeof(*list.files), compare_numbers);
	for (size_t i = 0; r == SETT_OK && i < list.count; i++) {
		char path[SETT_PATH_MAX];
		r = file_name_make(directory, list.files[i].header.number, ARCHIVE_SUFFIX, path);
		if (r == SETT_OK)
			r = read_header(vfs, path, &list.files[i], error);
		list.bytes += list.files[i].size;
	}
	if (r != SETT_OK) {
		archive_files_free(&list);
		return r;
	}
	*ret = list;
	return SETT_OK;
}

void
archive_files_free(struct archive_files *list)
{
	free(list->files);
	*list = (struct archive_files){0};
}

/* ---- one file ---- */

int
archive_reader_open(struct archive_reader *reader, struct vfs *vfs, const char *directory,
		    const struct archive_header *h, struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	*reader = (struct archive_reader){.seed = archive_seed(h->chain, h->number),
					  .offset = ARCHIVE_HEADER_SIZE,
					  .number = h->number,
					  .chain = h->chain};
	int r = file_name_make(directory, h->number, ARCHIVE_SUFFIX, path);
	return r == SETT_OK ? file_window_open(&reader->bytes, vfs, path, error) : r;
}

void
archive_reader_close(struct archive_reader *reader)
{
	file_window_close(&reader->bytes);
	buffer_free(&reader->clear);
}

/* SETT_IO: the key is not there. What has a wrong seal is not what was written: damage, as everywhere. */
static int
decrypt(struct archive_reader *reader, const struct archive_block *b, uint64_t offset, struct bytes *payload)
{
	const char *why = "its seal is cut off";
	int r = SETT_CORRUPT;
	uint8_t also[20];
	if (payload->size >= SEAL_SIZE) {
		struct bytes sealed = bytes_of(payload->data, payload->size - SEAL_SIZE);
		struct seal_place place = archive_place_of(reader->number, reader->chain, offset, b, also);
		buffer_clear(&reader->clear);
		if (buffer_reserve(&reader->clear, sealed.size + 1) != SETT_OK)
			return SETT_NO_MEMORY;
		r = seal_open(reader->bytes.file->vfs->keys, &place, sealed, bytes_end(sealed),
			      reader->clear.data, &why);
		if (r == SETT_OK)
			*payload = bytes_of(reader->clear.data, sealed.size);
	}
	return r == SETT_OK
		? r
		: sett_error_set(reader->bytes.error, r, 0,
				 "%06" PRIu64 ARCHIVE_SUFFIX " of the archive at offset %" PRIu64 ": %s",
				 reader->number, offset, why);
}

int
archive_reader_next(struct archive_reader *reader, struct archive_block *ret, struct bytes *ret_payload)
{
	struct archive_block b;
	const uint8_t *p;
	uint64_t offset = reader->offset, size = reader->bytes.size, seed = reader->seed + offset;
	if (offset > size || size - offset < ARCHIVE_BLOCK_SIZE)
		return SETT_NOT_FOUND;
	int r = file_window_fetch(&reader->bytes, offset, ARCHIVE_BLOCK_SIZE, &p);
	if (r != SETT_OK)
		return r;
	if (!archive_block_decode(p, seed, &b) || b.size > size - offset - ARCHIVE_BLOCK_SIZE)
		return SETT_NOT_FOUND;
	r = file_window_fetch(&reader->bytes, offset, ARCHIVE_BLOCK_SIZE + (size_t)b.size, &p);
	if (r != SETT_OK)
		return r;
	struct bytes payload = bytes_of(p + ARCHIVE_BLOCK_SIZE, (size_t)b.size);
	if (hash64_bytes(payload, seed) != b.payload_checksum)
		return SETT_NOT_FOUND;
	assert(b.size <= size - offset - ARCHIVE_BLOCK_SIZE);
	reader->offset = offset + ARCHIVE_BLOCK_SIZE + b.size;
	if (b.kind & ARCHIVE_SEALED) {
		b.kind &= ~(uint32_t)ARCHIVE_SEALED;
		r = decrypt(reader, &b, offset, &payload);
		if (r != SETT_OK)
			return r;
	}
	*ret = b;
	*ret_payload = payload;
	return SETT_OK;
}

/* ---- a chain ---- */

struct walk {
	struct vfs *vfs;
	const char *directory;
	const struct archive_visitor *visitor;
	struct archive_place place;
	/* where the file before this one ends, for the text */
	uint64_t ended_number, ended_offset, ended_size;
	struct sett_error *error;
};

static int
malformed(struct walk *w, const struct archive_header *h, uint64_t offset)
{
	return sett_error_set(w->error, SETT_CORRUPT, 0,
			      "%s/%06" PRIu64 ARCHIVE_SUFFIX " at offset %" PRIu64
			      ": a block that can't be one",
			      w->directory, h->number, offset);
}

static int
show_body(struct walk *w, const struct archive_block *b, struct bytes payload)
{
	uint64_t index, total;
	const uint8_t *end = payload.data + payload.size, *p = varint_get(payload.data, end, &index);
	if (p)
		p = varint_get(p, end, &total);
	if (!p)
		return SETT_CORRUPT;
	return w->visitor->body
		? w->visitor->body(w->visitor->arg, b->commit, index, total, bytes_of(p, (size_t)(end - p)))
		: SETT_OK;
}

static int
show_commit(struct walk *w, const struct archive_block *b, struct bytes payload)
{
	uint64_t now_ms;
	const uint8_t *end = payload.data + payload.size, *p = varint_get(payload.data, end, &now_ms);
	if (!p)
		return SETT_CORRUPT;
	assert(b->commit == w->place.commit + 1);
	w->place.commit = b->commit;
	w->place.time_ms = b->time_ms;
	if (now_ms > w->place.now_ms)
		w->place.now_ms = now_ms;
	if (b->time_ms > w->place.known_ms)
		w->place.known_ms = b->time_ms;
	struct archive_commit commit = {w->place, now_ms, bytes_of(p, (size_t)(end - p))};
	return w->visitor->commit(w->visitor->arg, &commit);
}

static int
show_block(struct walk *w, const struct archive_block *b, struct bytes payload)
{
	switch (b->kind) {
	case ARCHIVE_MARK:
		if (b->commit <= w->place.commit && b->time_ms > w->place.known_ms)
			w->place.known_ms = b->time_ms;
		return SETT_OK;
	case ARCHIVE_BODY:
		return b->commit == w->place.commit + 1 ? show_body(w, b, payload) : SETT_OK;
	case ARCHIVE_COMMIT:
		if (b->commit <= w->place.commit)
			return SETT_OK; /* the file before this one has it */
		return b->commit == w->place.commit + 1 ? show_commit(w, b, payload) : SETT_CORRUPT;
	default:
		return SETT_CORRUPT;
	}
}

static int
walk_file(struct walk *w, const struct archive_header *h)
{
	struct archive_reader reader;
	struct archive_block block;
	struct bytes payload;
	int r = archive_reader_open(&reader, w->vfs, w->directory, h, w->error);
	if (r != SETT_OK)
		return r;
	if (w->visitor->forget)
		w->visitor->forget(w->visitor->arg);
	while (r == SETT_OK) {
		uint64_t offset = reader.offset;
		r = archive_reader_next(&reader, &block, &payload);
		if (r != SETT_OK)
			break;
		w->error->message[0] = '\0';
		r = show_block(w, &block, payload);
		if (r == SETT_CORRUPT && w->error->message[0] == '\0')
			r = malformed(w, h, offset);
	}
	w->ended_number = h->number;
	w->ended_offset = reader.offset;
	w->ended_size = reader.bytes.size;
	archive_reader_close(&reader);
	return r == SETT_NOT_FOUND ? SETT_OK : r;
}

static int
gap(struct walk *w, const struct archive_header *next)
{
	const char *why = w->ended_offset < w->ended_size ? "is damaged at offset" : "ends at offset";
	return sett_error_set(w->error, SETT_CORRUPT, 0,
			      "%s: commits %" PRIu64 " to %" PRIu64 " are missing: %06" PRIu64 ARCHIVE_SUFFIX
			      " %s %" PRIu64 ", and %06" PRIu64 ARCHIVE_SUFFIX " begins behind them",
			      w->directory, w->place.commit + 1, next->after, w->ended_number, why,
			      w->ended_offset, next->number);
}

/* Blocks behind the place that are whole. A step ends in a mark and a sync, and nothing is written before that is done. So what
 * stands in front of a mark that another block follows was durable. */
static int
look_behind(struct archive_reader *reader, uint64_t offset, bool *ret_was_durable)
{
	bool has_mark = false;
	*ret_was_durable = false;
	reader->offset = offset;
	while (reader->offset < reader->bytes.size) {
		struct archive_block block;
		struct bytes payload;
		int r = archive_reader_next(reader, &block, &payload);
		if (r == SETT_OK && has_mark) {
			*ret_was_durable = true;
			return SETT_OK;
		}
		if (r == SETT_OK)
			has_mark = block.kind == ARCHIVE_MARK;
		else if (r == SETT_NOT_FOUND)
			reader->offset++;
		else
			return r;
	}
	return SETT_OK;
}

/* What was damaged is told rather than what may have been cut short. */
static int
look_at_tail(struct walk *w, const struct archive_header *h, uint64_t offset, struct archive_tail *tail)
{
	struct archive_reader reader;
	bool was_durable;
	int r = archive_reader_open(&reader, w->vfs, w->directory, h, w->error);
	if (r != SETT_OK)
		return r;
	uint64_t size = reader.bytes.size;
	r = look_behind(&reader, offset < ARCHIVE_HEADER_SIZE ? ARCHIVE_HEADER_SIZE : offset, &was_durable);
	archive_reader_close(&reader);
	if (r == SETT_OK && offset < size && !tail->is_damage && (was_durable || tail->bytes == 0))
		*tail = (struct archive_tail){h->number, offset, size - offset, was_durable};
	return r;
}

/* The end of the file that was walked last, and files behind it whose headers are not right: they may be of the chain. */
static int
look_at_tails(struct walk *w, const struct archive_files *files, uint64_t chain, struct archive_tail *tail)
{
	int r = SETT_OK;
	for (size_t i = 0; r == SETT_OK && i < files->count; i++) {
		const struct archive_file *f = &files->files[i];
		struct archive_header h = {.number = f->header.number, .chain = chain};
		if (h.number == w->ended_number && w->ended_offset < w->ended_size)
			r = look_at_tail(w, &h, w->ended_offset, tail);
		else if (h.number > w->ended_number && f->is_unreadable)
			r = look_at_tail(w, &h, 0, tail);
	}
	return r;
}

/* The last file that begins at or before the commit; `count` if there is none. */
static size_t
find_start(const struct archive_files *files, uint64_t chain, uint64_t from,
	   const struct archive_header **ret_first)
{
	size_t start = files->count;
	*ret_first = NULL;
	for (size_t i = 0; i < files->count; i++) {
		const struct archive_file *f = &files->files[i];
		if (f->is_unreadable || f->header.chain != chain)
			continue;
		if (!*ret_first)
			*ret_first = &f->header;
		if (f->header.after <= from)
			start = i;
	}
	return start;
}

int
archive_walk(struct vfs *vfs, const char *directory, const struct archive_files *files, uint64_t chain,
	     uint64_t from, const struct archive_visitor *visitor, struct archive_place *ret_end,
	     struct archive_tail *ret_tail, struct sett_error *error)
{
	struct sett_error ignored;
	struct walk w = {
		.vfs = vfs, .directory = directory, .visitor = visitor, .error = error ? error : &ignored};
	const struct archive_header *first;
	size_t start = find_start(files, chain, from, &first);
	if (start == files->count)
		return sett_error_set(error, SETT_NOT_FOUND, 0,
				      "%s: what is archived begins behind commit %" PRIu64
				      ", not at %" PRIu64,
				      directory, first ? first->after : 0, from);
	const struct archive_header *h = &files->files[start].header;
	assert(h->chain == chain && h->after <= from);
	w.place = (struct archive_place){h->after, h->after_ms, h->after_now_ms, h->after_ms};
	int r = visitor->begin ? visitor->begin(visitor->arg, &w.place) : SETT_OK;
	for (size_t i = start; r == SETT_OK && i < files->count; i++) {
		const struct archive_file *f = &files->files[i];
		if (f->is_unreadable || f->header.chain != chain)
			continue;
		r = f->header.after <= w.place.commit ? walk_file(&w, &f->header) : gap(&w, &f->header);
	}
	if (ret_tail)
		*ret_tail = (struct archive_tail){0};
	if (r == SETT_OK && ret_tail)
		r = look_at_tails(&w, files, chain, ret_tail);
	if (r != SETT_OK && r != ARCHIVE_ENOUGH)
		return r;
	*ret_end = w.place;
	return SETT_OK;
}

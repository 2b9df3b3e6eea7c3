/* Records follow one another, so a whole one leads to the next. Behind one that is not whole the walk goes on
 *   - where its length says, if a whole record (or the end) stands there: its body is damaged;
 *   - else at the next place where a whole record stands: searched byte by byte, since records are not
 * aligned.
 *
 * A search costs a checksum at each place that could begin a record, over as many bytes as it claims. Bytes
 * made for it could claim much at each place: so each file has a budget of bytes for searches; past it, the
 * rest of the file is one gap. */
#include "inspect/value_walk.h"

#include "value_log_format.h"

enum {
	HEADER = VALUE_LOG_RECORD_HEADER_SIZE,
	WINDOW_SIZE = 1 << 20,
	BUDGET_FACTOR = 8, /* of the file's size */
};

struct walker {
	struct vfs_file *file;
	uint64_t number, size;
	struct buffer window;
	uint64_t base; /* offset of the window's first byte */
	uint64_t budget;
	const struct value_walk *walk;
	struct sett_error *error;
};

/* Makes `size` bytes at `offset` readable until the next call; they lie within the file. */
static int
fetch(struct walker *w, uint64_t offset, uint64_t size, const uint8_t **ret)
{
	struct buffer *window = &w->window;
	if (offset < w->base || offset + size > w->base + window->size) {
		uint64_t left = w->size - offset;
		uint64_t wanted = size > WINDOW_SIZE ? size : WINDOW_SIZE;
		if (wanted > left)
			wanted = left;
		buffer_clear(window);
		if (buffer_reserve(window, wanted) != SETT_OK)
			return sett_error_set(w->error, SETT_NO_MEMORY, 0, "out of memory for a value");
		int r = vfs_read_exact(w->file, window->data, wanted, offset, 0, w->error);
		if (r != SETT_OK)
			return r;
		window->size = wanted;
		w->base = offset;
	}
	*ret = window->data + (offset - w->base);
	return SETT_OK;
}

/* What a record at `offset` would take by its header, 0 if none can begin there. */
static int
claim(struct walker *w, uint64_t offset, uint64_t *ret)
{
	const uint8_t *p;
	*ret = 0;
	if (w->size - offset < HEADER)
		return SETT_OK;
	int r = fetch(w, offset, HEADER, &p);
	if (r != SETT_OK)
		return r;
	uint64_t span = HEADER + (uint64_t)get_le32(p + 8);
	bool fits = span <= w->size - offset && span <= SETT_MAX_BODY_SIZE + HEADER;
	if (fits && (get_le32(p + 12) & ~0xffU) == 0)
		*ret = span;
	return SETT_OK;
}

/* What stands at `offset`. */
struct looked {
	uint64_t span; /* that it claims; 0: no record can begin here */
	bool is_whole;
	uint32_t flags;
	struct bytes payload; /* until the next call */
};

static int
look(struct walker *w, uint64_t offset, struct looked *ret)
{
	const uint8_t *p;
	*ret = (struct looked){0};
	int r = claim(w, offset, &ret->span);
	if (r != SETT_OK || ret->span == 0)
		return r;
	r = fetch(w, offset, ret->span, &p);
	if (r != SETT_OK)
		return r;
	ret->flags = get_le32(p + 12);
	ret->payload = bytes_of(p + HEADER, (size_t)(ret->span - HEADER));
	ret->is_whole = value_log_record_is_valid(p, w->number, offset, ret->payload);
	return SETT_OK;
}

/* The next whole record from `offset` on; the end of the file if there is none, or looking costs too much. */
static int
search(struct walker *w, uint64_t offset, uint64_t *ret)
{
	for (; offset < w->size; offset++) {
		uint64_t span;
		struct looked looked;
		int r = claim(w, offset, &span);
		if (r != SETT_OK)
			return r;
		if (span == 0)
			continue;
		if (span > w->budget)
			break;
		w->budget -= span;
		r = look(w, offset, &looked);
		if (r != SETT_OK)
			return r;
		if (looked.is_whole) {
			*ret = offset;
			return SETT_OK;
		}
	}
	*ret = w->size;
	return SETT_OK;
}

/* No whole record stands at `offset`, though its header may claim `span` bytes. */
static int
pass_gap(struct walker *w, uint64_t offset, uint64_t span, uint64_t *ret_next)
{
	const char *text = "no whole value: a hole, or damage";
	uint64_t next = offset + span;
	struct looked behind = {.is_whole = span != 0 && next == w->size};
	int r = span != 0 && !behind.is_whole ? look(w, next, &behind) : SETT_OK;
	if (r == SETT_OK && behind.is_whole)
		text = "a value that is torn or damaged";
	else if (r == SETT_OK)
		r = search(w, offset + 1, &next);
	if (r != SETT_OK)
		return r;
	*ret_next = next;
	return w->walk->gap ? w->walk->gap(w->walk->arg, offset, next - offset, text) : SETT_OK;
}

static int
check_header(struct walker *w)
{
	uint8_t expected[VALUE_LOG_FILE_HEADER_SIZE];
	const uint8_t *p;
	value_log_file_header_encode(expected, w->number);
	if (w->size >= sizeof(expected)) {
		int r = fetch(w, 0, sizeof(expected), &p);
		if (r != SETT_OK)
			return r;
		if (memcmp(p, expected, sizeof(expected)) == 0)
			return SETT_OK;
	}
	return w->walk->bad_header ? w->walk->bad_header(w->walk->arg) : SETT_OK;
}

static int
walk_records(struct walker *w)
{
	int r = check_header(w);
	uint64_t offset = VALUE_LOG_FILE_HEADER_SIZE;
	while (r == SETT_OK && offset < w->size) {
		struct looked looked;
		r = look(w, offset, &looked);
		if (r != SETT_OK)
			return r;
		if (looked.is_whole) {
			if (w->walk->record)
				r = w->walk->record(w->walk->arg, offset, looked.span, looked.flags,
						    looked.payload);
			offset += looked.span;
		} else {
			r = pass_gap(w, offset, looked.span, &offset);
		}
	}
	return r;
}

int
value_walk(struct vfs *vfs, const char *path, uint64_t number, const struct value_walk *walk,
	   struct sett_error *error)
{
	struct walker w = {.number = number, .walk = walk, .error = error};
	int r = vfs_open(vfs, path, VFS_READ | VFS_SEQUENTIAL, &w.file, error);
	if (r != SETT_OK)
		return r;
	r = vfs_size(w.file, &w.size, error);
	w.budget = BUDGET_FACTOR * w.size;
	if (r == SETT_OK)
		r = walk_records(&w);
	buffer_free(&w.window);
	(void)vfs_close(w.file, NULL);
	return r;
}

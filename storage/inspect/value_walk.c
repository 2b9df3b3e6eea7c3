/* Records follow one another, so a whole one leads to the next. Behind one that is not whole the walk goes on
 *   - where its length says, if a whole record (or the end) stands there: its body is damaged;
 *   - else at the next place where a whole record stands: searched byte by byte, since records are not
 *     aligned.
 *
 * A search costs a checksum at each place that could begin a record, over as many bytes as it claims. Bytes
 * made for it could claim much at each place: so each file has a budget of bytes for searches; past it, the
 * rest of the file is one gap. */
#include "value_walk.h"

#include <stdlib.h>

#include "file_window.h"
#include "value_log_format.h"

enum {
	HEADER = VALUE_LOG_RECORD_HEADER_SIZE,
	BUDGET_FACTOR = 8, /* of the file's size */
};

struct walker {
	struct file_window bytes;
	uint64_t number;
	uint64_t budget;
	struct buffer clear; /* what was decrypted last */
	const struct value_walk *walk;
};

/* What a record at `offset` would take by its header, 0 if none can begin there. */
static int
claim(struct walker *w, uint64_t offset, uint64_t *ret)
{
	const uint8_t *p;
	*ret = 0;
	if (w->bytes.size - offset < HEADER)
		return SETT_OK;
	int r = file_window_fetch(&w->bytes, offset, HEADER, &p);
	if (r != SETT_OK)
		return r;
	uint64_t payload = get_le32(p + 8), span = HEADER + payload;
	uint32_t flags = get_le32(p + 12);
	if (span > w->bytes.size - offset || span > value_log_sealed_size(SETT_MAX_BODY_SIZE))
		return SETT_OK;
	if (flags & VALUE_LOG_SEALED) {
		flags &= ~(uint32_t)VALUE_LOG_SEALED;
		if (flags == VALUE_LOG_PIECED ? value_log_sealed_body_size(payload) > 0
					      : flags <= 0xff && payload >= SEAL_SIZE &&
				    payload < SETT_MAX_PACKED_SIZE + SEAL_SIZE)
			*ret = span;
		return SETT_OK;
	}
	if (flags == VALUE_LOG_PIECED ? value_log_pieced_body_size(payload) > 0
				      : flags <= 0xff && payload < SETT_MAX_PACKED_SIZE)
		*ret = span;
	return SETT_OK;
}

/* What stands at `offset`. */
struct looked {
	uint64_t span; /* that it claims; 0: no record can begin here */
	bool is_whole;
	uint32_t flags;
	struct bytes payload; /* the first FILE_WINDOW_SIZE bytes of it, until the next call */
};

static int
make_room(struct walker *w, size_t size)
{
	buffer_clear(&w->clear);
	if (buffer_reserve(&w->clear, size + 1) == SETT_OK)
		return SETT_OK;
	return sett_error_set(w->bytes.error, SETT_NO_MEMORY, 0, "out of memory for a value");
}

/* Decrypts a piece to the end of `clear`, which has room. What has a wrong seal is not whole. */
static int
decrypt(struct walker *w, uint64_t offset, uint64_t piece, struct bytes sealed, const uint8_t *seal,
	bool *ret_whole)
{
	const char *why = "";
	struct seal_place place = value_log_place(w->number, offset, piece);
	int r = seal_open(w->bytes.file->vfs->keys, &place, sealed, seal, w->clear.data + w->clear.size,
			  &why);
	*ret_whole = r == SETT_OK;
	w->clear.size += r == SETT_OK ? sealed.size : 0;
	return r == SETT_OK || r == SETT_CORRUPT ? SETT_OK
						 : sett_error_set(w->bytes.error, r, 0, "a value: %s", why);
}

/* An encrypted body in pieces; its first FILE_WINDOW_SIZE bytes are in `clear` then. */
static int
look_at_sealed_pieces(struct walker *w, uint64_t offset, uint64_t span, const uint8_t header[HEADER],
		      bool *ret_whole)
{
	const uint8_t *p;
	uint64_t body = value_log_sealed_body_size(span - HEADER);
	size_t size = (size_t)value_log_seals_size(body), kept_size = 0;
	int r = file_window_fetch(&w->bytes, offset + HEADER + body, size, &p);
	if (r != SETT_OK ||
	    value_log_checksum(w->number, offset, header, bytes_of(p, size)) != get_le64(header))
		return r;
	uint8_t *seals = malloc(size);
	if (seals == NULL)
		return sett_error_set(w->bytes.error, SETT_NO_MEMORY, 0, "out of memory for a value");
	memcpy(seals, p, size);
	r = make_room(w, FILE_WINDOW_SIZE + VALUE_LOG_PIECE_SIZE);
	*ret_whole = r == SETT_OK;
	for (uint64_t i = 0; r == SETT_OK && i < value_log_piece_count(body) && *ret_whole; i++) {
		uint64_t at = i * VALUE_LOG_PIECE_SIZE, left = body - at;
		size_t part = left < VALUE_LOG_PIECE_SIZE ? (size_t)left : VALUE_LOG_PIECE_SIZE;
		r = file_window_fetch(&w->bytes, offset + HEADER + at, part, &p);
		if (r == SETT_OK)
			r = decrypt(w, offset, i, bytes_of(p, part), seals + i * SEAL_SIZE, ret_whole);
		if (kept_size + part <= FILE_WINDOW_SIZE)
			kept_size = w->clear.size;
		w->clear.size = kept_size;
	}
	free(seals);
	return r;
}

/* A body in pieces: its table, and then each by that. */
static int
look_at_pieces(struct walker *w, uint64_t offset, uint64_t span, const uint8_t header[HEADER],
	       bool *ret_whole)
{
	const uint8_t *p;
	uint64_t body = value_log_pieced_body_size(span - HEADER), table = value_log_table_size(body);
	int r = file_window_fetch(&w->bytes, offset + HEADER + body, (size_t)table, &p);
	if (r != SETT_OK)
		return r;
	struct bytes sums = bytes_of(p, (size_t)table);
	if (value_log_checksum(w->number, offset, header, sums) != get_le64(header))
		return SETT_OK;
	uint8_t *kept = malloc(sums.size);
	if (kept == NULL)
		return sett_error_set(w->bytes.error, SETT_NO_MEMORY, 0, "out of memory for a value");
	memcpy(kept, sums.data, sums.size);
	*ret_whole = true;
	for (uint64_t i = 0; i < value_log_piece_count(body) && *ret_whole; i++) {
		uint64_t at = i * VALUE_LOG_PIECE_SIZE, left = body - at;
		size_t size = left < VALUE_LOG_PIECE_SIZE ? (size_t)left : VALUE_LOG_PIECE_SIZE;
		r = file_window_fetch(&w->bytes, offset + HEADER + at, size, &p);
		if (r != SETT_OK)
			break;
		*ret_whole = hash64(p, size, 0) == get_le64(kept + i * VALUE_LOG_SUM_SIZE);
	}
	free(kept);
	return r;
}

static int
look(struct walker *w, uint64_t offset, struct looked *ret)
{
	const uint8_t *p;
	uint8_t header[HEADER];
	*ret = (struct looked){0};
	int r = claim(w, offset, &ret->span);
	if (r != SETT_OK || ret->span == 0)
		return r;
	r = file_window_fetch(&w->bytes, offset, HEADER, &p);
	if (r != SETT_OK)
		return r;
	memcpy(header, p, HEADER);
	ret->flags = get_le32(header + 12);
	size_t size = (size_t)(ret->span - HEADER);
	if (ret->flags == (VALUE_LOG_PIECED | VALUE_LOG_SEALED)) {
		r = look_at_sealed_pieces(w, offset, ret->span, header, &ret->is_whole);
		ret->payload = buffer_bytes(&w->clear);
		return r;
	}
	bool is_pieced = ret->flags == VALUE_LOG_PIECED;
	if (is_pieced) {
		r = look_at_pieces(w, offset, ret->span, header, &ret->is_whole);
		size = FILE_WINDOW_SIZE; /* it is larger */
	}
	if (r == SETT_OK)
		r = file_window_fetch(&w->bytes, offset + HEADER, size, &p);
	if (r != SETT_OK)
		return r;
	ret->payload = bytes_of(p, size);
	if (!is_pieced)
		ret->is_whole = value_log_record_is_valid(header, w->number, offset, ret->payload);
	if (!ret->is_whole || !(ret->flags & VALUE_LOG_SEALED))
		return SETT_OK;
	r = make_room(w, size);
	if (r == SETT_OK)
		r = decrypt(w, offset, 0, bytes_of(p, size - SEAL_SIZE), p + size - SEAL_SIZE,
			    &ret->is_whole);
	ret->payload = buffer_bytes(&w->clear);
	return r;
}

/* The next whole record from `offset` on; the end of the file if there is none, or looking costs too much. */
static int
search(struct walker *w, uint64_t offset, uint64_t *ret)
{
	for (; offset < w->bytes.size; offset++) {
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
	*ret = w->bytes.size;
	return SETT_OK;
}

/* No whole record stands at `offset`, though its header may claim `span` bytes. */
static int
pass_gap(struct walker *w, uint64_t offset, uint64_t span, uint64_t *ret_next)
{
	const char *text = "no whole value: a hole, or damage";
	uint64_t next = offset + span;
	struct looked behind = {.is_whole = span != 0 && next == w->bytes.size};
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
	const uint8_t *p;
	uint32_t version;
	uint64_t number;
	const char *text = "the file's header is damaged";
	if (w->bytes.size >= VALUE_LOG_FILE_HEADER_SIZE) {
		int r = file_window_fetch(&w->bytes, 0, VALUE_LOG_FILE_HEADER_SIZE, &p);
		if (r != SETT_OK)
			return r;
		if (value_log_file_header_decode(p, &version, &number)) {
			if (version == VALUE_LOG_VERSION && number == w->number)
				return SETT_OK;
			text = version != VALUE_LOG_VERSION
				? "a value log of another version than this program reads"
				: "the file has another file's name";
		}
	}
	return w->walk->bad_header ? w->walk->bad_header(w->walk->arg, text) : SETT_OK;
}

static int
walk_records(struct walker *w)
{
	int r = check_header(w);
	uint64_t offset = VALUE_LOG_FILE_HEADER_SIZE;
	while (r == SETT_OK && offset < w->bytes.size) {
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
	struct walker w = {.number = number, .walk = walk};
	int r = file_window_open(&w.bytes, vfs, path, error);
	if (r != SETT_OK)
		return r;
	w.budget = BUDGET_FACTOR * w.bytes.size;
	r = walk_records(&w);
	file_window_close(&w.bytes);
	buffer_free(&w.clear);
	return r;
}

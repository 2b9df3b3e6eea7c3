/* One segment's bytes, through a window; see log_reader.h.
 *
 * Every length read from a file is checked against the file's size before it is used. */
#include "log_reader.h"

#include "log_format.h"
#include "seal.h"

enum { SCAN_STEP = 64 * 1024 }; /* bytes searched at once for a record behind damage */

int
log_reader_open(struct log_reader *reader, struct vfs *vfs, const char *path, uint64_t number,
		struct sett_error *error)
{
	*reader = (struct log_reader){.number = number};
	return file_window_open(&reader->bytes, vfs, path, error);
}

void
log_reader_close(struct log_reader *reader)
{
	file_window_close(&reader->bytes);
	buffer_free(&reader->clear);
}

static int
fetch(struct log_reader *reader, uint64_t offset, size_t size, const uint8_t **ret)
{
	return file_window_fetch(&reader->bytes, offset, size, ret);
}

static bool
is_zero(const uint8_t *p, size_t size)
{
	return size == 0 || (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0);
}

/* Whether all from `offset` on is zero. */
static int
is_blank_behind(struct log_reader *reader, uint64_t offset, bool *ret)
{
	bool blank = true;
	for (uint64_t at = offset; blank && at < reader->bytes.size; at += SCAN_STEP) {
		size_t step = reader->bytes.size - at < SCAN_STEP ? reader->bytes.size - at : SCAN_STEP;
		const uint8_t *p;
		int status = fetch(reader, at, step, &p);
		if (status != SETT_OK)
			return status;
		blank = is_zero(p, step);
	}
	*ret = blank;
	return SETT_OK;
}

int
log_reader_header(struct log_reader *reader, enum log_header *ret)
{
	const uint8_t *p;
	uint32_t version;
	uint64_t number, salt;
	if (reader->bytes.size < LOG_SEGMENT_HEADER_SIZE) {
		*ret = LOG_HEADER_BLANK;
		return SETT_OK;
	}
	int status = fetch(reader, 0, LOG_SEGMENT_HEADER_SIZE, &p);
	if (status != SETT_OK)
		return status;
	if (log_segment_header_decode(p, &version, &number, &salt)) {
		*ret = version != LOG_VERSION      ? LOG_HEADER_OTHER_VERSION
			: number != reader->number ? LOG_HEADER_OTHER_NUMBER
						   : LOG_HEADER_INTACT;
		reader->seed = log_segment_seed(number, salt);
		return SETT_OK;
	}
	bool blank;
	status = is_blank_behind(reader, LOG_SEGMENT_HEADER_SIZE, &blank);
	if (status == SETT_OK)
		*ret = blank ? LOG_HEADER_BLANK : LOG_HEADER_DAMAGED;
	return status;
}

/* Decrypts the payload of a record that is intact. One whose seal is wrong is as good as damaged: then the status is
 * SETT_CORRUPT. SETT_IO: the key is not there, which says nothing of the record. */
static int
decrypt(struct log_reader *reader, const uint8_t *record, struct log_record *r)
{
	uint8_t room[LOG_RECORD_HEADER_MAX];
	const char *why = "";
	if (r->payload.size < SEAL_SIZE)
		return SETT_CORRUPT;
	struct bytes sealed = bytes_of(r->payload.data, r->payload.size - SEAL_SIZE);
	buffer_clear(&reader->clear);
	if (buffer_reserve(&reader->clear, sealed.size + 1) != SETT_OK)
		return SETT_NO_MEMORY;
	struct seal_place place = {.kind = SEAL_LOG,
				   .file = reader->number,
				   .offset = r->offset,
				   .also = log_record_sealed_header(record, room)};
	int status = seal_open(reader->bytes.file->vfs->keys, &place, sealed, bytes_end(sealed),
			       reader->clear.data, &why);
	if (status == SETT_IO)
		return sett_error_set(reader->bytes.error, SETT_IO, 0,
				      "%06" PRIu64 LOG_SUFFIX " at offset %" PRIu64 ": %s", reader->number,
				      r->offset, why);
	if (status == SETT_OK)
		r->payload = bytes_of(reader->clear.data, sealed.size);
	return status;
}

int
log_reader_look(struct log_reader *reader, uint64_t offset, enum log_found *ret_found, struct log_record *ret,
		uint64_t *ret_next)
{
	const uint8_t *p;
	uint64_t left = reader->bytes.size - offset;
	uint64_t seed = reader->seed + offset;
	size_t probe = left < LOG_RECORD_HEADER_SIZE ? left : LOG_RECORD_HEADER_SIZE;
	uint64_t to_page_end = log_page_end(offset) - offset;
	size_t page = left < to_page_end ? left : to_page_end;
	int status = fetch(reader, offset, page > probe ? page : probe, &p);
	if (status != SETT_OK)
		return status;
	*ret_found = is_zero(p, page) ? LOG_FOUND_ZEROS : LOG_FOUND_NOISE;
	size_t header_size = probe < LOG_RECORD_HEADER_SIZE ? 0 : log_record_header_claim(p);
	if (header_size == 0 || header_size > left)
		return SETT_OK;
	status = fetch(reader, offset, header_size, &p);
	struct log_record_header h;
	if (status != SETT_OK || !log_record_header_decode(p, header_size, seed, &h))
		return status;

	uint64_t span = log_record_span(header_size, h.payload_size);
	*ret_found = LOG_FOUND_DAMAGED;
	*ret = (struct log_record){
		.timestamp = h.timestamp,
		.previous = h.previous,
		.durable = h.durable,
		.now_ms = h.now_ms,
		.written_ms = h.written_ms,
		.segment = reader->number,
		.offset = offset,
	};
	*ret_next = offset + (span < left ? span : left);
	if (span > left)
		return SETT_OK;
	status = fetch(reader, offset, span, &p);
	if (status != SETT_OK)
		return status;
	size_t used = header_size + h.payload_size;
	ret->payload = bytes_of(p + header_size, h.payload_size);
	if (hash64_bytes(ret->payload, seed) == h.payload_checksum && is_zero(p + used, span - used))
		*ret_found = LOG_FOUND_RECORD;
	if (!(h.flags & LOG_SEALED) && !vfs_takes_plain(reader->bytes.file->vfs))
		*ret_found = LOG_FOUND_DAMAGED;
	if (!(h.flags & LOG_SEALED) || *ret_found != LOG_FOUND_RECORD)
		return SETT_OK;
	status = decrypt(reader, p, ret);
	if (status == SETT_CORRUPT)
		*ret_found = LOG_FOUND_DAMAGED;
	return status == SETT_CORRUPT ? SETT_OK : status;
}

/* Looks at each place in [offset, end), of which `p` are the bytes, for what could begin a record; where
 * there is one, or the bytes of that are not all in, sets *ret to it. False if there is none. */
static bool
next_candidate(const uint8_t *p, uint64_t offset, uint64_t end, uint64_t *ret, uint64_t *ret_noise_end)
{
	enum { CLAIM_END = 16 };
	for (; offset < end; offset += LOG_ALIGNMENT, p += LOG_ALIGNMENT) {
		if (end - offset >= LOG_ALIGNMENT && get_le64(p) != 0)
			*ret_noise_end = offset + LOG_ALIGNMENT;
		if (end - offset < CLAIM_END || log_record_header_claim(p) != 0) {
			*ret = offset;
			return true;
		}
	}
	return false;
}

int
log_reader_search(struct log_reader *reader, uint64_t offset, uint64_t *ret, uint64_t *ret_noise_end)
{
	*ret = reader->bytes.size;
	*ret_noise_end = 0;
	while (offset < reader->bytes.size) {
		const uint8_t *p;
		uint64_t left = reader->bytes.size - offset;
		size_t step = left < SCAN_STEP ? left : SCAN_STEP;
		int status = fetch(reader, offset, step, &p);
		if (status != SETT_OK)
			return status;
		uint64_t end = offset + step;
		if (is_zero(p, step) || !next_candidate(p, offset, end, &offset, ret_noise_end)) {
			offset = end;
			continue;
		}
		enum log_found found;
		struct log_record record;
		uint64_t next;
		status = log_reader_look(reader, offset, &found, &record, &next);
		if (status != SETT_OK)
			return status;
		if (found == LOG_FOUND_RECORD || found == LOG_FOUND_DAMAGED) {
			*ret = offset;
			return SETT_OK;
		}
		if (found == LOG_FOUND_NOISE)
			*ret_noise_end = offset + LOG_ALIGNMENT;
		offset += LOG_ALIGNMENT;
	}
	return SETT_OK;
}

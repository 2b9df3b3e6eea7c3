/* Recovery of a log segment with hostile bytes.
 *
 * The first byte of the input chooses. Even: a real log is made and the rest of the input damages it, four
 * bytes an edit (where:16 how:8 what:8); what is replayed must then be a prefix of what was committed. Odd:
 * the rest describes records, 8 bytes each (size, and small numbers for the timestamps), that are sealed with
 * right checksums, so recovery's own rules are reached; what is replayed must be in order. Either way a
 * second recovery must find what the first one kept. */
#include "log.h"
#include "log_format.h"

#define DIRECTORY "db"

enum { SEGMENT_SIZE = 4096, COMMITS = 12, SALT = 1234 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(x)                  \
	do {                     \
		if (!(x))        \
			abort(); \
	} while (0)

static uint8_t
body_byte(uint64_t timestamp, size_t at)
{
	return (uint8_t)(timestamp * 37 + at);
}

struct replayed {
	uint64_t count, last;
	bool is_real; /* payloads follow from timestamps, which are dense */
};

static int
on_record(void *arg, const struct log_record *record)
{
	struct replayed *replayed = arg;
	MUST(record->timestamp > replayed->last);
	if (replayed->is_real) {
		MUST(record->timestamp == replayed->last + 1);
		MUST(record->payload.size == record->timestamp * 5);
		for (size_t i = 0; i < record->payload.size; i++)
			MUST(record->payload.data[i] == body_byte(record->timestamp, i));
	}
	replayed->last = record->timestamp;
	replayed->count++;
	return SETT_OK;
}

/* Puts a record at `offset` if it fits; returns its end. */
static uint64_t
put_record(uint8_t segment[SEGMENT_SIZE], uint64_t number, uint64_t offset, struct log_record_header header)
{
	uint64_t end = offset + log_record_span(LOG_RECORD_HEADER_SIZE, header.payload_size);
	if (end > SEGMENT_SIZE)
		return offset;
	uint8_t *p = segment + offset;
	header.header_size = LOG_RECORD_HEADER_SIZE;
	log_record_header_encode(p, &header);
	for (size_t i = 0; i < header.payload_size; i++)
		p[LOG_RECORD_HEADER_SIZE + i] = body_byte(header.timestamp, i);
	log_record_seal(p, log_segment_seed(number, SALT) + offset);
	return end;
}

static void
make_real(uint8_t segment[SEGMENT_SIZE])
{
	uint64_t offset = LOG_SEGMENT_HEADER_SIZE;
	for (uint64_t t = 1; t <= COMMITS; t++)
		offset = put_record(segment, 1, offset,
				    (struct log_record_header){.payload_size = (uint32_t)t * 5,
							       .timestamp = t,
							       .previous = t - 1,
							       .durable = t > 6 ? 4 : 0});
}

static size_t
damage(uint8_t segment[SEGMENT_SIZE], const uint8_t *data, size_t size)
{
	size_t length = SEGMENT_SIZE;
	for (; size >= 4; data += 4, size -= 4) {
		size_t at = get_le16(data) % SEGMENT_SIZE;
		size_t run = data[2] / 4 < SEGMENT_SIZE - at ? data[2] / 4 : SEGMENT_SIZE - at;
		switch (data[2] % 4) {
		case 0:
			segment[at] ^= data[3];
			break;
		case 1:
			memset(segment + at, data[3] < 128 ? 0 : data[3], run);
			break;
		case 2:
			length = at;
			break;
		case 3:
			memmove(segment + (at + data[3] * 8) % (SEGMENT_SIZE - 64), segment + at, run);
			break;
		}
	}
	return length;
}

static void
make_described(uint8_t segment[SEGMENT_SIZE], const uint8_t *data, size_t size)
{
	uint64_t offset = LOG_SEGMENT_HEADER_SIZE;
	for (; size >= 8; data += 8, size -= 8) {
		struct log_record_header header = {
			.payload_size = data[0] | (uint32_t)(data[1] & 1) << 8,
			.timestamp = data[2],
			.previous = data[3],
			.durable = data[4],
			.now_ms = data[5],
		};
		offset = put_record(segment, 1, offset, header);
		if (data[6] > 200)
			offset += data[6] % 8 * 8; /* a hole of zeros */
		if (data[7] > 240 && offset < SEGMENT_SIZE)
			segment[offset - 1] ^= data[7];
	}
}

static int
recover(struct vfs *vfs, uint64_t after, struct replayed *replayed, struct log_recovered *ret)
{
	struct log_recovery recovery = {.replay = on_record, .arg = replayed, .after = after};
	struct sett_error error = {0};
	replayed->last = after;
	replayed->count = 0;
	int status = log_recover(vfs, DIRECTORY, &recovery, ret, &error);
	MUST(status == SETT_OK ||
	     (status == SETT_CORRUPT && error.message[0] != '\0' && replayed->count == 0));
	return status;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t segment[SEGMENT_SIZE] = {0};
	size_t length = SEGMENT_SIZE;
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	if (size < 2)
		return 0;
	struct replayed replayed = {.is_real = data[0] % 2 == 0};
	uint64_t after = replayed.is_real ? 0 : data[1] % 16;
	log_segment_header_encode(segment, 1, SALT);
	if (replayed.is_real) {
		make_real(segment);
		length = damage(segment, data + 2, size - 2);
	} else {
		make_described(segment, data + 2, size - 2);
	}
	struct vfs *vfs = vfs_memory_create();
	MUST(vfs != NULL);
	MUST(vfs_make_directory(vfs, DIRECTORY, NULL) == SETT_OK);
	MUST(file_name_make(DIRECTORY, 1, LOG_SUFFIX, path) == SETT_OK);
	MUST(vfs_open(vfs, path, VFS_READ | VFS_WRITE | VFS_CREATE, &file, NULL) == SETT_OK);
	MUST(length == 0 || vfs_write_bytes(file, segment, length, 0, NULL) == SETT_OK);
	vfs_close(file, NULL);

	struct log_recovered first, second;
	if (recover(vfs, after, &replayed, &first) == SETT_OK) {
		uint64_t count = replayed.count;
		MUST(first.last == replayed.last);
		MUST(first.last >= first.durable);
		MUST(recover(vfs, after, &replayed, &second) == SETT_OK);
		MUST(replayed.count == count && second.last == first.last && second.cut_bytes == 0);
	}
	vfs->operations->destroy(vfs);
	return 0;
}

/* Reading the value log with hostile pointers and damaged files.
 *
 * Three values are written; then the input says what happens, 8 bytes a step (kind:8 which:8 number:16
 * value:32): damage a byte of the file, or read with a pointer that is one of the true ones with a field
 * changed. A read either fails with a clear status or gives the bytes that were written there. */
#include "value_log.h"
#include "value_log_format.h"

#define DIRECTORY "db"

enum { VALUES = 3, STEPS = 64 };

static const size_t sizes[VALUES] = {0, 700, 6000};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(x)                  \
	do {                     \
		if (!(x))        \
			abort(); \
	} while (0)

static int
next_number(void *arg, uint64_t *ret, struct sett_error *error)
{
	*ret = ++*(uint64_t *)arg;
	return SETT_OK;
}

/* Whether the bytes are the value that was written at the pointer's place. */
static bool
is_true(const struct value_pointer *pointers, uint8_t bodies[VALUES][6000], const struct value_pointer *p,
	struct bytes read)
{
	for (size_t i = 0; i < VALUES; i++)
		if (pointers[i].file == p->file && pointers[i].offset == p->offset)
			return bytes_equal(read, bytes_of(bodies[i], sizes[i]));
	return false;
}

static struct value_pointer
hostile(const struct value_pointer *pointers, const uint8_t *step)
{
	struct value_pointer p = pointers[step[1] % VALUES];
	uint64_t value = get_le32(step + 4);
	uint64_t wide = step[2] % 2 ? value << 32 | value : value;
	switch (step[0] % 6) {
	case 1:
		p.file = wide;
		break;
	case 2:
		p.offset = wide;
		break;
	case 3:
		p.stored_size = wide;
		break;
	case 4:
		p.body_size = wide;
		p.stored_size = wide + VALUE_LOG_RECORD_HEADER_SIZE;
		break;
	case 5:
		p.offset += value % 64;
		break;
	}
	return p;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bodies[VALUES][6000];
	struct bytes slices[VALUES];
	struct value_pointer pointers[VALUES];
	uint64_t numbers = 0;
	char path[SETT_PATH_MAX];
	struct vfs *vfs = vfs_memory_create();
	struct value_log *log;
	MUST(vfs != NULL && vfs_make_directory(vfs, DIRECTORY, NULL) == SETT_OK);
	struct value_log_options options = {
		.vfs = vfs,
		.directory = DIRECTORY,
		.file_size = 1 << 20,
		.next_file_number = next_number,
		.next_file_number_arg = &numbers,
	};
	MUST(value_log_open(&options, &log, NULL) == SETT_OK);
	for (size_t i = 0; i < VALUES; i++) {
		memset(bodies[i], (int)i + 'a', sizes[i]);
		slices[i] = bytes_of(bodies[i], sizes[i]);
	}
	MUST(value_log_write(log, slices, VALUES, pointers, NULL) == SETT_OK);
	MUST(file_name_make(DIRECTORY, pointers[0].file, VALUE_LOG_SUFFIX, path) == SETT_OK);

	for (int n = 0; n < STEPS && size >= 8; n++, data += 8, size -= 8) {
		if (data[0] % 8 == 7) {
			vfs_memory_damage(vfs, path, get_le16(data + 2), data[4]);
			continue;
		}
		struct value_pointer p = hostile(pointers, data);
		struct buffer read = {0};
		struct sett_error error = {0};
		int status = value_log_read(log, &p, 0, &read, &error);
		if (status == SETT_OK)
			MUST(is_true(pointers, bodies, &p, buffer_bytes(&read)));
		else
			MUST(status == SETT_CORRUPT || status == SETT_NOT_FOUND);
		buffer_free(&read);
	}
	value_log_close(log);
	vfs->operations->destroy(vfs);
	return 0;
}

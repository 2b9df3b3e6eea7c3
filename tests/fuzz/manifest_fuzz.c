/* Reading a manifest with hostile bytes.
 *
 * The first byte of the input chooses. Even: a real manifest is made and the rest of the input damages it,
 * four bytes an edit (where:16 how:8 what:8); what is loaded must then be the state after some first edits.
 * Odd: the rest is payloads (size:8 bytes), which become edits with right checksums, so that the rules for
 * what an edit may say are reached. Either way a refusal has words, and what is loaded makes sense. */
#include <stdlib.h>

#include "manifest.h"

#define DIRECTORY "db"
#define PATH DIRECTORY "/MANIFEST"

enum { EDITS = 8, FIRST_LIMIT = 100, SIZE_MAX_READ = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(x)                  \
	do {                     \
		if (!(x))        \
			abort(); \
	} while (0)

/* Edit `n` adds table n, removes table n - 3, and says that n commits are flushed. Edit 0 is the first
 * record. */
static void
make_payload(uint64_t n, struct buffer *ret)
{
	struct table_file file = {.number = n, .size = n * 1000, .held_bytes = n};
	struct counter_value counter = {.counter = 1, .value = (int64_t)n};
	buffer_clear(ret);
	MUST(manifest_put_file_limit(ret, FIRST_LIMIT + n) == SETT_OK);
	if (n == 0)
		return;
	if (n > 3)
		MUST(manifest_put_table_removed(ret, n - 3) == SETT_OK);
	MUST(manifest_put_table_added(ret, n % SETT_LEVELS, &file) == SETT_OK);
	MUST(manifest_put_flush(ret, n, n, n) == SETT_OK);
	MUST(manifest_put_counters(ret, &counter, 1) == SETT_OK);
}

static void
make_real(struct vfs *vfs)
{
	struct manifest *manifest;
	struct buffer payload = {0};
	make_payload(0, &payload);
	MUST(manifest_create(vfs, DIRECTORY, buffer_bytes(&payload), &manifest, NULL) == SETT_OK);
	for (uint64_t n = 1; n <= EDITS; n++) {
		make_payload(n, &payload);
		MUST(manifest_append(manifest, buffer_bytes(&payload), NULL) == SETT_OK);
	}
	manifest_close(manifest);
	buffer_free(&payload);
}

static void
damage(struct vfs *vfs, const uint8_t *data, size_t size)
{
	static uint8_t content[SIZE_MAX_READ];
	struct vfs_file *file;
	uint64_t end;
	MUST(vfs_open(vfs, PATH, VFS_READ | VFS_WRITE, &file, NULL) == SETT_OK);
	MUST(vfs_size(file, &end, NULL) == SETT_OK && end <= sizeof(content));
	MUST(vfs_read_exact(file, content, end, 0, 0, NULL) == SETT_OK);
	uint64_t length = end;
	for (; size >= 4; data += 4, size -= 4) {
		size_t at = get_le16(data) % end, run = data[2] / 4 < end - at ? data[2] / 4 : end - at;
		switch (data[2] % 4) {
		case 0:
			content[at] ^= data[3];
			break;
		case 1:
			memset(content + at, data[3], run);
			break;
		case 2:
			length = at;
			break;
		case 3:
			at = at < end - run ? at : end - run;
			memmove(content + (at + data[3]) % (end - run + 1), content + at, run);
			break;
		}
	}
	MUST(vfs_write_bytes(file, content, end, 0, NULL) == SETT_OK);
	MUST(vfs_truncate(file, length, NULL) == SETT_OK);
	vfs_close(file, NULL);
}

static void
make_described(struct vfs *vfs, const uint8_t *data, size_t size)
{
	struct manifest *manifest = NULL;
	while (size > 1) {
		size_t part = data[0] < size - 1 ? data[0] : size - 1;
		struct bytes payload = bytes_of(data + 1, part);
		if (part > 0 && manifest == NULL)
			MUST(manifest_create(vfs, DIRECTORY, payload, &manifest, NULL) == SETT_OK);
		else if (part > 0)
			MUST(manifest_append(manifest, payload, NULL) == SETT_OK);
		data += 1 + part;
		size -= 1 + part;
	}
	manifest_close(manifest);
}

/* What died is in order, and not more than so many ranges. */
static void
check_dead(const struct manifest_state *s, uint64_t most)
{
	struct dead_list *dead;
	struct dead_cursor c;
	struct dead_range before = {0};
	MUST(manifest_state_dead(s, &dead) == SETT_OK);
	MUST((dead ? dead->sum.ranges : 0) <= most);
	for (dead_cursor_init(&c, dead); c.valid; dead_cursor_next(&c)) {
		MUST(c.now.size > 0 && c.now.size <= SETT_MAX_PREFIX_SIZE);
		MUST(bytes_compare(dead_range_low(&before), dead_range_low(&c.now)) < 0);
		before = c.now;
	}
	dead_list_release(dead);
}

/* The state after the first edits, as many as `flushed` says. */
static void
check_real(const struct manifest_state *s)
{
	uint64_t n = s->flushed;
	MUST(n <= EDITS && s->file_limit == FIRST_LIMIT + n);
	MUST(s->table_count == (n < 3 ? n : 3));
	check_dead(s, 0);
	for (size_t i = 0; i < s->table_count; i++) {
		uint64_t number = n - s->table_count + 1 + i;
		MUST(s->tables[i].number == number && s->tables[i].level == number % SETT_LEVELS &&
		     s->tables[i].size == number * 1000 && s->tables[i].held_bytes == number);
	}
	MUST(s->counter_count == (n > 0) && s->log_segment == n && s->now_ms == n);
	MUST(n == 0 || (s->counters[0].counter == 1 && s->counters[0].value == (int64_t)n));
}

static void
check_sense(const struct manifest_state *s)
{
	for (size_t i = 0; i < s->table_count; i++) {
		MUST(s->tables[i].level < SETT_LEVELS);
		MUST(i == 0 || s->tables[i - 1].number < s->tables[i].number);
		MUST(manifest_state_table(s, s->tables[i].number) == &s->tables[i]);
	}
	check_dead(s, UINT64_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	struct vfs *vfs = vfs_memory_create();
	MUST(vfs != NULL && vfs_make_directory(vfs, DIRECTORY, NULL) == SETT_OK);
	bool is_real = data[0] % 2 == 0;
	if (is_real) {
		make_real(vfs);
		damage(vfs, data + 1, size - 1);
	} else {
		make_described(vfs, data + 1, size - 1);
	}
	struct manifest_state state = {0};
	struct sett_error error = {0};
	int status = manifest_load(vfs, DIRECTORY, &state, &error);
	MUST(status == SETT_OK || (status == SETT_NOT_FOUND && !is_real) ||
	     (status == SETT_CORRUPT && error.message[0] != '\0'));
	if (status == SETT_OK && is_real)
		check_real(&state);
	if (status == SETT_OK) {
		check_sense(&state);
		manifest_state_free(&state);
	}
	vfs->operations->destroy(vfs);
	return 0;
}

/* The manifest: every flipped byte, every cut, failures of the disk, and that what was acknowledged is there.
 */
#include <criterion/criterion.h>

#include "manifest.h"
#include "manifest_format.h"
#include "storage/base/random.h"

#define DIRECTORY "db"
#define PATH DIRECTORY "/MANIFEST"
enum { MAX_EDITS = 40 };

static struct vfs *
make_vfs(void)
{
	struct vfs *vfs = vfs_memory_create();
	cr_assert_eq(vfs_make_directory(vfs, DIRECTORY, NULL), SETT_OK);
	cr_assert_eq(vfs_sync_directory(vfs, ".", NULL), SETT_OK);
	return vfs;
}

static struct dead_list *
dead_list_of(struct bytes prefix)
{
	struct dead_list_builder b = {0};
	struct dead_range r = dead_range_of(prefix, false, 0);
	struct dead_list *list;
	cr_assert_eq(dead_list_add(&b, &r), SETT_OK);
	cr_assert_eq(dead_list_finish(&b, &list), SETT_OK);
	return list;
}

static struct buffer
first_payload(void)
{
	struct buffer b = {0};
	cr_assert_eq(manifest_put_file_limit(&b, 100), SETT_OK);
	return b;
}

/* Edit `n` adds table n, removes table n - 3, and carries everything else an edit can. */
static struct buffer
edit_payload(uint64_t n)
{
	struct buffer b = {0};
	struct table_file f = {.number = n, .size = n * 10, .held_bytes = n, .held_timestamp = n * 2};
	struct counter_value counters[2] = {{1, (int64_t)n}, {UINT64_MAX, -(int64_t)n}};
	struct dead_list *dead = dead_list_of(bytes_of((const uint8_t *)&n, 1 + n % 8));
	if (n > 3)
		cr_assert_eq(manifest_put_table_removed(&b, n - 3), SETT_OK);
	cr_assert_eq(manifest_put_table_added(&b, n % SETT_LEVELS, &f), SETT_OK);
	cr_assert_eq(manifest_put_flush(&b, n + 1000, n + 2000, n + 3000), SETT_OK);
	cr_assert_eq(manifest_put_counters(&b, counters, 2), SETT_OK);
	cr_assert_eq(manifest_put_dead(&b, n, dead), SETT_OK);
	dead_list_release(dead);
	cr_assert_eq(manifest_put_pending(&b, bytes_of((const uint8_t *)&n, n % 8)), SETT_OK);
	cr_assert_eq(manifest_put_file_limit(&b, 100 + n), SETT_OK);
	cr_assert_eq(manifest_put_durable(&b, n + 4000, n % 2), SETT_OK);
	return b;
}

static struct manifest *
create(struct vfs *vfs)
{
	struct manifest *m;
	struct sett_error error = {0};
	struct buffer b = first_payload();
	cr_assert_eq(manifest_create(vfs, DIRECTORY, buffer_bytes(&b), &m, &error), SETT_OK, "%s",
		     error.message);
	buffer_free(&b);
	return m;
}

static int
append(struct manifest *m, uint64_t n)
{
	struct buffer b = edit_payload(n);
	struct sett_error error = {0};
	int r = manifest_append(m, buffer_bytes(&b), &error);
	buffer_free(&b);
	return r;
}

static uint64_t
dead_ids_of(const struct manifest_state *s)
{
	struct dead_list *dead;
	cr_assert_eq(manifest_state_dead(s, &dead), SETT_OK);
	uint64_t ids = dead ? dead->sum.ids : 0;
	dead_list_release(dead);
	return ids;
}

/* The state must be that after `n` edits. */
static void
check_state(const struct manifest_state *s, uint64_t n)
{
	size_t tables = n < 3 ? n : 3;
	cr_assert_eq(s->table_count, tables);
	for (size_t i = 0; i < tables; i++) {
		uint64_t number = n - tables + 1 + i;
		const struct manifest_table *t = &s->tables[i];
		cr_assert_eq(t->number, number);
		cr_assert(t->level == number % SETT_LEVELS && t->size == number * 10);
		cr_assert(t->held_bytes == number && t->held_timestamp == number * 2);
	}
	cr_assert_eq(dead_ids_of(s), n);
	cr_assert(bytes_equal(buffer_bytes(&s->pending), bytes_of((const uint8_t *)&n, n % 8)));
	cr_assert_eq(s->file_limit, 100 + n);
	if (n == 0)
		return;
	cr_assert(s->log_segment == n + 1000 && s->flushed == n + 2000 && s->now_ms == n + 3000);
	cr_assert(s->durable == n + 4000 && s->is_closed == n % 2);
	cr_assert_eq(s->counter_count, 2);
	cr_assert(s->counters[0].value == (int64_t)n && s->counters[1].value == -(int64_t)n);
	cr_assert_eq(s->counters[1].counter, UINT64_MAX);
}

static void
check_load(struct vfs *vfs, uint64_t n)
{
	struct manifest_state state;
	struct sett_error error = {0};
	cr_assert_eq(manifest_load(vfs, DIRECTORY, &state, &error), SETT_OK, "%s", error.message);
	check_state(&state, n);
	manifest_state_free(&state);
}

Test(manifest, none_is_not_found)
{
	struct vfs *vfs = make_vfs();
	struct manifest_state state;
	cr_assert_eq(manifest_load(vfs, DIRECTORY, &state, NULL), SETT_NOT_FOUND);
	vfs->operations->destroy(vfs);
}

Test(manifest, returns_what_was_put)
{
	struct vfs *vfs = make_vfs();
	struct manifest *m = create(vfs);
	check_load(vfs, 0);
	for (uint64_t n = 1; n <= MAX_EDITS; n++) {
		cr_assert_eq(append(m, n), SETT_OK);
		check_load(vfs, n);
	}
	manifest_close(m);
	vfs->operations->destroy(vfs);
}

Test(manifest, a_prefix_leaves_by_an_edit)
{
	struct vfs *vfs = make_vfs();
	struct manifest *m = create(vfs);
	struct buffer b = {0};
	uint64_t one = 1;
	struct dead_list *dead = dead_list_of(bytes_of((const uint8_t *)&one, 2));
	cr_assert_eq(append(m, 1), SETT_OK);
	cr_assert_eq(manifest_put_dead_gone(&b, dead), SETT_OK);
	dead_list_release(dead);
	cr_assert_eq(manifest_append(m, buffer_bytes(&b), NULL), SETT_OK);
	struct manifest_state state;
	cr_assert_eq(manifest_load(vfs, DIRECTORY, &state, NULL), SETT_OK);
	cr_assert_eq(dead_ids_of(&state), 0);
	manifest_state_free(&state);
	buffer_free(&b);
	manifest_close(m);
	vfs->operations->destroy(vfs);
}

/* A damaged byte is found and named, or (in the last mark) changes nothing: no acknowledged edit goes
 * silently. */
Test(manifest, every_flipped_byte)
{
	struct vfs *vfs = make_vfs();
	struct manifest *m = create(vfs);
	for (uint64_t n = 1; n <= 5; n++)
		cr_assert_eq(append(m, n), SETT_OK);
	uint64_t size = manifest_size(m);
	unsigned corrupt = 0;
	for (uint64_t at = 0; at < size; at++) {
		struct manifest_state state;
		struct sett_error error = {0};
		uint8_t mask = (uint8_t)(1u << at % 8);
		cr_assert_eq(vfs_memory_damage(vfs, PATH, at, mask), SETT_OK);
		int r = manifest_load(vfs, DIRECTORY, &state, &error);
		if (r == SETT_OK) {
			check_state(&state, 5);
			manifest_state_free(&state);
		} else {
			cr_assert_eq(r, SETT_CORRUPT, "byte %llu: %d", (unsigned long long)at, r);
			cr_assert_not_null(strstr(error.message, PATH));
			cr_assert_not_null(strstr(error.message, "offset"));
			corrupt++;
		}
		cr_assert_eq(vfs_memory_damage(vfs, PATH, at, mask), SETT_OK);
	}
	cr_assert_eq(corrupt, size - 5 * 16); /* all but the marks */
	manifest_close(m);
	vfs->operations->destroy(vfs);
}

/* Cut anywhere: an edit is there as a whole or not at all, and never one without those before it. */
Test(manifest, every_cut)
{
	struct vfs *vfs = make_vfs();
	struct manifest *m = create(vfs);
	uint64_t ends[6] = {manifest_size(m)};
	for (uint64_t n = 1; n <= 5; n++) {
		cr_assert_eq(append(m, n), SETT_OK);
		ends[n] = manifest_size(m) - 16; /* without the mark */
	}
	struct vfs_file *file;
	cr_assert_eq(vfs_open(vfs, PATH, VFS_READ | VFS_WRITE, &file, NULL), SETT_OK);
	for (uint64_t size = manifest_size(m); size-- > 0;) {
		cr_assert_eq(vfs_truncate(file, size, NULL), SETT_OK);
		struct manifest_state state;
		int r = manifest_load(vfs, DIRECTORY, &state, NULL);
		if (size < ends[0]) {
			cr_assert_eq(r, SETT_CORRUPT); /* it never had its name without that */
			continue;
		}
		uint64_t n = 5;
		while (ends[n] > size)
			n--;
		cr_assert_eq(r, SETT_OK);
		check_state(&state, n);
		/* Where what was left out begins; a whole mark may be there. */
		bool has_mark = n > 0 && size >= ends[n] + 16;
		cr_assert_eq(state.end, ends[n] + 16 * has_mark);
		cr_assert_eq(state.torn_at, size > state.end ? state.end : 0);
		manifest_state_free(&state);
	}
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
	manifest_close(m);
	vfs->operations->destroy(vfs);
}

/* Gives the manifest a header of that version, right but for `checksum`, which is added. */
static void
write_header(struct vfs *vfs, uint32_t version, uint32_t checksum)
{
	uint8_t header[MANIFEST_HEADER_SIZE];
	struct vfs_file *file;
	manifest_header_encode(header, MANIFEST_VERSION);
	put_le32(header + 8, version);
	put_le32(header + 12, (uint32_t)hash64(header, 12, 0) + checksum);
	cr_assert_eq(vfs_open(vfs, PATH, VFS_WRITE, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_write_bytes(file, header, sizeof(header), 0, NULL), SETT_OK);
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
}

/* As Sett 0.1 wrote it: version 1, and fields 5 and 6 for dropped prefixes. */
Test(manifest, prefixes_of_version_1_are_read)
{
	struct vfs *vfs = make_vfs();
	static const uint8_t payload[] = {7, 100, 5, 3, 2, 'a', 'b', 5, 4, 1, 'c', 6, 3, 2, 'a', 'b'};
	uint8_t bytes[MANIFEST_HEADER_SIZE + MANIFEST_RECORD_HEADER_SIZE + sizeof(payload)];
	uint8_t *record = bytes + MANIFEST_HEADER_SIZE;
	struct manifest_state state;
	struct dead_list *dead;
	struct vfs_file *file;
	manifest_header_encode(bytes, MANIFEST_VERSION);
	put_le32(record, MANIFEST_RECORD_MAGIC);
	put_le32(record + 4, sizeof(payload));
	put_le64(record + 8, manifest_record_checksum(MANIFEST_HEADER_SIZE, payload, sizeof(payload)));
	memcpy(record + MANIFEST_RECORD_HEADER_SIZE, payload, sizeof(payload));
	cr_assert_eq(vfs_open(vfs, PATH, VFS_READ | VFS_WRITE | VFS_CREATE, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_write_bytes(file, bytes, sizeof(bytes), 0, NULL), SETT_OK);
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
	write_header(vfs, 1, 0);
	cr_assert_eq(manifest_load(vfs, DIRECTORY, &state, NULL), SETT_OK);
	cr_assert_eq(state.file_limit, 100);
	cr_assert_eq(manifest_state_dead(&state, &dead), SETT_OK);
	cr_assert(dead->sum.ids == 1 && dead->sum.unknown == 1);
	struct dead_cursor c;
	dead_cursor_init(&c, dead);
	cr_assert(bytes_equal(dead_range_low(&c.now), BYTES_LITERAL("c")) && !c.now.is_id);
	dead_list_release(dead);
	manifest_state_free(&state);
	vfs->operations->destroy(vfs);
}

Test(manifest, a_version_that_is_not_known_is_no_damage_and_an_older_one_is_read)
{
	struct vfs *vfs = make_vfs();
	struct manifest *m = create(vfs);
	struct manifest_state state;
	struct sett_error error = {0};
	cr_assert_eq(append(m, 1), SETT_OK);
	manifest_close(m);
	for (uint32_t version = 0; version <= MANIFEST_SEALED_VERSION + 1; version++) {
		if (version == MANIFEST_SEALED_VERSION)
			continue; /* tests/storage/encryption.c */
		write_header(vfs, version, 0);
		int r = manifest_load(vfs, DIRECTORY, &state, &error);
		if (version >= MANIFEST_OLDEST_VERSION && version <= MANIFEST_VERSION) {
			cr_assert_eq(r, SETT_OK, "%s", error.message);
			cr_assert_eq(state.version, version);
			check_state(&state, 1);
			manifest_state_free(&state);
			continue;
		}
		char said[64];
		snprintf(said, sizeof(said), PATH " at offset 0: a manifest of version %u;", version);
		cr_assert_eq(r, SETT_CORRUPT);
		cr_assert_not_null(strstr(error.message, said), "%s", error.message);
	}
	write_header(vfs, MANIFEST_VERSION + 1, 1);
	cr_assert_eq(manifest_load(vfs, DIRECTORY, &state, &error), SETT_CORRUPT);
	cr_assert_not_null(strstr(error.message, "the header is damaged"), "%s", error.message);
	vfs->operations->destroy(vfs);
}

struct cut {
	struct vfs *vfs, *left;
	enum vfs_crash_mode mode;
	uint64_t seed;
};

static void
cut_here(void *arg)
{
	struct cut *c = arg;
	c->left = vfs_memory_crash_clone(c->vfs, c->mode, c->seed);
}

/* A power cut before any operation: what was acknowledged before is there, and at most the one under way
 * more. */
static bool
cut_at(uint64_t operation, enum vfs_crash_mode mode)
{
	struct vfs *vfs = make_vfs();
	struct manifest *m = create(vfs);
	struct cut c = {.vfs = vfs, .mode = mode, .seed = operation};
	uint64_t acknowledged = 0;
	vfs_memory_on_operation(vfs, vfs_memory_operation_count(vfs) + operation, cut_here, &c);
	for (uint64_t n = 1; n <= 6 && !c.left; n++) {
		if (n == 4) { /* written anew, in the state it has */
			struct buffer all = first_payload();
			for (uint64_t i = 1; i < n; i++) {
				struct buffer b = edit_payload(i);
				cr_assert_eq(buffer_append(&all, b.data, b.size), SETT_OK);
				buffer_free(&b);
			}
			manifest_close(m);
			cr_assert_eq(manifest_create(vfs, DIRECTORY, buffer_bytes(&all), &m, NULL), SETT_OK);
			buffer_free(&all);
			if (c.left)
				break;
		}
		cr_assert_eq(append(m, n), SETT_OK);
		if (!c.left)
			acknowledged = n;
	}
	bool cut = c.left != NULL;
	if (cut) {
		struct manifest_state state;
		struct sett_error error = {0};
		cr_assert_eq(manifest_load(c.left, DIRECTORY, &state, &error), SETT_OK, "%s", error.message);
		uint64_t n = state.file_limit - 100;
		cr_assert(n == acknowledged || n == acknowledged + 1, "%llu after %llu",
			  (unsigned long long)n, (unsigned long long)acknowledged);
		check_state(&state, n);
		manifest_state_free(&state);
		c.left->operations->destroy(c.left);
	}
	manifest_close(m);
	vfs->operations->destroy(vfs);
	return cut;
}

Test(manifest, a_power_cut_at_every_operation)
{
	for (enum vfs_crash_mode mode = VFS_CRASH_DROP; mode <= VFS_CRASH_RANDOM; mode++) {
		uint64_t operation = 1;
		while (cut_at(operation, mode))
			operation++;
		cr_assert_gt(operation, 15);
	}
}

/* A failed write is taken back, and the next edit goes on; after a failed sync nothing goes on. */
Test(manifest, failures)
{
	for (uint64_t call = 1; call <= 3; call++) {
		struct vfs *memory = make_vfs(), *vfs = vfs_fault_create(memory);
		struct manifest *m = create(vfs);
		cr_assert_eq(append(m, 1), SETT_OK);
		vfs_fault_arm(vfs, call == 2 ? VFS_FAULT_SHORT_WRITE : VFS_FAULT_NO_SPACE, 1, false);
		int r = append(m, 2);
		cr_assert_neq(r, SETT_OK);
		cr_assert_neq(r, SETT_FAILED);
		vfs_fault_arm(vfs, VFS_FAULT_NO_SPACE, 0, false);
		vfs_fault_arm(vfs, VFS_FAULT_SHORT_WRITE, 0, false);
		check_load(vfs, 1);
		cr_assert_eq(append(m, 2), SETT_OK);
		check_load(vfs, 2);
		vfs_fault_arm(vfs, VFS_FAULT_SYNC, 1, false);
		cr_assert_eq(append(m, 3), SETT_FAILED);
		cr_assert_eq(append(m, 4), SETT_FAILED);
		manifest_close(m);
		vfs->operations->destroy(vfs);
		memory->operations->destroy(memory);
	}
}

Test(manifest, noise_never_crashes)
{
	struct random random;
	random_seed(&random, 5);
	for (unsigned round = 0; round < 300; round++) {
		struct vfs *vfs = make_vfs();
		uint8_t noise[300];
		struct buffer b = {0};
		uint64_t size = 1 + random_below(&random, sizeof(noise));
		for (uint64_t i = 0; i < size; i++)
			noise[i] = (uint8_t)(random_below(&random, 2) ? random_below(&random, 9)
								      : random_next(&random));
		cr_assert_eq(buffer_append(&b, noise, size), SETT_OK);
		struct manifest *m;
		cr_assert_eq(manifest_create(vfs, DIRECTORY, buffer_bytes(&b), &m, NULL), SETT_OK);
		struct manifest_state state;
		int r = manifest_load(vfs, DIRECTORY, &state, NULL);
		cr_assert(r == SETT_OK || r == SETT_CORRUPT);
		if (r == SETT_OK)
			manifest_state_free(&state);
		manifest_close(m);
		buffer_free(&b);
		vfs->operations->destroy(vfs);
	}
}

/* The ring of figures: what is written comes back, of the tier that fits, and what is old, damaged or foreign does not. */
#include "info/figure_ring.h"

#include <criterion/criterion.h>
#include <string.h>

#define PATH "ring"
#define BEGIN_MS 1800000000000ULL /* a whole minute */

static struct figure_ring *
open_ring(struct vfs *vfs, bool expect_replaced)
{
	struct figure_ring *ring;
	bool replaced = !expect_replaced;
	cr_assert_eq(figure_ring_open(vfs, PATH, &ring, &replaced, NULL), SETT_OK);
	cr_assert_eq(replaced, expect_replaced);
	return ring;
}

static void
write_at(struct figure_ring *ring, unsigned tier, uint64_t time_ms, uint64_t figure)
{
	struct figure_sample sample = {.time_ms = time_ms, .span_ms = figure_ring_step(tier) * 1000};
	for (unsigned i = 0; i < FIGURES; i++)
		sample.values[i] = figure + i;
	cr_assert_eq(figure_ring_write(ring, tier, &sample, NULL), SETT_OK);
}

/* The lines behind the names: how many, and the times of the first and the last. */
struct lines {
	size_t count;
	uint64_t first_ms, last_ms;
};

static struct lines
print(struct figure_ring *ring, uint64_t seconds, uint64_t end_ms)
{
	struct buffer text = {0};
	struct lines lines = {0};
	cr_assert_eq(figure_ring_print(ring, seconds, end_ms, &text, NULL), SETT_OK);
	cr_assert_eq(buffer_append(&text, "", 1), SETT_OK);
	cr_assert_eq(strncmp((char *)text.data, "time_ms,span_ms,commands,", 25), 0);
	for (char *at = strchr((char *)text.data, '\n') + 1; *at != '\0'; at = strchr(at, '\n') + 1) {
		lines.last_ms = strtoull(at, NULL, 10);
		if (lines.count++ == 0)
			lines.first_ms = lines.last_ms;
	}
	buffer_free(&text);
	return lines;
}

static void
expect_lines(struct figure_ring *ring, uint64_t seconds, uint64_t end_ms, struct lines expected)
{
	struct lines seen = print(ring, seconds, end_ms);
	cr_assert_eq(seen.count, expected.count, "%zu lines", seen.count);
	cr_assert_eq(seen.first_ms, expected.first_ms);
	cr_assert_eq(seen.last_ms, expected.last_ms);
}

Test(figure_ring, a_sample_comes_back_with_all_its_figures)
{
	struct vfs *vfs = vfs_memory_create();
	struct figure_ring *ring = open_ring(vfs, false);
	struct buffer text = {0};
	expect_lines(ring, 60, 0, (struct lines){0});
	write_at(ring, 0, BEGIN_MS + 123, 7);
	figure_ring_close(ring);
	cr_assert_eq(figure_ring_open_to_read(vfs, PATH, &ring, NULL), SETT_OK);
	cr_assert_eq(figure_ring_print(ring, 1, BEGIN_MS + 999, &text, NULL), SETT_OK);
	cr_assert_eq(buffer_append(&text, "", 1), SETT_OK);
	cr_assert_str_eq(
		strchr((char *)text.data, '\n') + 1,
		"1800000000123,1000,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,"
		"31,32,33,34,35,36,37,38\n");
	buffer_free(&text);
	expect_lines(ring, 1, BEGIN_MS + 1000, (struct lines){0});
	expect_lines(ring, 2, BEGIN_MS + 1000, (struct lines){1, BEGIN_MS + 123, BEGIN_MS + 123});
	figure_ring_close(ring);
	vfs->operations->destroy(vfs);
}

Test(figure_ring, a_round_later_the_old_are_gone)
{
	struct vfs *vfs = vfs_memory_create();
	struct figure_ring *ring = open_ring(vfs, false);
	for (uint64_t i = 0; i < 5000; i++)
		write_at(ring, 0, BEGIN_MS + i * 1000, i);
	uint64_t last = BEGIN_MS + 4999000;
	expect_lines(ring, 3600, 0, (struct lines){3600, last - 3599000, last});
	expect_lines(ring, 10, 0, (struct lines){10, last - 9000, last});
	/* An hour after the last, the older half of what is asked for is there no more. */
	expect_lines(ring, 3600, last + 1800000, (struct lines){1800, last - 1799000, last});
	expect_lines(ring, 3600, last + 4000000, (struct lines){0});
	/* A clock that was set back begins over what it meets. */
	write_at(ring, 0, BEGIN_MS, 1);
	expect_lines(ring, 5, BEGIN_MS, (struct lines){1, BEGIN_MS, BEGIN_MS});
	figure_ring_close(ring);
	vfs->operations->destroy(vfs);
}

Test(figure_ring, the_finest_tier_is_taken_that_reaches_back_as_far_as_there_are_any)
{
	struct vfs *vfs = vfs_memory_create();
	struct figure_ring *ring = open_ring(vfs, false);
	uint64_t now = BEGIN_MS;
	for (uint64_t i = 0; i < 100; i++, now += 1000)
		for (unsigned tier = 0; tier < FIGURE_TIERS; tier++)
			if (i % figure_ring_step(tier) == 0)
				write_at(ring, tier, now, i);
	uint64_t last = now - 1000;
	expect_lines(ring, 86400, 0, (struct lines){100, BEGIN_MS, last});
	expect_lines(ring, 7200, 0, (struct lines){100, BEGIN_MS, last});
	/* With a sample of three hours ago, and one of ten. */
	write_at(ring, 1, BEGIN_MS - 3 * 3600000ULL, 1);
	write_at(ring, 2, BEGIN_MS - 3 * 3600000ULL, 1);
	expect_lines(ring, 86400, 0, (struct lines){8, BEGIN_MS - 3 * 3600000ULL, BEGIN_MS + 90000});
	expect_lines(ring, 3600, 0, (struct lines){100, BEGIN_MS, last});
	write_at(ring, 2, BEGIN_MS - 10 * 3600000ULL, 1);
	expect_lines(ring, 86400, 0, (struct lines){4, BEGIN_MS - 10 * 3600000ULL, BEGIN_MS + 60000});
	expect_lines(ring, 4 * 3600, 0, (struct lines){8, BEGIN_MS - 3 * 3600000ULL, BEGIN_MS + 90000});
	figure_ring_close(ring);
	vfs->operations->destroy(vfs);
}

static void
overwrite(struct vfs *vfs, uint64_t offset, const void *data, size_t size)
{
	struct vfs_file *file;
	const struct iovec piece = {(void *)data, size};
	cr_assert_eq(vfs_open(vfs, PATH, VFS_READ | VFS_WRITE, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_write(file, &piece, 1, offset, NULL), SETT_OK);
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
}

Test(figure_ring, damage_costs_a_sample_or_begins_again)
{
	struct vfs *vfs = vfs_memory_create();
	uint64_t size, size_now;
	struct vfs_file *file;
	struct figure_ring *ring = open_ring(vfs, false);
	for (uint64_t i = 0; i < 3; i++)
		write_at(ring, 0, BEGIN_MS + i * 1000, i);
	figure_ring_close(ring);
	/* BEGIN_MS is a multiple of an hour: its place is the first. */
	overwrite(vfs, 64 + 280 + 100, "x", 1);
	ring = open_ring(vfs, false);
	expect_lines(ring, 60, 0, (struct lines){2, BEGIN_MS, BEGIN_MS + 2000});
	figure_ring_close(ring);
	overwrite(vfs, 8, "\2", 1); /* a version to come */
	cr_assert_eq(figure_ring_open_to_read(vfs, PATH, &ring, NULL), SETT_CORRUPT);
	ring = open_ring(vfs, true);
	expect_lines(ring, 60, 0, (struct lines){0});
	write_at(ring, 0, BEGIN_MS, 1);
	figure_ring_close(ring);
	cr_assert_eq(vfs_open(vfs, PATH, VFS_READ | VFS_WRITE, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_size(file, &size, NULL), SETT_OK);
	cr_assert_eq(vfs_truncate(file, size - 1, NULL), SETT_OK);
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
	ring = open_ring(vfs, true);
	figure_ring_close(ring);
	cr_assert_eq(vfs_open(vfs, PATH, VFS_READ, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_size(file, &size_now, NULL), SETT_OK);
	cr_assert_eq(size_now, size);
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
	cr_assert_eq(figure_ring_open_to_read(vfs, "none", &ring, NULL), SETT_NOT_FOUND);
	vfs->operations->destroy(vfs);
}

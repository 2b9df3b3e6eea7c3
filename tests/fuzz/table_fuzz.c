/* Fuzz target of sorted tables: a damaged file gives an error, never a crash, a hang or a wrong order.
 *
 * The first byte of the input says what the rest is:
 *     bit 0 clear   the file itself
 *     bit 0 set     a recipe: seed, compression, entries, block size, then patches of four bytes each
 *                   (place: two bytes, what, value) to the table built from it
 *     bit 1 set     all checksums are made right again afterwards, so that what lies behind them is reached
 *
 * A recipe without patches must read back whole; a patched one without repaired checksums must be refused. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../storage/bytes_file.h"
#include "storage/base/random.h"
#include "table.h"
#include "table_format.h"
#include "table_index.h"

enum { NUMBER = 7, STEPS = 20000, RECIPE = 1, REPAIR = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool holds)
{
	if (!holds)
		abort();
}

/* ---- building ---- */

static struct bytes
random_value(struct random *r, uint8_t room[512])
{
	static const uint8_t text[] = "the quick brown fox jumps over the lazy dog, and so on and on";
	struct entry e = {.kind = (uint8_t)random_below(r, 3)};
	if (e.kind != ENTRY_TOMBSTONE) {
		e.head = bytes_of(text, random_below(r, 5));
		e.expires_at = random_below(r, 3) ? 0 : random_next(r) >> 20;
	}
	if (e.kind == ENTRY_INLINE)
		e.body = bytes_of(text, random_below(r, sizeof(text)));
	if (e.kind == ENTRY_POINTER)
		e.pointer = (struct value_pointer){random_below(r, 4), random_below(r, 1 << 20), 5000, 4980};
	return bytes_of(room, (size_t)(entry_encode(&e, room) - room));
}

static uint64_t
build(struct bytes_file *f, const uint8_t recipe[4])
{
	struct table_builder_options options = {.number = NUMBER,
						.compression = (enum table_compression)(recipe[1] % 3),
						.block_size = 1 + recipe[3] * 16u};
	struct table_builder *b;
	struct random r;
	random_seed(&r, recipe[0]);
	check(table_builder_create(bytes_file_open(f), &options, &b) == SETT_OK);
	uint8_t room[512], key[32];
	unsigned entries = recipe[2] ? recipe[2] : 1;
	for (unsigned n = 0; n < entries; n++) {
		/* Three versions a key. */
		size_t size = (size_t)snprintf((char *)key, sizeof(key), "key:%05u", n / 3);
		check(table_builder_add(b, (struct ikey){bytes_of(key, size), 1000 - n},
					random_value(&r, room), NULL) == SETT_OK);
	}
	uint64_t size, count = table_builder_entries(b);
	struct table_properties p;
	check(table_builder_finish(b, &p, &size, NULL) == SETT_OK);
	check(size == f->content.size);
	table_properties_free(&p);
	table_builder_destroy(b);
	return count;
}

static void
patch(struct buffer *file, const uint8_t p[4])
{
	if (file->size == 0)
		return;
	size_t at = (size_t)(p[0] << 8 | p[1]) % file->size;
	if (p[2] & 1) /* near the end, where the structure is */
		at = file->size - 1 - at % (file->size < 256 ? file->size : 256);
	uint8_t before = file->data[at];
	switch (p[2] >> 1 & 3) {
	case 0:
		file->data[at] ^= p[3];
		break;
	case 1:
		file->data[at] = p[3];
		break;
	case 2:
		file->data[at] = (uint8_t)(before + p[3]);
		break;
	default:
		if (p[3] == 0xff)
			file->size = at; /* cut off */
		break;
	}
}

/* ---- repairing checksums ---- */

static bool
repair_block(struct buffer *f, uint64_t offset, uint64_t end)
{
	if (end > f->size || offset >= end || end - offset <= TABLE_TRAILER_SIZE)
		return false;
	size_t payload = (size_t)(end - offset) - TABLE_TRAILER_SIZE;
	uint8_t *p = f->data + offset;
	table_trailer_put(p, payload, p[payload], NUMBER, offset);
	return true;
}

static void
repair_children(struct buffer *f, uint64_t offset, uint64_t end, unsigned depth)
{
	struct index_view view;
	if (!repair_block(f, offset, end) || depth == 0 ||
	    index_view_parse(bytes_of(f->data + offset, (size_t)(end - offset) - TABLE_TRAILER_SIZE),
			     &view) != SETT_OK)
		return;
	/* Children lie in front of their parent; the offsets are read before a child could change them. */
	for (uint32_t i = 0; i < view.count; i++)
		if (index_offset(&view, i + 1) <= offset)
			repair_children(f, index_offset(&view, i), index_offset(&view, i + 1), depth - 1);
}

static void
repair(struct buffer *f)
{
	if (f->size < TABLE_FOOTER_SIZE)
		return;
	uint8_t *p = f->data + f->size - TABLE_FOOTER_SIZE;
	struct table_footer footer = {
		get_le64(p), get_le64(p + 8), get_le64(p + 16), get_le64(p + 24), f->size - TABLE_FOOTER_SIZE,
		NUMBER,      TABLE_VERSION,   get_le32(p + 52)};
	table_footer_encode(&footer, p);
	repair_block(f, footer.filter_end, footer.properties_end);
	repair_block(f, footer.top_end, footer.filter_end);
	repair_children(f, footer.index_end, footer.top_end, 2);
}

/* ---- reading ---- */

/* Walks one way; the keys of a verified table must be in order. Returns how many there were. */
static uint64_t
walk(struct internal_iterator *i, bool forwards, bool verified)
{
	uint64_t count = 0;
	struct buffer last = {0};
	uint64_t last_timestamp = 0;
	int r = forwards ? iiter_first(i) : iiter_last(i);
	for (; r == SETT_OK && count < STEPS; count++) {
		if (verified && count) {
			int c = ikey_compare((struct ikey){buffer_bytes(&last), last_timestamp}, i->key);
			check(forwards ? c < 0 : c > 0);
		}
		buffer_clear(&last);
		check(buffer_append(&last, i->key.user.data, i->key.user.size) == SETT_OK);
		last_timestamp = i->key.timestamp;
		r = forwards ? iiter_next(i) : iiter_previous(i);
	}
	check(i->valid == (r == SETT_OK));
	buffer_free(&last);
	return count;
}

static void
probe(struct table *t, struct internal_iterator *i, struct bytes key, bool verified)
{
	struct table_hit hit;
	int r = table_get(t, key, table_filter_hash(key), 999, 0, &hit, NULL);
	if (r == SETT_OK) {
		volatile uint8_t sum = 0;
		for (size_t n = 0; n < hit.value.size; n++)
			sum = (uint8_t)(sum + hit.value.data[n]);
		block_release(hit.pin);
	}
	int s = iiter_seek(i, (struct ikey){key, 999});
	if (verified && r != SETT_CORRUPT)
		check((r == SETT_OK) == (s == SETT_OK && bytes_equal(i->key.user, key)));
	iiter_seek_before(i, (struct ikey){key, 999});
}

/* Returns what open and verify said. */
static int
read_all(struct bytes_file *f, uint64_t entries)
{
	struct table *t;
	struct sett_error error = {0};
	int r = table_open(bytes_file_open(f), "fuzz.sst", NUMBER, NULL, &t, &error);
	if (r != SETT_OK) {
		check(r == SETT_CORRUPT || r == SETT_NO_MEMORY);
		check(strstr(error.message, "fuzz.sst") != NULL);
		return r;
	}
	r = table_verify(t, &error);
	bool verified = r == SETT_OK;
	struct internal_iterator *i;
	check(table_iterator_create(t, 0, &i) == SETT_OK);
	uint64_t forwards = walk(i, true, verified), backwards = walk(i, false, verified);
	if (verified) {
		check(forwards == backwards);
		check(entries == 0 || forwards == entries);
	}
	static const char *const keys[] = {"", "k", "key:", "key:00001", "key:00040", "key:00084", "zz"};
	for (size_t n = 0; n < sizeof(keys) / sizeof(keys[0]); n++) {
		struct buffer key = {0};
		probe(t, i, bytes_of_string(keys[n]), verified);
		if (table_sample(t, n * 37, 0, &key, NULL) == SETT_OK)
			probe(t, i, buffer_bytes(&key), verified);
		buffer_free(&key);
	}
	iiter_destroy(i);
	table_close(t);
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 5)
		return 0;
	struct bytes_file f = {0};
	uint64_t entries = 0;
	bool changed = false, known = data[0] & RECIPE;
	if (known) {
		entries = build(&f, data + 1);
		uint8_t *original = malloc(f.content.size);
		size_t original_size = f.content.size;
		check(original != NULL);
		memcpy(original, f.content.data, original_size);
		for (size_t at = 5; at + 4 <= size && at < 5 + 64 * 4; at += 4)
			patch(&f.content, data + at);
		changed = f.content.size != original_size ||
			memcmp(original, f.content.data, original_size) != 0;
		free(original);
	} else {
		check(buffer_append(&f.content, data + 1, size - 1) == SETT_OK);
	}
	if (data[0] & REPAIR)
		repair(&f.content);
	int r = read_all(&f, changed ? 0 : entries);
	if (known && !changed)
		check(r == SETT_OK);
	if (known && changed && !(data[0] & REPAIR))
		check(r == SETT_CORRUPT);
	buffer_free(&f.content);
	return 0;
}

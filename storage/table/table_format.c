/* The footer of a table file: what a reader looks at first, and the only part at a known place.
 *
 * Invariant: a footer that decodes describes sections that lie inside the file, in order and without a gap,
 * each large enough for at least one block; readers compute sizes from it without further checks. */
#include "table_format.h"

void
table_footer_encode(const struct table_footer *f, uint8_t p[TABLE_FOOTER_SIZE])
{
	put_le64(p, f->data_end);
	put_le64(p + 8, f->index_end);
	put_le64(p + 16, f->top_end);
	put_le64(p + 24, f->filter_end);
	put_le64(p + 32, f->properties_end);
	put_le64(p + 40, f->number);
	put_le32(p + 48, f->version);
	put_le32(p + 52, f->index_fanout);
	put_le64(p + 56, hash64(p, 56, table_seed(f->number, f->properties_end)));
	put_le64(p + 64, TABLE_MAGIC);
}

/* A section holds at least one block with its trailer. */
static bool
section_fits(uint64_t start, uint64_t end)
{
	return end > start && end - start > TABLE_TRAILER_SIZE;
}

int
table_footer_decode(const uint8_t p[TABLE_FOOTER_SIZE], uint64_t file_size, uint64_t number,
		    struct table_footer *ret, const char **ret_why)
{
	struct table_footer f = {
		.data_end = get_le64(p),
		.index_end = get_le64(p + 8),
		.top_end = get_le64(p + 16),
		.filter_end = get_le64(p + 24),
		.properties_end = get_le64(p + 32),
		.number = get_le64(p + 40),
		.version = get_le32(p + 48),
		.index_fanout = get_le32(p + 52),
	};
	uint64_t start = file_size - TABLE_FOOTER_SIZE;
	const char *why = NULL;
	if (get_le64(p + 64) != TABLE_MAGIC)
		why = "no table magic at its end (cut off, or not a table)";
	else if (get_le64(p + 56) != hash64(p, 56, table_seed(number, start)))
		why = f.number == number ? "the footer's checksum is wrong" : "it is not this table's file";
	else if (f.version != TABLE_VERSION &&
		 f.version !=
			 TABLE_SEALED_VERSION) /* after the checksum: a damaged byte is no other version */
		why = "a table of another version than this program reads";
	else if (f.number != number)
		why = "it is another table's file";
	else if (f.properties_end != start || !section_fits(0, f.data_end) ||
		 !section_fits(f.data_end, f.index_end) || !section_fits(f.index_end, f.top_end) ||
		 !section_fits(f.top_end, f.filter_end) || !section_fits(f.filter_end, f.properties_end))
		why = "the footer's sections are not in order";
	else if (f.index_fanout == 0 || f.index_fanout > TABLE_MAX_FANOUT)
		why = "the footer's index fan-out is out of range";
	if (why) {
		*ret_why = why;
		return SETT_CORRUPT;
	}
	*ret = f;
	return SETT_OK;
}

/* BITFIELD: fields of 1 to 64 bits anywhere in a string, read and changed as integers. The operations are done on the
 * words of 8 bytes that they touch, which are then put into the string at once. */
#include "cmd/bits.h"
#include "cmd/commands.h"
#include "cmd/splice.h"

enum field_operation { FIELD_GET, FIELD_SET, FIELD_INCREMENT };
enum overflow { OVERFLOW_WRAP, OVERFLOW_SATURATE, OVERFLOW_FAIL };

struct field {
	enum field_operation operation;
	enum overflow overflow;
	bool is_signed;
	unsigned width;  /* in bits */
	uint64_t offset; /* of its first bit in the string */
	int64_t value;   /* to set or to add */
};

struct field_word {
	uint64_t index; /* its bytes begin at 8 * index */
	uint64_t bits;  /* the first bit is the most significant */
	bool is_changed;
};

struct bitfield {
	struct field *fields;
	size_t field_count;
	struct field_word *words; /* ascending, each once */
	size_t word_count;
	bool writes;
	uint64_t end; /* in bytes: of the last field that may be written */
};

/* ---- arguments ---- */

static bool
parse_width(struct command_context *c, struct bytes text, struct field *ret)
{
	int64_t width;
	uint8_t first = text.size > 0 ? text.data[0] : 0;
	ret->is_signed = first == 'i';
	if ((first != 'i' && first != 'u') ||
	    !parse_integer(bytes_of(text.data + 1, text.size - 1), &width) || width < 1 ||
	    width > (ret->is_signed ? 64 : 63)) {
		context_error(c,
			      "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not "
			      "supported "
			      "but i64 is.");
		return false;
	}
	ret->width = (unsigned)width;
	return true;
}

static bool
parse_overflow(struct command_context *c, struct bytes word, enum overflow *ret)
{
	if (argument_is(word, "WRAP"))
		*ret = OVERFLOW_WRAP;
	else if (argument_is(word, "SAT"))
		*ret = OVERFLOW_SATURATE;
	else if (argument_is(word, "FAIL"))
		*ret = OVERFLOW_FAIL;
	else
		context_error(c, "ERR Invalid OVERFLOW type specified");
	return !c->failed;
}

/* One operation from argument `*at` on, which moves past it. An OVERFLOW makes none (width 0). */
static bool
parse_field(struct command_context *c, size_t *at, enum overflow *overflow, struct field *ret)
{
	struct bytes word = c->argv[*at];
	size_t left = c->argc - *at - 1;
	struct field f = {0};
	if (argument_is(word, "OVERFLOW") && left >= 1) {
		*ret = f;
		*at += 2;
		return parse_overflow(c, c->argv[*at - 1], overflow);
	}
	if (argument_is(word, "GET") && left >= 2) {
		f.operation = FIELD_GET;
	} else if (argument_is(word, "SET") && left >= 3) {
		f.operation = FIELD_SET;
	} else if (argument_is(word, "INCRBY") && left >= 3) {
		f.operation = FIELD_INCREMENT;
	} else {
		context_syntax_error(c);
		return false;
	}
	f.overflow = *overflow;
	if (!parse_width(c, c->argv[*at + 1], &f) ||
	    !context_bit_offset(c, c->argv[*at + 2], f.width, &f.offset) ||
	    (f.operation != FIELD_GET && !context_integer(c, c->argv[*at + 3], &f.value)))
		return false;
	*at += f.operation == FIELD_GET ? 3 : 4;
	*ret = f;
	return true;
}

static int
parse_fields(struct command_context *c, struct bitfield *ret)
{
	enum overflow overflow = OVERFLOW_WRAP;
	struct field f, *fields = arena_allocate(c->arena, c->argc * sizeof(*fields), _Alignof(struct field));
	if (fields == NULL)
		return SETT_NO_MEMORY;
	*ret = (struct bitfield){.fields = fields};
	for (size_t at = 2; at < c->argc;) {
		if (!parse_field(c, &at, &overflow, &f))
			return OUTCOME_FAILED;
		if (f.width == 0)
			continue;
		fields[ret->field_count++] = f;
		if (f.operation == FIELD_GET)
			continue;
		uint64_t end = (f.offset + f.width + 7) >> 3;
		ret->writes = true;
		ret->end = end > ret->end ? end : ret->end;
	}
	return SETT_OK;
}

/* ---- words ---- */

static int
compare_words(const void *a, const void *b)
{
	uint64_t x = ((const struct field_word *)a)->index, y = ((const struct field_word *)b)->index;
	return x < y ? -1 : x > y;
}

/* How many bytes of the word a string of `size` bytes has. */
static size_t
bytes_of_word(const struct field_word *w, uint64_t size)
{
	uint64_t at = w->index * 8;
	return at >= size ? 0 : size - at < 8 ? (size_t)(size - at) : 8;
}

static int
read_word(const struct key *k, struct field_word *w)
{
	uint8_t bytes[8] = {0};
	size_t size = bytes_of_word(w, string_size(k));
	int status = size > 0 ? key_body_part(k, w->index * 8, size, bytes) : SETT_OK;
	memcpy(&w->bits, bytes, 8);
	w->bits = __builtin_bswap64(w->bits);
	return status;
}

/* Finds the words of all fields, and of the last byte that the string must have, and reads them. */
static int
read_words(struct command_context *c, const struct key *k, struct bitfield *b)
{
	size_t count = 0, kept = 0;
	struct field_word *words = arena_allocate(c->arena, (2 * b->field_count + 1) * sizeof(*words),
						  _Alignof(struct field_word));
	if (words == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < b->field_count; i++) {
		const struct field *f = &b->fields[i];
		words[count++] = (struct field_word){.index = f->offset / 64};
		words[count++] = (struct field_word){.index = (f->offset + f->width - 1) / 64};
	}
	qsort(words, count, sizeof(*words), compare_words);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || words[i].index != words[kept - 1].index)
			words[kept++] = words[i];
	b->words = words;
	b->word_count = kept;
	for (size_t i = 0; i < kept; i++) {
		int status = read_word(k, &words[i]);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

static struct field_word *
find_word(const struct bitfield *b, uint64_t index)
{
	struct field_word wanted = {.index = index};
	struct field_word *found = bsearch(&wanted, b->words, b->word_count, sizeof(wanted), compare_words);
	assert(found != NULL);
	return found;
}

/* The bits of a field, at the low end. */
static uint64_t
load_field(const struct bitfield *b, const struct field *f)
{
	const struct field_word *w = find_word(b, f->offset / 64);
	unsigned skip = f->offset % 64, in_first = 64 - skip;
	if (f->width <= in_first)
		return w->bits << skip >> (64 - f->width);
	unsigned in_next = f->width - in_first;
	return (w->bits & (UINT64_MAX >> skip)) << in_next | w[1].bits >> (64 - in_next);
}

/* Puts the low bits of `value` there. */
static void
store_field(const struct bitfield *b, const struct field *f, uint64_t value)
{
	struct field_word *w = find_word(b, f->offset / 64);
	for (unsigned done = 0; done < f->width; w++) {
		unsigned at = (unsigned)((f->offset + done) % 64);
		unsigned size = f->width - done < 64 - at ? f->width - done : 64 - at;
		uint64_t mask = UINT64_MAX >> (64 - size), part = value >> (f->width - done - size) & mask;
		unsigned shift = 64 - at - size;
		uint64_t bits = (w->bits & ~(mask << shift)) | part << shift;
		w->is_changed = w->is_changed || bits != w->bits;
		w->bits = bits;
		done += size;
	}
}

/* ---- integers ---- */

static int64_t
as_integer(const struct field *f, uint64_t bits)
{
	unsigned spare = 64 - f->width;
	return f->is_signed ? (int64_t)(bits << spare) >> spare : (int64_t)bits;
}

/* What the operation makes of the old value; false: it fails. */
static bool
new_value(const struct field *f, int64_t old, int64_t *ret)
{
	__int128 one = 1, low = f->is_signed ? -(one << (f->width - 1)) : 0;
	__int128 high = f->is_signed ? (one << (f->width - 1)) - 1 : (one << f->width) - 1;
	__int128 value = f->operation == FIELD_INCREMENT ? (__int128)old + f->value : f->value;
	/* An unsigned field is set to a number without a sign: a negative one is far too large. */
	if (f->operation == FIELD_SET && !f->is_signed)
		value = (uint64_t)f->value;
	if (value < low || value > high) {
		if (f->overflow == OVERFLOW_FAIL)
			return false;
		/* Redis 7.0 takes the high end also for what is near the least of all integers. */
		if (f->overflow == OVERFLOW_SATURATE)
			value = value < low ? low : high;
	}
	uint64_t bits = (uint64_t)value & UINT64_MAX >> (64 - f->width);
	*ret = as_integer(f, bits);
	return true;
}

/* Whether the field was written, be it with what it had. */
static bool
run_field(struct command_context *c, const struct bitfield *b, const struct field *f)
{
	int64_t old = as_integer(f, load_field(b, f)), value;
	if (f->operation == FIELD_GET) {
		resp_integer(c->reply, old);
	} else if (new_value(f, old, &value)) {
		store_field(b, f, (uint64_t)value);
		resp_integer(c->reply, f->operation == FIELD_SET ? old : value);
		return true;
	} else {
		resp_null(c->reply);
	}
	return false;
}

/* ---- the commands ---- */

/* Puts what has changed. The string becomes long enough for all fields, also for those that fail; and raw, also if
 * nothing changes. */
static int
put_words(struct command_context *c, struct key *k, const struct bitfield *b)
{
	uint64_t old_size = string_size(k), size = b->end > old_size ? b->end : old_size;
	bool must_change = size > old_size || k->root.encoding != STRING_RAW;
	size_t count = 0;
	struct string_part *parts =
		arena_allocate(c->arena, b->word_count * sizeof(*parts), _Alignof(struct string_part));
	if (parts == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < b->word_count; i++) {
		struct field_word *w = &b->words[i];
		size_t part = bytes_of_word(w, size);
		if (part == 0 || !(w->is_changed || must_change))
			continue;
		w->bits = __builtin_bswap64(w->bits);
		parts[count++] = (struct string_part){
			.offset = w->index * 8, .size = part, .data = (const uint8_t *)&w->bits};
	}
	return count > 0 ? string_splice(c, k, parts, count) : SETT_OK;
}

static int
run_bitfield(struct command_context *c, struct bitfield *b)
{
	struct key k;
	/* Without a write it counts as a read. */
	int status = b->writes ? open_string(c, c->argv[1], &k) : open_read_string(c, c->argv[1], &k);
	if (status == SETT_OK)
		status = read_words(c, &k, b);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, b->field_count);
	bool has_written = false;
	for (size_t i = 0; i < b->field_count; i++)
		has_written |= run_field(c, b, &b->fields[i]);
	status = b->writes ? put_words(c, &k, b) : SETT_OK;
	return has_written ? tell(status, &k, EVENT_STRING, "setbit") : status;
}

int
command_bitfield(struct command_context *c)
{
	struct bitfield b;
	int status = parse_fields(c, &b);
	return status == SETT_OK ? run_bitfield(c, &b) : status;
}

int
command_bitfield_ro(struct command_context *c)
{
	struct bitfield b;
	int status = parse_fields(c, &b);
	if (status != SETT_OK)
		return status;
	if (b.writes)
		return context_error(c, "ERR BITFIELD_RO only supports the GET subcommand");
	return run_bitfield(c, &b);
}

/* BITFIELD only reads its key if all its operations are GET. What can't be parsed counts as a write, as in Redis. */
int
key_rule_of_bitfield(const struct bytes *argv, size_t argc, struct command_key *ret, size_t *ret_count)
{
	bool writes = false;
	for (size_t i = 2; i < argc && !writes;) {
		size_t left = argc - i - 1;
		if (argument_is(argv[i], "GET") && left >= 2)
			i += 3;
		else if (argument_is(argv[i], "OVERFLOW") && left >= 1)
			i += 2;
		else
			writes = true;
	}
	ret[0] = (struct command_key){
		.position = 1, .flags = writes ? KEY_RW | KEY_ACCESS | KEY_UPDATE : KEY_RO | KEY_ACCESS};
	*ret_count = 1;
	return SETT_OK;
}

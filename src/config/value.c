/* Values of directives: from words, to text, compared. The scalar kinds are here, the textual ones in
 * value_text.c. Wording of the reasons is Redis 7.0's: clients and tests match it. */
#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>

#include "config/directive.h"

static int
refuse(char *reason, const char *text)
{
	snprintf(reason, DIRECTIVE_REASON_SIZE, "%s", text);
	return SETT_INVALID;
}

bool
parse_decimal_integer(struct bytes text, int64_t *ret)
{
	bool negative = text.size > 0 && text.data[0] == '-';
	size_t i = negative;
	/* No leading zeros, plus or spaces: as strict as the integers of commands. */
	if (text.size == i || text.size - i > 19 || (text.data[i] == '0' && (text.size - i > 1 || negative)))
		return false;
	uint64_t value = 0;
	for (; i < text.size; i++) {
		if (!isdigit(text.data[i]))
			return false;
		value = value * 10 + (uint64_t)(text.data[i] - '0');
	}
	if (value > (uint64_t)INT64_MAX + negative)
		return false;
	*ret = negative ? (int64_t)(0 - value) : (int64_t)value;
	return true;
}

bool
parse_memory(struct bytes text, uint64_t *ret)
{
	static const struct {
		const char *unit;
		uint64_t factor;
	} units[] = {{"", 1},        {"b", 1},        {"k", 1000},       {"kb", 1 << 10},
		     {"m", 1000000}, {"mb", 1 << 20}, {"g", 1000000000}, {"gb", 1 << 30}};
	size_t digits = 0;
	uint64_t value = 0;
	for (; digits < text.size && isdigit(text.data[digits]); digits++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(text.data[digits] - '0'), &value))
			value = UINT64_MAX;
	}
	if (digits == 0)
		return false;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (strlen(units[i].unit) != text.size - digits ||
		    strncasecmp(units[i].unit, (const char *)text.data + digits, text.size - digits) != 0)
			continue;
		*ret = value > UINT64_MAX / units[i].factor ? UINT64_MAX : value * units[i].factor;
		return true;
	}
	return false;
}

static int
parse_boolean(struct bytes word, int64_t *ret, char *reason)
{
	if (word.size == 3 && strncasecmp((const char *)word.data, "yes", 3) == 0)
		*ret = 1;
	else if (word.size == 2 && strncasecmp((const char *)word.data, "no", 2) == 0)
		*ret = 0;
	else
		return refuse(reason, "argument must be 'yes' or 'no'");
	return SETT_OK;
}

static const struct choice *
find_choice(const struct choice *choices, struct bytes word)
{
	for (const struct choice *c = choices; c->word != NULL; c++)
		if (strlen(c->word) == word.size &&
		    strncasecmp(c->word, (const char *)word.data, word.size) == 0)
			return c;
	return NULL;
}

static int
refuse_choice(const struct directive *row, char *reason)
{
	int used = snprintf(reason, DIRECTIVE_REASON_SIZE, "argument(s) must be one of the following: ");
	for (const struct choice *c = row->choices; c->word != NULL; c++)
		used += snprintf(reason + used, DIRECTIVE_REASON_SIZE - (size_t)used, "%s%s",
				 c == row->choices ? "" : ", ", c->word);
	return SETT_INVALID;
}

static int
parse_choices(const struct directive *row, const struct bytes *words, size_t count, int64_t *ret,
	      char *reason)
{
	int64_t value = 0;
	for (size_t i = 0; i < count; i++) {
		const struct choice *found = find_choice(row->choices, words[i]);
		if (found == NULL || (row->kind == KIND_CHOICE && count > 1))
			return refuse_choice(row, reason);
		value |= found->value;
	}
	if (count == 0)
		return refuse_choice(row, reason);
	*ret = value;
	return SETT_OK;
}

/* The largest value is unsigned, so a memory value is compared without its sign. */
static int
check_bounds(const struct directive *row, int64_t value, bool is_percent, char *reason)
{
	if (is_percent) {
		if (value >= row->low)
			return SETT_OK;
		snprintf(reason, DIRECTIVE_REASON_SIZE,
			 "percentage argument must be less or equal to %" PRId64, -row->low);
		return SETT_INVALID;
	}
	bool is_unsigned = (row->flags & DIRECTIVE_MEMORY) || row->high > INT64_MAX;
	bool too_low = is_unsigned ? row->low > 0 && (uint64_t)value < (uint64_t)row->low : value < row->low;
	bool too_high = is_unsigned ? (uint64_t)value > row->high : value > 0 && (uint64_t)value > row->high;
	if (!too_low && !too_high)
		return SETT_OK;
	if (row->flags & DIRECTIVE_OCTAL)
		snprintf(reason, DIRECTIVE_REASON_SIZE,
			 "argument must be between %" PRIo64 " and %" PRIo64 " inclusive", (uint64_t)row->low,
			 row->high);
	else if (row->high > INT64_MAX)
		snprintf(reason, DIRECTIVE_REASON_SIZE,
			 "argument must be between %" PRId64 " and %" PRIu64 " inclusive", row->low,
			 row->high);
	else
		snprintf(reason, DIRECTIVE_REASON_SIZE,
			 "argument must be between %" PRId64 " and %" PRId64 " inclusive", row->low,
			 (int64_t)row->high);
	return SETT_INVALID;
}

static bool
parse_octal(struct bytes word, int64_t *ret)
{
	int64_t value = 0;
	if (word.size == 0 || word.size > 20)
		return false;
	for (size_t i = 0; i < word.size; i++) {
		if (word.data[i] < '0' || word.data[i] > '7')
			return false;
		value = value * 8 + (word.data[i] - '0');
	}
	*ret = value;
	return true;
}

static int
parse_integer_value(const struct directive *row, struct bytes word, int64_t *ret, char *reason)
{
	int64_t value = 0;
	bool is_percent = false;
	if (row->flags & DIRECTIVE_OCTAL) {
		if (!parse_octal(word, &value))
			return refuse(reason, "argument couldn't be parsed as an octal number");
	} else if (row->flags & DIRECTIVE_MEMORY) {
		uint64_t memory;
		if ((row->flags & DIRECTIVE_PERCENT) && word.size > 1 && word.data[word.size - 1] == '%' &&
		    parse_decimal_integer(bytes_of(word.data, word.size - 1), &value) && value >= 0) {
			value = -value;
			is_percent = true;
		} else if (parse_memory(word, &memory)) {
			value = (int64_t)memory;
		} else {
			return refuse(reason,
				      row->flags & DIRECTIVE_PERCENT
					      ? "argument must be a memory or percent value"
					      : "argument must be a memory value");
		}
	} else if (!parse_decimal_integer(word, &value)) {
		return refuse(reason, "argument couldn't be parsed into an integer");
	}
	int status = check_bounds(row, value, is_percent, reason);
	if (status == SETT_OK)
		*ret = value;
	return status;
}

static int
parse_decimal(const struct directive *row, struct bytes word, double *ret, char *reason)
{
	char text[64], *end;
	if (word.size == 0 || word.size >= sizeof text || isspace(word.data[0]))
		return refuse(reason, "argument couldn't be parsed into a number");
	memcpy(text, word.data, word.size);
	text[word.size] = '\0';
	double value = strtod(text, &end);
	if (*end != '\0' || !isfinite(value))
		return refuse(reason, "argument couldn't be parsed into a number");
	if (value < (double)row->low || value > (double)row->high) {
		snprintf(reason, DIRECTIVE_REASON_SIZE,
			 "argument must be between %" PRId64 " and %" PRIu64 " inclusive", row->low,
			 row->high);
		return SETT_INVALID;
	}
	*ret = value;
	return SETT_OK;
}

static int
parse_string(const struct directive *row, struct bytes word, struct directive_value *ret, char *reason)
{
	if (word.size == 0 && (row->flags & DIRECTIVE_NULLABLE))
		return SETT_OK;
	if ((row->flags & DIRECTIVE_BINARY) == 0 && word.size > 0 &&
	    memchr(word.data, '\0', word.size) != NULL)
		return refuse(reason, "argument must not contain a NUL byte");
	char *text = malloc(word.size + 1);
	if (text == NULL)
		return SETT_NO_MEMORY;
	if (word.size > 0)
		memcpy(text, word.data, word.size);
	text[word.size] = '\0';
	ret->text = text;
	ret->size = word.size;
	return SETT_OK;
}

static int
parse_text(const struct directive *row, const struct bytes *words, size_t count, const char *old,
	   struct directive_value *ret, char *reason)
{
	struct buffer text = {0};
	int status = directive_text_parsers[row->kind](row, words, count, old, &text, reason);
	if (status == SETT_OK)
		status = buffer_append(&text, "", 1);
	if (status != SETT_OK) {
		buffer_free(&text);
		return status;
	}
	ret->text = (char *)text.data;
	ret->size = text.size - 1;
	return SETT_OK;
}

int
directive_parse(const struct directive *row, const struct bytes *words, size_t count,
		const struct directive_value *old, bool append, struct directive_value *ret, char *reason)
{
	struct directive_value value = {0};
	int status = SETT_OK;
	reason[0] = '\0';
	if (!(row->flags & DIRECTIVE_MULTIPLE) && count != 1)
		return refuse(reason, "wrong number of arguments");
	/* A bare "bind" binds nothing, a bare "save" saves nothing; choices say themselves what they want. */
	if (count == 0 && row->kind != KIND_BIND && row->kind != KIND_SAVE && row->kind != KIND_CHOICES)
		return refuse(reason, "wrong number of arguments");
	switch (row->kind) {
	case KIND_BOOLEAN:
		status = parse_boolean(words[0], &value.number, reason);
		break;
	case KIND_CHOICE:
	case KIND_CHOICES:
		status = parse_choices(row, words, count, &value.number, reason);
		break;
	case KIND_INTEGER:
		status = parse_integer_value(row, words[0], &value.number, reason);
		break;
	case KIND_DECIMAL:
		status = parse_decimal(row, words[0], &value.decimal, reason);
		break;
	case KIND_STRING:
		status = parse_string(row, words[0], &value, reason);
		break;
	default: {
		/* A limit changes one class of three; save lines of one file add up. */
		bool keeps = row->kind == KIND_CLIENT_LIMITS || (append && row->kind == KIND_SAVE);
		status = parse_text(row, words, count, keeps && old != NULL ? old->text : NULL, &value,
				    reason);
	}
	}
	if (status == SETT_OK && row->kind == KIND_EVENTS)
		value.number = events_read(words[0]);
	if (status == SETT_OK && row->check != NULL && !row->check(&value, reason)) {
		directive_value_free(&value);
		return SETT_INVALID;
	}
	if (status == SETT_OK)
		*ret = value;
	return status;
}

static int
append_text(struct buffer *buffer, const char *text)
{
	return buffer_append(buffer, text, strlen(text));
}

static int
format_choices(const struct directive *row, int64_t value, struct buffer *ret)
{
	int status = SETT_OK;
	size_t before = ret->size;
	for (const struct choice *c = row->choices; c->word != NULL; c++) {
		if (c->value == value)
			return append_text(ret, c->word);
	}
	for (const struct choice *c = row->choices; c->word != NULL && status == SETT_OK; c++) {
		if (c->value == 0 || (value & c->value) != c->value)
			continue;
		if (ret->size > before)
			status = append_text(ret, " ");
		if (status == SETT_OK)
			status = append_text(ret, c->word);
	}
	return status;
}

int
directive_format(const struct directive *row, const struct directive_value *value, struct buffer *ret)
{
	char text[64];
	switch (row->kind) {
	case KIND_BOOLEAN:
		return append_text(ret, value->number ? "yes" : "no");
	case KIND_CHOICE:
	case KIND_CHOICES:
		return format_choices(row, value->number, ret);
	case KIND_INTEGER:
		if (row->flags & DIRECTIVE_OCTAL)
			snprintf(text, sizeof text, "%" PRIo64, (uint64_t)value->number);
		else if ((row->flags & DIRECTIVE_PERCENT) && value->number < 0)
			snprintf(text, sizeof text, "%" PRId64 "%%", -value->number);
		else if (row->high > INT64_MAX)
			snprintf(text, sizeof text, "%" PRIu64, (uint64_t)value->number);
		else
			snprintf(text, sizeof text, "%" PRId64, value->number);
		return append_text(ret, text);
	case KIND_DECIMAL:
		snprintf(text, sizeof text, "%.6g", value->decimal);
		return append_text(ret, text);
	default:
		return buffer_append(ret, value->text, value->size);
	}
}

void
directive_value_free(struct directive_value *value)
{
	free(value->text);
	value->text = NULL;
	value->size = 0;
}

bool
directive_value_equal(const struct directive *row, const struct directive_value *a,
		      const struct directive_value *b)
{
	if (row->kind == KIND_DECIMAL)
		return !(a->decimal < b->decimal) && !(a->decimal > b->decimal);
	if (row->kind < KIND_STRING)
		return a->number == b->number;
	if (a->text == NULL || b->text == NULL)
		return a->text == b->text;
	return bytes_equal(bytes_of(a->text, a->size), bytes_of(b->text, b->size));
}

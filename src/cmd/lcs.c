/* LCS: the longest common subsequence of two strings, by the textbook table of the lengths for all pairs of
 * prefixes (Wagner and Fischer 1974), walked back from its end. Time and memory are the product of the two
 * sizes: a large one runs in the pool. */
#include "cmd/commands.h"
#include "cmd/lookup.h"
#include "config/config.h"

enum { REACTOR_CELLS_MAX = 256 * 1024 };

struct lcs_options {
	bool indexes, length, with_match_length;
	int64_t min_match_length;
};

struct lcs {
	struct bytes a, b;
	uint32_t *cells; /* (a.size + 1) rows of b.size + 1 */
};

/* A run of bytes that is common to both, while walking back. */
struct run {
	bool open;
	size_t a_start, a_end, b_start, b_end;
};

static uint32_t *
cell(const struct lcs *l, size_t i, size_t j)
{
	return &l->cells[i * (l->b.size + 1) + j];
}

static bool
parse_options(struct command_context *c, struct lcs_options *ret)
{
	struct lcs_options o = {0};
	for (size_t i = 3; i < c->argc; i++) {
		if (argument_is(c->argv[i], "IDX")) {
			o.indexes = true;
		} else if (argument_is(c->argv[i], "LEN")) {
			o.length = true;
		} else if (argument_is(c->argv[i], "WITHMATCHLEN")) {
			o.with_match_length = true;
		} else if (argument_is(c->argv[i], "MINMATCHLEN") && i + 1 < c->argc) {
			if (!context_integer(c, c->argv[++i], &o.min_match_length))
				return false;
		} else {
			context_syntax_error(c);
			return false;
		}
	}
	if (o.indexes && o.length) {
		context_error(c, "ERR If you want both the length and indexes, please just use IDX.");
		return false;
	}
	*ret = o;
	return true;
}

static void
fill_cells(const struct lcs *l)
{
	for (size_t i = 0; i <= l->a.size; i++) {
		for (size_t j = 0; j <= l->b.size; j++) {
			if (i == 0 || j == 0) {
				*cell(l, i, j) = 0;
			} else if (l->a.data[i - 1] == l->b.data[j - 1]) {
				*cell(l, i, j) = *cell(l, i - 1, j - 1) + 1;
			} else {
				uint32_t up = *cell(l, i - 1, j), left = *cell(l, i, j - 1);
				*cell(l, i, j) = up > left ? up : left;
			}
		}
	}
}

/* Ends a run; it is told if it is long enough. Returns how many were told. */
static size_t
end_run(struct command_context *c, const struct lcs_options *o, struct run *run)
{
	size_t size = run->a_end - run->a_start + 1;
	bool told = o->indexes && (o->min_match_length <= 0 || size >= (uint64_t)o->min_match_length);
	run->open = false;
	if (!told)
		return 0;
	resp_array(c->reply, o->with_match_length ? 3 : 2);
	resp_array(c->reply, 2);
	resp_integer(c->reply, (int64_t)run->a_start);
	resp_integer(c->reply, (int64_t)run->a_end);
	resp_array(c->reply, 2);
	resp_integer(c->reply, (int64_t)run->b_start);
	resp_integer(c->reply, (int64_t)run->b_end);
	if (o->with_match_length)
		resp_integer(c->reply, (int64_t)size);
	return 1;
}

/* From the end of both strings to the front: fills `text` (if not NULL) from its end, tells the runs. A byte
 * that ends a run by not continuing it belongs to none, and a tie goes along the second string, as in Redis.
 */
static size_t
walk_back(struct command_context *c, const struct lcs *l, const struct lcs_options *o, uint8_t *text)
{
	struct run run = {0};
	size_t i = l->a.size, j = l->b.size, left = *cell(l, i, j), told = 0;
	while (i > 0 && j > 0) {
		bool end = false;
		if (l->a.data[i - 1] == l->b.data[j - 1]) {
			if (text != NULL)
				text[left - 1] = l->a.data[i - 1];
			if (!run.open) {
				run = (struct run){.open = true,
						   .a_start = i - 1,
						   .a_end = i - 1,
						   .b_start = j - 1,
						   .b_end = j - 1};
			} else if (run.a_start == i && run.b_start == j) {
				run.a_start--;
				run.b_start--;
			} else {
				end = true;
			}
			if (run.a_start == 0 || run.b_start == 0)
				end = true;
			left--;
			i--;
			j--;
		} else {
			if (*cell(l, i - 1, j) > *cell(l, i, j - 1))
				i--;
			else
				j--;
			end = run.open;
		}
		if (end)
			told += end_run(c, o, &run);
	}
	return told;
}

static int
reply_lcs(struct command_context *c, const struct lcs *l, const struct lcs_options *o)
{
	uint32_t length = *cell(l, l->a.size, l->b.size);
	if (o->indexes) {
		resp_map(c->reply, 2);
		resp_bulk_string(c->reply, "matches");
		size_t token = resp_deferred_begin(c->reply);
		size_t told = walk_back(c, l, o, NULL);
		resp_deferred_array_end(c->reply, token, told);
		resp_bulk_string(c->reply, "len");
		resp_integer(c->reply, length);
	} else if (o->length) {
		resp_integer(c->reply, length);
	} else {
		uint8_t *text = malloc((size_t)length + 1);
		if (text == NULL)
			return SETT_NO_MEMORY;
		walk_back(c, l, o, text);
		resp_bulk(c->reply, text, length);
		free(text);
	}
	return SETT_OK;
}

/* A wrong type has a text of its own here. */
static int
look_up(struct command_context *c, struct bytes name, struct key *ret)
{
	int status = open_key(c, name, ret);
	if (status != SETT_OK || !ret->exists)
		return status;
	if (ret->root.type != VALUE_STRING)
		return context_error(c, "ERR The specified keys must contain string values");
	return SETT_OK;
}

static int
read_value(const struct key *k, struct bytes *ret)
{
	*ret = (struct bytes){0};
	return k->exists ? key_body(k, ret) : SETT_OK;
}

int
command_lcs(struct command_context *c)
{
	struct lcs_options options;
	struct key a, b;
	struct lcs l;
	int status = look_up(c, c->argv[1], &a);
	if (status == SETT_OK)
		status = look_up(c, c->argv[2], &b);
	if (status != SETT_OK)
		return status;
	if (!parse_options(c, &options))
		return OUTCOME_FAILED;
	if (string_size(&a) >= UINT32_MAX - 1 || string_size(&b) >= UINT32_MAX - 1)
		return context_error(c, "ERR String too long for LCS");
	uint64_t cells = (string_size(&a) + 1) * (string_size(&b) + 1);
	uint64_t limit = (uint64_t)__atomic_load_n(&c->server->config->proto_max_bulk_len, __ATOMIC_RELAXED);
	if (cells > limit / sizeof(uint32_t))
		return context_error(c,
				     "ERR Insufficient memory, transient memory for LCS exceeds "
				     "proto-max-bulk-len");
	if (cells > REACTOR_CELLS_MAX)
		status = context_enter_long_lane(c);
	if (status == SETT_OK)
		status = read_value(&a, &l.a);
	if (status == SETT_OK)
		status = read_value(&b, &l.b);
	if (status != SETT_OK)
		return status;
	l.cells = malloc(cells * sizeof(uint32_t));
	if (l.cells == NULL)
		return context_error(c,
				     "ERR Insufficient memory, failed allocating transient memory for LCS");
	fill_cells(&l);
	status = reply_lcs(c, &l, &options);
	free(l.cells);
	return status;
}

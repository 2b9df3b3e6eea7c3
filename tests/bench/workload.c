/*
 * Workloads. A row's text is compiled once into a request with gaps; a request is then a few copies, so that
 * the load generator stays cheaper than any server it drives.
 *
 * Zipf ranks follow Gray et al., "Quickly generating
 * billion-record synthetic databases" (SIGMOD 1994), with theta 0.99, and are scattered over the keys.
 */
#include "workload.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KEY_DIGITS 12
#define KEYS_MAX 1000000000000ULL
#define ZIPF_THETA 0.99
#define ELEMENTS_MAX 100 /* of a reply */

static const struct workload_command commands[] = {
	{"SET", "SET {key} {value}", NULL, 0, "key:", WORKLOAD_REPLY_OK, "SET"},
	{"GET", "GET {key}", NULL, 0, "key:", WORKLOAD_REPLY_VALUE, "SET"},
	{"GETMISS", "GET {key}", NULL, 0, "gap:", WORKLOAD_REPLY_NULL, "SET"},
	{"INCR", "INCR {key}", NULL, 0, "counter:", WORKLOAD_REPLY_POSITIVE, "INCR"},
	{"MSET", "MSET", "{key} {value}", 10, "key:", WORKLOAD_REPLY_OK, "SET"},
	/* The fields of one hash, as redis-benchmark has it; and hashes of one field. */
	{"HSET", "HSET hash {key} {value}", NULL, 0, "field:", WORKLOAD_REPLY_BINARY, "HSET"},
	{"HGET", "HGET hash {key}", NULL, 0, "field:", WORKLOAD_REPLY_VALUE, "HSET"},
	{"HSETKEY", "HSET {key} field {value}", NULL, 0, "hash:", WORKLOAD_REPLY_BINARY, "HSETKEY"},
	/* Entries of five fields in one stream, and in one that is kept short. */
	{"XADD", "XADD stream *", "{key} {value}", 5, "field:", WORKLOAD_REPLY_BULK, "XADD"},
	{"XADDTRIM", "XADD trimmed MAXLEN ~ 1000 *", "{key} {value}", 5, "field:", WORKLOAD_REPLY_BULK,
	 "XADD"},
	{"HGETKEY", "HGET {key} field", NULL, 0, "hash:", WORKLOAD_REPLY_VALUE, "HSETKEY"},
	/* One large collection each; what is popped is put first, so that none runs dry or grows. */
	{"LPUSH", "LPUSH list {value}", NULL, 0, "", WORKLOAD_REPLY_POSITIVE, "LPUSH"},
	{"RPOP", "LPUSH list {value} | RPOP list", NULL, 0, "", WORKLOAD_REPLY_POSITIVE, "LPUSH",
	 WORKLOAD_REPLY_BULK},
	{"LRANGE", "LRANGE list 0 99", NULL, 0, "", WORKLOAD_REPLY_ELEMENTS, "LPUSH"},
	{"SADD", "SADD set {key}", NULL, 0, "member:", WORKLOAD_REPLY_BINARY, "SADD"},
	{"SRANDMEMBER", "SRANDMEMBER set", NULL, 0, "", WORKLOAD_REPLY_BULK, "SADD"},
	{"SPOP", "SADD set {number} | SPOP set", NULL, 0, "", WORKLOAD_REPLY_BINARY, "SADD",
	 WORKLOAD_REPLY_BULK},
	{"ZADD", "ZADD zset {number} {key}", NULL, 0, "member:", WORKLOAD_REPLY_BINARY, "ZADD"},
	{"ZPOPMIN", "ZADD zset {number} {number} | ZPOPMIN zset", NULL, 0, "", WORKLOAD_REPLY_BINARY, "ZADD",
	 WORKLOAD_REPLY_ELEMENTS},
	{"ZRANK", "ZRANK zset {key}", NULL, 0, "member:", WORKLOAD_REPLY_NUMBER, "ZADD"},
	{"ZCOUNT", "ZCOUNT zset {low} +inf", NULL, 0, "", WORKLOAD_REPLY_POSITIVE, "ZADD"},
	{"ZRANGEBYSCORE", "ZRANGEBYSCORE zset {low} +inf LIMIT 0 10", NULL, 0, "", WORKLOAD_REPLY_ELEMENTS,
	 "ZADD"},
};

const struct workload_command *
workload_commands(unsigned *ret_count)
{
	*ret_count = sizeof(commands) / sizeof(commands[0]);
	return commands;
}

const struct workload_command *
workload_command_find(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcasecmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static uint64_t
scatter(const struct workload *workload, uint64_t rank)
{
	return bench_scatter(rank, workload->stride, workload->settings.keys);
}

static void
prepare_zipf(struct workload *workload)
{
	double keys = (double)workload->settings.keys;
	double zeta = 0;
	for (uint64_t i = 1; i <= workload->settings.keys; i++)
		zeta += pow((double)i, -ZIPF_THETA);
	double zeta_of_two = 1 + pow(0.5, ZIPF_THETA);
	workload->zipf_zeta = zeta;
	workload->zipf_alpha = 1 / (1 - ZIPF_THETA);
	workload->zipf_eta = (1 - pow(2 / keys, 1 - ZIPF_THETA)) / (1 - zeta_of_two / zeta);
	workload->zipf_half = zeta_of_two;
}

static uint64_t
zipf_rank(struct workload *workload)
{
	double u = (double)(bench_random(&workload->random) >> 11) * 0x1p-53;
	double uz = u * workload->zipf_zeta;
	if (uz < 1)
		return 0;
	if (uz < workload->zipf_half)
		return 1;
	double keys = (double)workload->settings.keys;
	uint64_t rank =
		(uint64_t)(keys * pow(workload->zipf_eta * u - workload->zipf_eta + 1, workload->zipf_alpha));
	return rank < workload->settings.keys ? rank : workload->settings.keys - 1;
}

static uint64_t
choose_key(struct workload *workload)
{
	if (workload->settings.each_once)
		return scatter(workload, workload->next++ % workload->settings.keys);
	if (workload->settings.zipf)
		return scatter(workload, zipf_rank(workload));
	return bench_random_below(&workload->random, workload->settings.keys);
}

static void
write_digits(uint8_t *at, uint64_t key)
{
	static const char pairs[] = "0001020304050607080910111213141516171819"
				    "2021222324252627282930313233343536373839"
				    "4041424344454647484950515253545556575859"
				    "6061626364656667686970717273747576777879"
				    "8081828384858687888990919293949596979899";
	uint32_t high = (uint32_t)(key / 1000000), low = (uint32_t)(key % 1000000);
	for (int i = 4; i >= 0; i -= 2, high /= 100, low /= 100) {
		memcpy(at + i, pairs + (size_t)(high % 100) * 2, 2);
		memcpy(at + 6 + i, pairs + (size_t)(low % 100) * 2, 2);
	}
}

/* --- Compiling a row --------------------------------------------------------------------------------- */

static int
append_text(struct workload *workload, const void *text, size_t size)
{
	if (workload->text_size + size > workload->text_capacity) {
		size_t capacity = (workload->text_size + size) * 2 + 256;
		char *grown = realloc(workload->text, capacity);
		if (grown == NULL)
			return -1;
		workload->text = grown;
		workload->text_capacity = capacity;
	}
	memcpy(workload->text + workload->text_size, text, size);
	workload->text_size += size;
	return 0;
}

/* Ends the literal bytes that began at *start. */
static int
end_segment(struct workload *workload, size_t *start, int then)
{
	if (workload->segment_count == WORKLOAD_SEGMENTS_MAX)
		return -1;
	struct workload_segment *segment = &workload->segments[workload->segment_count++];
	segment->start = *start;
	segment->size = workload->text_size - *start;
	segment->then = then;
	*start = workload->text_size;
	return 0;
}

static int
compile_word(struct workload *workload, const char *word, size_t size, size_t *start)
{
	const struct workload_settings *settings = &workload->settings;
	const char *prefix = settings->command->prefix;
	char header[64];
	bool key = size == 5 && memcmp(word, "{key}", 5) == 0;
	bool value = size == 7 && memcmp(word, "{value}", 7) == 0;
	bool low = size == 5 && memcmp(word, "{low}", 5) == 0;
	bool number = low || (size == 8 && memcmp(word, "{number}", 8) == 0);
	size_t bytes = key ? strlen(prefix) + KEY_DIGITS
		: value    ? settings->value_size
		: number   ? KEY_DIGITS
			   : size;
	int header_size = snprintf(header, sizeof(header), "$%zu\r\n", bytes);
	workload->request_max += (size_t)header_size + bytes + 2;
	if (append_text(workload, header, (size_t)header_size) != 0)
		return -1;
	if (key &&
	    (append_text(workload, prefix, strlen(prefix)) != 0 ||
	     end_segment(workload, start, WORKLOAD_KEY) != 0))
		return -1;
	if (value && end_segment(workload, start, WORKLOAD_VALUE) != 0)
		return -1;
	if (number && end_segment(workload, start, low ? WORKLOAD_LOW : WORKLOAD_RANDOM) != 0)
		return -1;
	if (!key && !value && !number && append_text(workload, word, size) != 0)
		return -1;
	return append_text(workload, "\r\n", 2);
}

/* The words before the next "|". */
static unsigned
count_words(const char *text)
{
	unsigned count = text != NULL;
	for (; text != NULL && *text != '\0' && strncmp(text, " | ", 3) != 0; text++)
		count += *text == ' ';
	return count;
}

static int
compile_header(struct workload *workload, unsigned words)
{
	char header[32];
	int size = snprintf(header, sizeof(header), "*%u\r\n", words);
	workload->request_max += (size_t)size;
	return append_text(workload, header, (size_t)size);
}

/* Sets *ret_rest to what follows the "|", or NULL. */
static int
compile_words(struct workload *workload, const char *text, size_t *start, const char **ret_rest)
{
	*ret_rest = NULL;
	for (;;) {
		size_t size = strcspn(text, " ");
		if (compile_word(workload, text, size, start) != 0)
			return -1;
		if (text[size] == '\0')
			return 0;
		text += size + 1;
		if (strncmp(text, "| ", 2) == 0) {
			*ret_rest = text + 2;
			return 0;
		}
	}
}

static int
compile(struct workload *workload)
{
	const struct workload_command *command = workload->settings.command;
	unsigned words = count_words(command->text) + count_words(command->repeat) * command->repeats;
	const char *rest, *none;
	size_t start = 0;
	if (compile_header(workload, words) != 0 ||
	    compile_words(workload, command->text, &start, &rest) != 0)
		return -1;
	for (unsigned i = 0; i < command->repeats; i++)
		if (compile_words(workload, command->repeat, &start, &none) != 0)
			return -1;
	if (rest != NULL &&
	    (compile_header(workload, count_words(rest)) != 0 ||
	     compile_words(workload, rest, &start, &none) != 0))
		return -1;
	return end_segment(workload, &start, WORKLOAD_END);
}

/* --- The public functions ---------------------------------------------------------------------------- */

int
workload_open(struct workload *workload, const struct workload_settings *settings)
{
	*workload = (struct workload){.settings = *settings, .random = settings->seed};
	if (settings->keys == 0 || settings->keys > KEYS_MAX ||
	    values_open(&workload->values, settings->value_size) != 0)
		return -1;
	workload->stride = bench_stride(settings->keys);
	if (settings->zipf)
		prepare_zipf(workload);
	workload->value_head_size = (size_t)snprintf(workload->value_head, sizeof(workload->value_head),
						     "$%zu\r\n", settings->value_size);
	workload->reply_max = 64;
	if (settings->command->reply == WORKLOAD_REPLY_VALUE ||
	    settings->command->second != WORKLOAD_REPLY_OK)
		workload->reply_max += settings->value_size;
	if (settings->command->reply == WORKLOAD_REPLY_ELEMENTS)
		workload->reply_max += ELEMENTS_MAX * (settings->value_size + 32);
	if (compile(workload) != 0) {
		workload_close(workload);
		return -1;
	}
	return 0;
}

void
workload_close(struct workload *workload)
{
	values_close(&workload->values);
	free(workload->text);
	workload->text = NULL;
}

uint8_t *
workload_write(struct workload *workload, uint8_t *at, uint64_t *ret_key)
{
	uint64_t key = 0;
	for (const struct workload_segment *segment = workload->segments;; segment++) {
		memcpy(at, workload->text + segment->start, segment->size);
		at += segment->size;
		if (segment->then == WORKLOAD_END)
			break;
		if (segment->then == WORKLOAD_KEY) {
			key = choose_key(workload);
			write_digits(at, key);
			at += KEY_DIGITS;
		} else if (segment->then == WORKLOAD_RANDOM || segment->then == WORKLOAD_LOW) {
			uint64_t most = segment->then == WORKLOAD_LOW ? KEYS_MAX / 2 : KEYS_MAX;
			write_digits(at, bench_random_below(&workload->random, most));
			at += KEY_DIGITS;
		} else {
			values_write(&workload->values, bench_random(&workload->random), at, key);
			at += workload->settings.value_size;
		}
	}
	*ret_key = key;
	return at;
}

/* The whole reply must be `text`. */
static enum workload_check
check_text(const char *text, size_t text_size, const uint8_t *data, size_t size, size_t *ret_used)
{
	if (memcmp(data, text, size < text_size ? size : text_size) != 0)
		return WORKLOAD_WRONG;
	if (size < text_size)
		return WORKLOAD_MORE;
	*ret_used = text_size;
	return WORKLOAD_RIGHT;
}

static enum workload_check
check_value(const struct workload *workload, uint64_t key, const uint8_t *data, size_t size, size_t *ret_used)
{
	size_t head = workload->value_head_size, body = workload->settings.value_size, used;
	enum workload_check found = check_text(workload->value_head, head, data, size, &used);
	if (found != WORKLOAD_RIGHT)
		return found;
	if (size < head + body + 2)
		return WORKLOAD_MORE;
	if (!values_match(&workload->values, data + head, key) || memcmp(data + head + body, "\r\n", 2) != 0)
		return WORKLOAD_WRONG;
	*ret_used = head + body + 2;
	return WORKLOAD_RIGHT;
}

/* A line of a type and a number that is not below `least`. */
static enum workload_check
check_number(char type, uint64_t least, const uint8_t *data, size_t size, size_t *ret_used, uint64_t *ret)
{
	uint64_t number = 0;
	size_t i = 1;
	if (size > 0 && data[0] != (uint8_t)type)
		return WORKLOAD_WRONG;
	for (; i < size && i < 20 && data[i] >= '0' && data[i] <= '9'; i++)
		number = number * 10 + (data[i] - '0');
	if (i + 1 >= size)
		return i >= 20 || (i < size && data[i] != '\r') ? WORKLOAD_WRONG : WORKLOAD_MORE;
	if (i == 1 || number < least || data[i] != '\r' || data[i + 1] != '\n')
		return WORKLOAD_WRONG;
	*ret_used = i + 2;
	*ret = number;
	return WORKLOAD_RIGHT;
}

static enum workload_check
check_bulk(const uint8_t *data, size_t size, size_t *ret_used)
{
	uint64_t body;
	size_t head;
	enum workload_check found = check_number('$', 0, data, size, &head, &body);
	if (found != WORKLOAD_RIGHT)
		return found;
	if (body > size || size - head < body + 2)
		return WORKLOAD_MORE;
	if (memcmp(data + head + body, "\r\n", 2) != 0)
		return WORKLOAD_WRONG;
	*ret_used = head + (size_t)body + 2;
	return WORKLOAD_RIGHT;
}

static enum workload_check
check_elements(const uint8_t *data, size_t size, size_t *ret_used)
{
	uint64_t count;
	size_t used, next;
	enum workload_check found = check_number('*', 1, data, size, &used, &count);
	for (; found == WORKLOAD_RIGHT && count > 0; count--) {
		found = check_bulk(data + used, size - used, &next);
		if (found == WORKLOAD_RIGHT)
			used += next;
	}
	if (found == WORKLOAD_RIGHT)
		*ret_used = used;
	return found;
}

static enum workload_check
check_reply(const struct workload *workload, enum workload_reply reply, uint64_t key, const uint8_t *data,
	    size_t size, size_t *ret_used)
{
	uint64_t number;
	switch (reply) {
	case WORKLOAD_REPLY_OK:
		return check_text("+OK\r\n", 5, data, size, ret_used);
	case WORKLOAD_REPLY_NULL:
		return check_text("$-1\r\n", 5, data, size, ret_used);
	case WORKLOAD_REPLY_BINARY:
		return check_text(size > 1 && data[1] == '1' ? ":1\r\n" : ":0\r\n", 4, data, size, ret_used);
	case WORKLOAD_REPLY_POSITIVE:
		return check_number(':', 1, data, size, ret_used, &number);
	case WORKLOAD_REPLY_NUMBER:
		return check_number(':', 0, data, size, ret_used, &number);
	case WORKLOAD_REPLY_VALUE:
		return check_value(workload, key, data, size, ret_used);
	case WORKLOAD_REPLY_BULK:
		return check_bulk(data, size, ret_used);
	case WORKLOAD_REPLY_ELEMENTS:
		return check_elements(data, size, ret_used);
	}
	return WORKLOAD_WRONG;
}

enum workload_check
workload_check(const struct workload *workload, uint64_t key, const uint8_t *data, size_t size,
	       size_t *ret_used)
{
	const struct workload_command *command = workload->settings.command;
	size_t first, second;
	enum workload_check found = check_reply(workload, command->reply, key, data, size, &first);
	if (found != WORKLOAD_RIGHT)
		return found;
	*ret_used = first;
	if (command->second == WORKLOAD_REPLY_OK)
		return found;
	found = check_reply(workload, command->second, key, data + first, size - first, &second);
	if (found == WORKLOAD_RIGHT)
		*ret_used = first + second;
	return found;
}

/*
 * Fuzz target of src/rdb/: any bytes, taken as a value (the byte of its type first) and as LZF. A value that is read to
 * its end is written anew, in the plain form and in a listpack, and must be read as the same elements; so are the entries
 * of a stream. Who passes over a value comes to the same end.
 */
#include <stdlib.h>

#include "rdb/lzf.h"
#include "rdb/payload.h"
#include "rdb/skip.h"
#include "rdb/stream_form.h"
#include "storage/base/hash.h"
#include "storage/base/varint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool holds)
{
	if (!holds)
		abort();
}

static void
check_skip(struct bytes data, const uint8_t *end)
{
	struct rdb_input in = {data.data + 1, data.data + data.size};
	check(rdb_skip_value(&in, data.data[0]) == SETT_OK && in.at == end);
}

/* What was read, as one number, and as it would be written. */
struct reading {
	uint64_t hash, count;
	struct rdb_writer plain;
	struct listpack_writer packed;
};

static void
mix(struct reading *r, struct bytes b)
{
	r->hash = hash64_bytes(b, r->hash ^ b.size);
}

static void
note(struct reading *r, enum value_type type, const struct rdb_element *e)
{
	mix(r, e->name);
	rdb_put_string(&r->plain, e->name);
	listpack_add(&r->packed, e->name);
	if (type == VALUE_HASH) {
		mix(r, e->value);
		rdb_put_string(&r->plain, e->value);
		listpack_add(&r->packed, e->value);
	}
	if (type == VALUE_ZSET) {
		check(e->score == e->score);
		mix(r, bytes_of(&e->score, sizeof(e->score)));
		rdb_put_double(&r->plain, e->score);
	}
	r->count++;
}

static void
reading_free(struct reading *r)
{
	rdb_writer_free(&r->plain);
	listpack_free(&r->packed);
}

/* ---- streams ---- */

/* An entry as a stream would give it. */
static struct stream_entry
entry_of(struct stream_id id, const struct stream_texts *texts)
{
	return (struct stream_entry){.id = id, .texts = texts->count, .rest = texts->written};
}

static void
note_id(struct reading *r, struct stream_id id)
{
	r->hash = hash64(&id, sizeof(id), r->hash);
}

static int
read_entries(struct rdb_stream_reader *s, struct reading *r, struct rdb_stream_writer *again)
{
	struct stream_texts texts;
	struct stream_id id;
	int status;
	while ((status = rdb_stream_entry(s, &id, &texts)) == SETT_OK) {
		struct stream_entry entry = entry_of(id, &texts);
		note_id(r, id);
		mix(r, texts.written);
		r->count++;
		if (again != NULL)
			check(rdb_stream_put(again, &entry) == SETT_OK);
	}
	return status;
}

static int
read_group(struct rdb_stream_reader *s)
{
	struct rdb_stream_consumer consumer;
	struct rdb_stream_pending pending;
	int status;
	while ((status = rdb_stream_consumer(s, &consumer)) == SETT_OK) {
		uint64_t bytes = 0;
		for (size_t i = 0; i < consumer.name.size; i++)
			bytes += consumer.name.data[i];
		check(bytes <= 255 * consumer.name.size);
		while ((status = rdb_stream_owned(s, &pending)) == SETT_OK)
			check(pending.is_owned);
		if (status != SETT_NOT_FOUND)
			return status;
	}
	return status;
}

static bool
read_stream(struct rdb_reader *reader, struct reading *r, struct rdb_stream_writer *again)
{
	struct rdb_stream_reader s;
	struct rdb_stream_numbers numbers = {0};
	struct rdb_stream_group group;
	int status = rdb_stream_open(&s, reader);
	if (status == SETT_OK)
		status = read_entries(&s, r, again);
	if (status == SETT_NOT_FOUND)
		status = rdb_stream_numbers(&s, &numbers);
	if (again != NULL && status == SETT_OK) {
		rdb_stream_end(again);
		rdb_put_length(again->out, r->count);
		rdb_put_id_lengths(again->out, numbers.last);
		rdb_put_id_lengths(again->out, (struct stream_id){0});
		rdb_put_id_lengths(again->out, numbers.deleted);
		rdb_put_length(again->out, numbers.added);
		rdb_put_length(again->out, 0);
	}
	while (status == SETT_OK && (status = rdb_stream_group(&s, &group)) == SETT_OK) {
		status = read_group(&s);
		if (status == SETT_NOT_FOUND)
			status = SETT_OK;
	}
	check(status == SETT_NOT_FOUND || status == RDB_MALFORMED);
	rdb_stream_close(&s);
	return status == SETT_NOT_FOUND;
}

static void
check_stream(struct bytes data)
{
	struct rdb_reader reader;
	struct rdb_writer w;
	struct rdb_stream_writer again = {.out = &w};
	struct reading first = {0}, second = {0};
	rdb_writer_init(&w, data.size % 2 == 0);
	if (rdb_reader_open(&reader, data) != SETT_OK)
		return;
	rdb_stream_begin(&again);
	bool is_read = reader.type == VALUE_STREAM && read_stream(&reader, &first, &again);
	if (is_read)
		check_skip(data, reader.in.at);
	rdb_reader_close(&reader);
	if (is_read) {
		check(!w.failed && rdb_reader_open(&reader, buffer_bytes(&w.out)) == SETT_OK);
		check(read_stream(&reader, &second, NULL) && rdb_left(&reader.in) == 0);
		check(first.hash == second.hash && first.count == second.count);
		rdb_reader_close(&reader);
	}
	rdb_stream_writer_free(&again);
	rdb_writer_free(&w);
}

/* ---- other values ---- */

/* False: it was refused. */
static bool
read_value(struct bytes data, enum value_type *ret_type, struct reading *r)
{
	struct rdb_reader reader;
	struct rdb_element e;
	int status = rdb_reader_open(&reader, data);
	*r = (struct reading){.count = 0};
	rdb_writer_init(&r->plain, data.size % 2 == 0);
	listpack_begin(&r->packed);
	check(status == SETT_OK || status == RDB_MALFORMED);
	if (status != SETT_OK)
		return false;
	*ret_type = reader.type;
	while (reader.type != VALUE_STREAM && (status = rdb_reader_next(&reader, &e)) == SETT_OK)
		note(r, reader.type, &e);
	check(reader.type == VALUE_STREAM || status == SETT_NOT_FOUND || status == RDB_MALFORMED);
	check(reader.in.at <= reader.in.end && reader.in.end == data.data + data.size);
	rdb_reader_close(&reader);
	if (reader.type == VALUE_STREAM || status != SETT_NOT_FOUND)
		return false;
	check_skip(data, reader.in.at);
	return true;
}

static void
check_again(struct rdb_writer *w, const struct reading *first)
{
	enum value_type type;
	struct reading again;
	check(!w->failed && read_value(buffer_bytes(&w->out), &type, &again));
	check(again.hash == first->hash && again.count == first->count);
	reading_free(&again);
}

static void
write_again(enum value_type type, struct reading *r)
{
	static const enum rdb_type plain[VALUE_TYPE_END] = {[VALUE_STRING] = RDB_STRING,
							    [VALUE_LIST] = RDB_LIST,
							    [VALUE_SET] = RDB_SET,
							    [VALUE_ZSET] = RDB_ZSET,
							    [VALUE_HASH] = RDB_HASH};
	struct rdb_writer w;
	rdb_writer_init(&w, false);
	rdb_put_byte(&w, (uint8_t)plain[type]);
	if (type != VALUE_STRING)
		rdb_put_length(&w, r->count);
	check(!r->plain.failed && buffer_append(&w.out, r->plain.out.data, r->plain.out.size) == SETT_OK);
	check_again(&w, r);
	rdb_writer_free(&w);
	if (type != VALUE_HASH && type != VALUE_SET)
		return;
	rdb_writer_init(&w, true);
	rdb_put_byte(&w, type == VALUE_HASH ? RDB_HASH_LISTPACK : RDB_SET_LISTPACK);
	rdb_put_listpack(&w, &r->packed);
	check_again(&w, r);
	rdb_writer_free(&w);
}

static void
check_lzf(struct bytes data)
{
	enum { ROOM = 4096 };
	static uint8_t room[ROOM];
	uint8_t *exact;
	if (data.size == 0)
		return;
	size_t size = 1 + data.data[0] * 16U;
	exact = malloc(size);
	check(exact != NULL);
	lzf_expand(bytes_of(data.data + 1, data.size - 1), exact, size);
	free(exact);
	static struct lzf_state *state;
	if (state == NULL)
		state = lzf_state_create();
	check(state != NULL);
	size_t packed = lzf_compress(state, data, room, data.size < ROOM ? data.size : ROOM);
	if (packed == 0)
		return;
	exact = malloc(data.size);
	check(exact != NULL && lzf_expand(bytes_of(room, packed), exact, data.size));
	check(memcmp(exact, data.data, data.size) == 0);
	free(exact);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reading r;
	enum value_type type;
	struct bytes payload = bytes_of(data, size), value;
	if (read_value(payload, &type, &r))
		write_again(type, &r);
	reading_free(&r);
	check_stream(payload);
	check_lzf(payload);
	check(rdb_payload_open(payload, false, &value) != SETT_OK || value.size + 10 == size);
	return 0;
}

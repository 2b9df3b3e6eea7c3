/*
 * Fuzz target of the readers of Redis' files: any bytes, taken as an RDB file, and from its end, or from the beginning, as
 * an append-only file. Reading twice gives the same; what is read lies within the bytes. A survey of a file that can be read
 * comes to the same end, with as many keys.
 */
#include <stdlib.h>

#include "moving/aof_reader.h"
#include "rdb/database_reader.h"
#include "rdb/skip.h"
#include "rdb/stream_form.h"
#include "storage/base/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool holds)
{
	if (!holds)
		abort();
}

static void
mix(uint64_t *hash, struct bytes b)
{
	*hash = hash64_bytes(b, *hash ^ b.size);
}

/* Reads a stream to its end. */
static int
read_stream(struct rdb_reader *value)
{
	struct rdb_stream_reader s;
	struct stream_id id;
	struct stream_texts texts;
	struct rdb_stream_numbers numbers;
	struct rdb_stream_group group;
	struct rdb_stream_consumer consumer;
	struct rdb_stream_pending pending;
	int status = rdb_stream_open(&s, value);
	while (status == SETT_OK)
		status = rdb_stream_entry(&s, &id, &texts);
	if (status == SETT_NOT_FOUND)
		status = rdb_stream_numbers(&s, &numbers);
	while (status == SETT_OK && (status = rdb_stream_group(&s, &group)) == SETT_OK) {
		while (status == SETT_OK && (status = rdb_stream_consumer(&s, &consumer)) == SETT_OK) {
			while (status == SETT_OK)
				status = rdb_stream_owned(&s, &pending);
			status = status == SETT_NOT_FOUND ? SETT_OK : status;
		}
		status = status == SETT_NOT_FOUND ? SETT_OK : status;
	}
	rdb_stream_close(&s);
	return status;
}

static int
read_value(struct rdb_database_reader *r, const struct rdb_entry *e, uint64_t *hash)
{
	struct rdb_reader value;
	struct rdb_element element;
	int status = rdb_reader_open_typed(&value, e->type, r->in);
	if (status != SETT_OK)
		return status;
	(void)rdb_reader_weight(&value);
	if (value.type == VALUE_STREAM)
		status = read_stream(&value);
	else
		while ((status = rdb_reader_next(&value, &element)) == SETT_OK)
			mix(hash, element.name);
	rdb_database_value_read(r, value.in);
	rdb_reader_close(&value);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* Returns where the file ends, 0 if it does not. */
static size_t
end_file(struct bytes file, const struct rdb_database_reader *r, int status, struct rdb_room *room,
	 struct rdb_room *value_room)
{
	check(status == SETT_NOT_FOUND || status == RDB_MALFORMED || status == SETT_NO_MEMORY);
	check(rdb_database_offset(r) <= file.size);
	rdb_room_free(room);
	rdb_room_free(value_room);
	return status == SETT_NOT_FOUND ? (size_t)rdb_database_offset(r) : 0;
}

/* Where the file ends; 0 if it is damaged. */
static size_t
read_file(struct bytes file, uint64_t *hash, uint64_t *keys)
{
	struct rdb_room room = {0}, value_room = {0};
	struct rdb_database_reader r;
	struct rdb_entry e;
	int status = rdb_database_open(&r, file, &room, &value_room);
	while (status == SETT_OK && (status = rdb_database_next(&r, &e)) == SETT_OK) {
		check(rdb_database_offset(&r) <= file.size);
		mix(hash, e.name);
		mix(hash, e.value);
		if (e.kind == RDB_ENTRY_KEY) {
			status = read_value(&r, &e, hash);
			++*keys;
		}
	}
	return end_file(file, &r, status, &room, &value_room);
}

/* The same with values passed over. */
static size_t
survey_file(struct bytes file, uint64_t *keys)
{
	struct rdb_room room = {0}, value_room = {0};
	struct rdb_database_reader r;
	struct rdb_entry e;
	int status = rdb_database_open(&r, file, &room, &value_room);
	r.surveys = true;
	while (status == SETT_OK && (status = rdb_database_next(&r, &e)) == SETT_OK) {
		check(rdb_database_offset(&r) <= file.size);
		if (e.kind == RDB_ENTRY_FOREIGN)
			check(e.value.size > 0 && e.value.data[e.value.size] == '\0');
		if (e.kind == RDB_ENTRY_KEY) {
			status = rdb_skip_value(&r.in, e.type);
			++*keys;
		}
	}
	return end_file(file, &r, status, &room, &value_room);
}

static void
read_commands(struct bytes file, size_t at, uint64_t *hash)
{
	struct aof_reader a = {.file = file, .at = at};
	int status;
	while ((status = aof_reader_next(&a)) == SETT_OK) {
		check(a.at <= file.size && a.begin < a.at && a.argc > 0);
		for (size_t i = 0; i < a.argc; i++) {
			check(a.argv[i].data >= file.data &&
			      a.argv[i].data + a.argv[i].size <= file.data + file.size);
			mix(hash, a.argv[i]);
		}
	}
	check(status != SETT_NOT_FOUND || a.at == file.size);
	aof_reader_free(&a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t hashes[2] = {0};
	for (int i = 0; i < 2; i++) {
		uint64_t read = 0, surveyed = 0;
		size_t end = read_file(bytes_of(data, size), &hashes[i], &read);
		if (end != 0)
			check(survey_file(bytes_of(data, size), &surveyed) == end && surveyed == read);
		else
			(void)survey_file(bytes_of(data, size), &surveyed);
		read_commands(bytes_of(data, size), end, &hashes[i]);
	}
	check(hashes[0] == hashes[1]);
	return 0;
}

/* See encoding.h. */
#include "repl/encoding.h"

#include "net/argument_body.h"
#include "storage/engine.h"

enum { BODY_PIECE = 256 * 1024 };

static const char begin[] = "*1\r\n$5\r\nMULTI\r\n";
static const char end[] = "*1\r\n$4\r\nEXEC\r\n";

static void
put_select(struct resp_writer *out, unsigned db)
{
	resp_array(out, 2);
	resp_bulk(out, "SELECT", 6);
	resp_bulk_integer(out, db);
}

/* A value that lies in the value log already. */
static int
put_body(struct resp_writer *out, const struct argument_body *body)
{
	struct sett_body_stream *stream;
	int status = sett_body_writer_stream(body->body, &stream);
	if (status != SETT_OK)
		return status;
	uint8_t *to = resp_bulk_space(out, body->size);
	uint64_t done = 0;
	if (to == NULL)
		status = SETT_NO_MEMORY;
	while (status == SETT_OK && done < body->size) {
		size_t got;
		size_t size = body->size - done < BODY_PIECE ? (size_t)(body->size - done) : BODY_PIECE;
		status = sett_body_stream_read(stream, to + done, size, &got, NULL);
		done += status == SETT_OK ? got : 0;
	}
	sett_body_stream_close(stream);
	return status;
}

static int
put_command(struct resp_writer *out, const struct effect *e)
{
	int status = SETT_OK;
	resp_array(out, e->argc);
	for (size_t i = 0; i < e->argc && status == SETT_OK; i++) {
		const struct argument_body *body =
			e->bodies != NULL ? argument_body_find(e->bodies, i) : NULL;
		if (body == NULL)
			resp_bulk(out, e->argv[i].data, e->argv[i].size);
		else
			status = put_body(out, body);
	}
	return status;
}

static const struct effect *
next_command(const struct effect *e)
{
	while (e != NULL && e->kind != EFFECT_COMMAND)
		e = e->next;
	return e;
}

int
stream_encode(const struct effect *first, int64_t db, struct resp_writer *out, int64_t *ret_db)
{
	int status = SETT_OK;
	bool in_block = false;
	const struct effect *e = next_command(first), *next;
	for (bool begins = true; e != NULL && status == SETT_OK; e = next) {
		next = next_command(e->next);
		bool ends = next == NULL || next->apart;
		if (db != (int64_t)e->db)
			put_select(out, e->db);
		db = e->db;
		if (begins && !ends) {
			resp_raw(out, begin, sizeof(begin) - 1);
			in_block = true;
		}
		status = put_command(out, e);
		if (in_block && ends) {
			resp_raw(out, end, sizeof(end) - 1);
			in_block = false;
		}
		begins = ends;
	}
	*ret_db = db;
	return out->failed ? SETT_NO_MEMORY : status;
}

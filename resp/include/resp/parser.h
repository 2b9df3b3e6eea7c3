/*
 * A resumable parser of Redis requests (multibulk and inline) over the caller's bytes.
 *
 * The caller owns two buffers: the bytes it received, and an array of arguments. The parser allocates nothing
 * and remembers offsets, never pointers, so both buffers may move and grow between calls. It never looks at a
 * byte twice: a request that arrives in a thousand pieces costs what it costs in one.
 *
 *	struct resp_parser parser;
 *	resp_parser_init(&parser);                      (arguments and capacity may start as NULL and 0)
 *	for (;;) switch (resp_parse(&parser, buffer + start, used - start)) {
 *	case RESP_NEED_MORE:      read more bytes behind the present ones, at least parser.missing; call again
 *	case RESP_NEED_ARGUMENTS: grow parser.arguments to arguments_needed elements, with content
 *	case RESP_REQUEST:        run parser.argc arguments; start += parser.consumed; again
 *	case RESP_ERROR:          reply "-ERR <parser.error>", close the connection
 *	}
 *
 * Limits and error texts are those of Redis 7.0. The outcome depends on the bytes alone, never on where they
 * were cut. As in Redis, the two bytes behind a bulk and the one behind a '\r' are skipped, not checked.
 *
 * Threads: none of its own; one parser is used by one thread at a time.
 */
#ifndef SETT_RESP_PARSER_H
#define SETT_RESP_PARSER_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest inline request, and longest header line of a multibulk request, in bytes without its line end. */
#define RESP_LINE_MAX 65536
/* Most arguments of one request. */
#define RESP_ARGUMENTS_MAX INT_MAX
/* Default of bulk_max: Redis' proto-max-bulk-len. */
#define RESP_BULK_MAX_DEFAULT (512ULL * 1024 * 1024)
/* What a connection that has yet to authenticate may send. */
#define RESP_UNAUTHENTICATED_ARGUMENTS_MAX 10
#define RESP_UNAUTHENTICATED_BULK_MAX 16384

enum resp_result {
	RESP_NEED_MORE,      /* the request is not complete; see missing */
	RESP_REQUEST,        /* one request is complete; see argc, arguments, consumed */
	RESP_NEED_ARGUMENTS, /* the array is full; see arguments_needed */
	RESP_ERROR,          /* malformed; see error. The parser is of no more use until resp_parser_reset */
};

/* One argument: data[offset .. offset + size), with data as it was handed to the call that returned
 * RESP_REQUEST. */
struct resp_argument {
	size_t offset;
	size_t size;
};

enum resp_parser_state {
	RESP_STATE_START,        /* before the first byte of a request */
	RESP_STATE_INLINE_LINE,  /* searching the end of an inline request */
	RESP_STATE_INLINE_SPLIT, /* splitting it; line_end is known */
	RESP_STATE_COUNT,        /* in the "*3" line */
	RESP_STATE_BULK_HEADER,  /* in a "$5" line */
	RESP_STATE_BULK,         /* in an argument's bytes */
	RESP_STATE_FAILED,
};

struct resp_parser {
	/* The caller's: may be changed before any call. */
	struct resp_argument *arguments; /* owned by the caller; content must survive growth */
	size_t argument_capacity;        /* in elements */
	uint64_t bulk_max;               /* bytes of one argument: proto-max-bulk-len */
	bool unauthenticated;            /* hold the connection to the two limits above */

	/* Results, valid until the next call. */
	size_t argc; /* RESP_REQUEST: arguments; 0 for an empty line, "*0" and "*-1": nothing to run or reply.
			In the middle of a request: the arguments that are complete so far */
	size_t consumed; /* RESP_REQUEST: bytes from the start of data to drop */
	size_t missing; /* RESP_NEED_MORE: at least so many bytes behind `size` are needed for any progress */
	size_t arguments_needed; /* RESP_NEED_ARGUMENTS: a good new capacity, grown with what has arrived, not
				    with what the request announces */
	char error[64];          /* RESP_ERROR: "Protocol error: ...", Redis' exact text, without line ends */

	/* The parser's own. The caller may read, not write: in RESP_STATE_BULK an argument of bulk_size bytes
	   begins at `position`, and `remaining` arguments, it included, have yet to be complete. */
	enum resp_parser_state state;
	size_t position;  /* offset of what is parsed next */
	size_t scanned;   /* offset up to which a line end was searched for */
	size_t line_end;  /* RESP_STATE_INLINE_SPLIT: the line without its line end */
	size_t remaining; /* arguments announced that are not complete yet */
	size_t bulk_size; /* RESP_STATE_BULK: size of the argument at `position` */
};

/* Makes a parser ready for the first request. No arguments array, bulk_max at its default, authenticated. */
void resp_parser_init(struct resp_parser *parser);

/* Forgets a request in progress; keeps what is the caller's. */
void resp_parser_reset(struct resp_parser *parser);

/*
 * Parses one request. `data` are the unconsumed bytes from the start of the current request, all of those of
 * the previous call and perhaps more; `size` never shrinks between calls for one request. Inline requests are
 * unescaped in place, so data is written to (within the request only). After RESP_REQUEST the next call
 * begins a new request.
 */
enum resp_result resp_parse(struct resp_parser *parser, uint8_t *data, size_t size);

/*
 * In RESP_STATE_BULK, behind RESP_NEED_MORE: the caller has taken the argument's bytes out of its buffer, all
 * but the first `kept`, and what followed the argument follows these. From here on the argument is these
 * bytes.
 */
void resp_parser_shrink_bulk(struct resp_parser *parser, size_t kept);

#endif

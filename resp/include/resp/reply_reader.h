/*
 * The client's side: a resumable reader of replies, all types of RESP2 and RESP3, that tells a visitor what
 * it meets.
 *
 * Bulk strings of any size stream through bulk_data in the pieces that arrive; headers and lines are bounded
 * by RESP_REPLY_LINE_MAX. Nothing is allocated and nothing recurses: open collections are kept on a stack of
 * fixed depth inside the reader. The caller hands over unconsumed bytes and drops what was consumed:
 *
 *	result = resp_reader_feed(&reader, data, size, &consumed);     (then drop `consumed` bytes in any
 * case)
 *
 * Threads: one at a time.
 */
#ifndef SETT_RESP_REPLY_READER_H
#define SETT_RESP_REPLY_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Collections open at one time. */
#define RESP_REPLY_DEPTH_MAX 512
/* Longest line (status, error, number, header), in bytes without its line end. */
#define RESP_REPLY_LINE_MAX (1024 * 1024)
/* Size or count of a streamed ("?") string or collection, not known when it begins. */
#define RESP_REPLY_UNKNOWN (-1)

/* The first byte of each type. */
enum resp_reply_type {
	RESP_REPLY_STATUS = '+',
	RESP_REPLY_ERROR = '-',
	RESP_REPLY_INTEGER = ':',
	RESP_REPLY_BULK = '$',
	RESP_REPLY_ARRAY = '*',
	RESP_REPLY_NULL = '_',
	RESP_REPLY_DOUBLE = ',',
	RESP_REPLY_BOOLEAN = '#',
	RESP_REPLY_BULK_ERROR = '!',
	RESP_REPLY_VERBATIM = '=',
	RESP_REPLY_BIG_NUMBER = '(',
	RESP_REPLY_MAP = '%',
	RESP_REPLY_SET = '~',
	RESP_REPLY_ATTRIBUTE = '|',
	RESP_REPLY_PUSH = '>',
};

/* One reply that is a line. */
struct resp_scalar {
	enum resp_reply_type type; /* RESP_REPLY_NULL for "_", "$-1" and "*-1" alike */
	uint8_t header;            /* the first byte as sent: tells the three nulls apart */
	const uint8_t *text;       /* the line without first byte and line end; valid during the call only */
	size_t size;
	int64_t integer; /* RESP_REPLY_INTEGER; RESP_REPLY_BOOLEAN: 0 or 1 */
	double number;   /* RESP_REPLY_DOUBLE */
};

/*
 * What the reader calls, in the order of the bytes. Any member may be NULL. A call that returns anything but
 * 0 stops the reader: feed returns RESP_READER_STOPPED, and the visitor's reason is in reader->stop_reason.
 * Attributes are announced like a collection (open, pairs, close) before the reply that they describe.
 */
struct resp_visitor {
	void *context;
	int (*scalar)(void *context, const struct resp_scalar *scalar);
	/* count: elements, or pairs of a map or attribute; RESP_REPLY_UNKNOWN if streamed. Every open has its
	 * close. */
	int (*open)(void *context, enum resp_reply_type type, int64_t count);
	int (*close)(void *context, enum resp_reply_type type);
	/* type: BULK, BULK_ERROR or VERBATIM (whose bytes begin with "txt:"). */
	int (*bulk_begin)(void *context, enum resp_reply_type type, int64_t size);
	int (*bulk_data)(void *context, const uint8_t *data, size_t size);
	int (*bulk_end)(void *context, enum resp_reply_type type);
};

enum resp_reader_result {
	RESP_READER_NEED_MORE, /* all progress that these bytes allow was made */
	RESP_READER_REPLY,     /* one whole reply was told; pushes count as replies of their own */
	RESP_READER_ERROR,     /* malformed: see reader->error; the reader is of no more use */
	RESP_READER_STOPPED,   /* by the visitor; the reader is of no more use */
};

/* An open collection. */
struct resp_reader_frame {
	int64_t remaining; /* elements to come (pairs count twice); -1: until the "." line */
	uint8_t type;
	bool odd; /* streamed map: a key was read, its value is to come */
};

struct resp_reply_reader {
	const struct resp_visitor *visitor; /* borrowed */
	const char *error;                  /* RESP_READER_ERROR: a constant text */
	int stop_reason;

	/* The reader's own. */
	uint8_t state;
	uint8_t bulk_type;
	bool bulk_streamed; /* inside "$?": chunks follow until ";0" */
	uint64_t bulk_left; /* bytes of the bulk or chunk to come, without its line end */
	size_t scanned;     /* bytes of the unconsumed data in which no line end was found */
	size_t depth;
	struct resp_reader_frame frames[RESP_REPLY_DEPTH_MAX];
};

void resp_reader_init(struct resp_reply_reader *reader, const struct resp_visitor *visitor);

/*
 * Reads up to the end of one reply. data[0] is the byte behind the last one consumed; the bytes that a call
 * did not consume come again in the next call, with more behind them. *ret_consumed is always set.
 */
enum resp_reader_result resp_reader_feed(struct resp_reply_reader *reader, const uint8_t *data, size_t size,
					 size_t *ret_consumed);

#endif

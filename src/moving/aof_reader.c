/* See aof_reader.h. */
#include "moving/aof_reader.h"

#include <stdlib.h>

enum { NUMBER_MAX = 1024 * 1024 * 1024 };

/* A line of `kind` with a number. RDB_TRUNCATED, RDB_MALFORMED. */
static int
read_number(struct bytes file, size_t *at, char kind, uint64_t *ret)
{
	uint64_t value = 0;
	size_t i = *at, digits = 0;
	if (i == file.size)
		return RDB_TRUNCATED;
	if (file.data[i++] != kind)
		return RDB_MALFORMED;
	for (; i < file.size && file.data[i] >= '0' && file.data[i] <= '9'; i++, digits++) {
		if (value > NUMBER_MAX)
			return RDB_MALFORMED;
		value = 10 * value + (file.data[i] - '0');
	}
	if (i + 1 >= file.size)
		return RDB_TRUNCATED;
	if (digits == 0 || file.data[i] != '\r' || file.data[i + 1] != '\n')
		return RDB_MALFORMED;
	*at = i + 2;
	*ret = value;
	return SETT_OK;
}

static int
add_argument(struct aof_reader *a, struct bytes argument)
{
	if (a->argc == a->capacity) {
		size_t capacity = a->capacity == 0 ? 16 : 2 * a->capacity;
		struct bytes *more = reallocarray(a->argv, capacity, sizeof(*more));
		if (more == NULL)
			return SETT_NO_MEMORY;
		a->argv = more;
		a->capacity = capacity;
	}
	a->argv[a->argc++] = argument;
	return SETT_OK;
}

static int
read_argument(struct aof_reader *a, size_t *at)
{
	struct bytes file = a->file;
	uint64_t size;
	int status = read_number(file, at, '$', &size);
	if (status != SETT_OK)
		return status;
	if (file.size - *at < size + 2)
		return RDB_TRUNCATED;
	if (file.data[*at + size] != '\r' || file.data[*at + size + 1] != '\n')
		return RDB_MALFORMED;
	struct bytes argument = bytes_of(file.data + *at, (size_t)size);
	*at += size + 2;
	return add_argument(a, argument);
}

/* Skips what the file says about itself. */
static int
skip_annotations(struct bytes file, size_t *at)
{
	while (*at < file.size && file.data[*at] == '#') {
		const uint8_t *end = memchr(file.data + *at, '\n', file.size - *at);
		if (end == NULL)
			return RDB_TRUNCATED;
		*at = (size_t)(end - file.data) + 1;
	}
	return SETT_OK;
}

static int
read_command(struct aof_reader *a)
{
	uint64_t count;
	size_t at = a->at;
	int status = read_number(a->file, &at, '*', &count);
	if (status == SETT_OK && count == 0)
		status = RDB_MALFORMED;
	a->argc = 0;
	while (status == SETT_OK && a->argc < count)
		status = read_argument(a, &at);
	if (status == SETT_OK)
		a->at = at;
	return status;
}

int
aof_reader_next(struct aof_reader *a)
{
	int status = skip_annotations(a->file, &a->at);
	a->begin = a->at;
	if (status != SETT_OK)
		return status;
	return a->at == a->file.size ? SETT_NOT_FOUND : read_command(a);
}

void
aof_reader_free(struct aof_reader *a)
{
	free(a->argv);
	a->argv = NULL;
	a->argc = a->capacity = 0;
}

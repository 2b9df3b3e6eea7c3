/* A value log in memory, behind a vfs that can fail, and bodies that say who they are. */
#ifndef SETT_TESTS_VALUE_LOG_SUPPORT_H
#define SETT_TESTS_VALUE_LOG_SUPPORT_H

#include <criterion/criterion.h>

#include "value_log.h"
#include "value_log_format.h"

#define DIRECTORY "db"

struct world {
	struct vfs *memory, *vfs;
	uint64_t *numbers; /* on the heap, as a world may move */
	uint64_t file_size;
	enum codec compression; /* for the next world_open */
	struct value_log *log;
};

static inline int
next_number(void *arg, uint64_t *ret, struct sett_error *error)
{
	*ret = __atomic_add_fetch((uint64_t *)arg, 1, __ATOMIC_RELAXED);
	return SETT_OK;
}

static inline int
world_try_open(struct world *w, struct sett_error *error)
{
	struct value_log_options options = {
		.vfs = w->vfs,
		.directory = DIRECTORY,
		.file_size = w->file_size,
		.compression = w->compression,
		.next_file_number = next_number,
		.next_file_number_arg = w->numbers,
	};
	return value_log_open(&options, &w->log, error);
}

static inline void
world_open(struct world *w)
{
	struct sett_error error = {0};
	cr_assert_eq(world_try_open(w, &error), SETT_OK, "%s", error.message);
}

static inline struct world
world_make(uint64_t file_size)
{
	struct world w = {.memory = vfs_memory_create(),
			  .numbers = calloc(1, sizeof(uint64_t)),
			  .file_size = file_size};
	cr_assert_not_null(w.memory);
	cr_assert_not_null(w.numbers);
	cr_assert_eq(vfs_make_directory(w.memory, DIRECTORY, NULL), SETT_OK);
	cr_assert_eq(vfs_sync_directory(w.memory, ".", NULL), SETT_OK);
	w.vfs = vfs_fault_create(w.memory);
	cr_assert_not_null(w.vfs);
	world_open(&w);
	return w;
}

/* Goes on with what a power cut leaves. */
static inline void
world_crash(struct world *w, enum vfs_crash_mode mode, uint64_t seed)
{
	struct vfs *clone = vfs_memory_crash_clone(w->memory, mode, seed);
	cr_assert_not_null(clone);
	value_log_close(w->log);
	w->vfs->operations->destroy(w->vfs);
	w->memory->operations->destroy(w->memory);
	w->memory = clone;
	w->vfs = vfs_fault_create(clone);
	world_open(w);
}

static inline void
world_free(struct world *w)
{
	value_log_close(w->log);
	w->vfs->operations->destroy(w->vfs);
	w->memory->operations->destroy(w->memory);
	free(w->numbers);
}

/* A body that says who it is. */
static inline struct buffer
make_body(uint64_t id, size_t size)
{
	struct buffer body = {0};
	cr_assert_eq(buffer_reserve(&body, size + 1), SETT_OK);
	for (size_t i = 0; i < size; i++)
		body.data[i] = (uint8_t)(id * 131 + i);
	body.size = size;
	return body;
}

static inline int
put(struct world *w, uint64_t id, size_t size, struct value_pointer *ret)
{
	struct buffer body = make_body(id, size);
	struct bytes bytes = buffer_bytes(&body);
	int status = value_log_write(w->log, &bytes, 1, ret, NULL);
	buffer_free(&body);
	return status;
}

static inline int
check(struct world *w, uint64_t id, const struct value_pointer *pointer)
{
	struct buffer body = make_body(id, pointer->body_size);
	struct buffer read = {0};
	cr_assert_eq(buffer_append(&read, "before", 6), SETT_OK);
	int status = value_log_read(w->log, pointer, 0, &read, NULL);
	if (status == SETT_OK) {
		cr_assert_eq(read.size, 6 + body.size);
		cr_assert(bytes_equal(bytes_of(read.data + 6, body.size), buffer_bytes(&body)));
	} else {
		cr_assert_eq(read.size, 6);
	}
	buffer_free(&body);
	buffer_free(&read);
	return status;
}

static inline void
path_of(uint64_t number, char ret[SETT_PATH_MAX])
{
	cr_assert_eq(file_name_make(DIRECTORY, number, VALUE_LOG_SUFFIX, ret), SETT_OK);
}

static inline bool
exists(struct world *w, uint64_t number)
{
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	path_of(number, path);
	int status = vfs_open(w->memory, path, VFS_READ, &file, NULL);
	if (status == SETT_OK)
		vfs_close(file, NULL);
	return status == SETT_OK;
}

#endif

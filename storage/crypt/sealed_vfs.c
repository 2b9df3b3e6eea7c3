/* The file system of a keyring: another one, with the keys attached. Files go through as they are, but for those that are
 * opened with VFS_SEALED: these it seals in pages, below whoever writes them.
 *
 *     file = head page*                 head = magic:8 version:u32 page_size:u32 name:u64 checksum:u64
 *     page = seal:32 bytes              16,384 bytes, fewer in the last
 *
 * A page is sealed with its number, the file's random name and how many bytes it has. One that is all zeros was never
 * written: a hole. A page that is written in part is sealed anew, as a whole, in its place: so this is for files that count
 * only once they were written whole and synced (dumps), or not at all after a crash (spill files), never for one whose
 * earlier bytes were acknowledged.
 *
 * A file without the head that is opened for reading is read as it is: it may be one from before, or from elsewhere. */
#include <assert.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "crypt_private.h"
#include "storage/base/hash.h"
#include "storage/base/random.h"
#include "storage/base/varint.h"

enum { PAGES_VERSION = 1, HEAD = 32, PAGE = 16384, STRIDE = PAGE + SEAL_SIZE };

struct sealed_vfs {
	struct vfs base;
	struct vfs *inner;
};

struct pages {
	struct mutex lock; /* one call at a time */
	uint64_t name, size;
	/* The page that was read or written last, in clear: writes come one behind another. */
	uint64_t held; /* its number; UINT64_MAX: none */
	uint8_t clear[PAGE];
	uint8_t stored[STRIDE];
};

struct sealed_file {
	struct vfs_file base;
	struct vfs_file *inner;
	struct pages *pages; /* NULL: goes through as it is */
};

static struct sealed_file *
file_of(struct vfs_file *f)
{
	return (struct sealed_file *)f;
}

static struct vfs *
inner_of(struct vfs *v)
{
	return ((struct sealed_vfs *)v)->inner;
}

/* ---- places ---- */

/* How long the file is whose bytes, in clear, are so many. */
static uint64_t
stored_size(uint64_t size)
{
	uint64_t rest = size % PAGE;
	return HEAD + size / PAGE * STRIDE + (rest > 0 ? SEAL_SIZE + rest : 0);
}

static uint64_t
clear_size(uint64_t stored)
{
	uint64_t body = stored > HEAD ? stored - HEAD : 0, rest = body % STRIDE;
	return body / STRIDE * PAGE + (rest > SEAL_SIZE ? rest - SEAL_SIZE : 0);
}

static size_t
page_size(const struct pages *p, uint64_t number)
{
	uint64_t left = p->size > number * PAGE ? p->size - number * PAGE : 0;
	return left < PAGE ? (size_t)left : PAGE;
}

static struct seal_place
place_of(const struct pages *p, uint64_t number, size_t size)
{
	return (struct seal_place){.kind = SEAL_PAGE, .file = p->name, .offset = number, .part = size};
}

/* ---- pages ---- */

/* Makes the page, as long as it is now, the one that is held. */
static int
load(struct sealed_file *f, uint64_t number, unsigned flags, struct sett_error *error)
{
	static const uint8_t hole[SEAL_SIZE];
	struct pages *p = f->pages;
	if (p->held == number)
		return SETT_OK;
	size_t size = page_size(p, number);
	const char *why = "";
	p->held = UINT64_MAX;
	int status =
		vfs_read_exact(f->inner, p->stored, SEAL_SIZE + size, HEAD + number * STRIDE, flags, error);
	if (status != SETT_OK)
		return status;
	struct seal_place place = place_of(p, number, size);
	if (memcmp(p->stored, hole, sizeof(hole)) == 0)
		memset(p->clear, 0, size);
	else
		status = seal_open(f->base.vfs->keys, &place, bytes_of(p->stored + SEAL_SIZE, size),
				   p->stored, p->clear, &why);
	if (status == SETT_CORRUPT || status == SETT_IO)
		return sett_error_set(error, status, 0, "page %llu of a sealed file: %s",
				      (unsigned long long)number, why);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "a sealed file cannot be read: %s",
				      sett_status_text(status));
	p->held = number;
	return SETT_OK;
}

/* Seals the held page, of which `size` bytes count, and writes it. */
static int
store(struct sealed_file *f, size_t size, struct sett_error *error)
{
	struct pages *p = f->pages;
	struct seal_place place = place_of(p, p->held, size);
	int status = seal_make(f->base.vfs->keys, &place, bytes_of(p->clear, size), p->stored + SEAL_SIZE,
			       p->stored);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "a page cannot be sealed: %s",
				      sett_status_text(status));
	return vfs_write_bytes(f->inner, p->stored, SEAL_SIZE + size, HEAD + p->held * STRIDE, error);
}

/* The last page ends where it is said to, once more bytes are to stand behind it. */
static int
fill_last(struct sealed_file *f, uint64_t size, struct sett_error *error)
{
	struct pages *p = f->pages;
	uint64_t last = p->size / PAGE;
	size_t has = (size_t)(p->size % PAGE);
	if (has == 0 || size <= p->size)
		return SETT_OK;
	int status = load(f, last, 0, error);
	if (status != SETT_OK)
		return status;
	uint64_t wanted = size - last * PAGE;
	size_t to = wanted < PAGE ? (size_t)wanted : PAGE;
	memset(p->clear + has, 0, to - has);
	status = store(f, to, error);
	if (status == SETT_OK)
		p->size = last * PAGE + to;
	return status;
}

/* Puts bytes into one page. */
static int
put(struct sealed_file *f, uint64_t offset, const uint8_t *data, size_t n, struct sett_error *error)
{
	struct pages *p = f->pages;
	uint64_t number = offset / PAGE;
	size_t at = (size_t)(offset % PAGE), has = page_size(p, number);
	int status = SETT_OK;
	if (has > 0 && (at > 0 || n < has))
		status = load(f, number, 0, error);
	if (status != SETT_OK)
		return status;
	p->held = number;
	if (at > has)
		memset(p->clear + has, 0, at - has);
	memcpy(p->clear + at, data, n);
	size_t size = at + n > has ? at + n : has;
	status = store(f, size, error);
	if (status == SETT_OK && number * PAGE + size > p->size)
		p->size = number * PAGE + size;
	if (status != SETT_OK)
		p->held = UINT64_MAX; /* the file may have the one or the other */
	return status;
}

/* ---- operations ---- */

static int
wrap(struct vfs *v, struct vfs_file *inner, struct pages *pages, struct vfs_file **ret,
     struct sett_error *error)
{
	struct sealed_file *f = calloc(1, sizeof(*f));
	if (f == NULL) {
		(void)vfs_close(inner, NULL);
		free(pages);
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for a file");
	}
	*f = (struct sealed_file){{v}, inner, pages};
	*ret = &f->base;
	return SETT_OK;
}

/* Writes the head of a new file, or reads that of one; pages are NULL if it has none. */
static int
begin(struct vfs_file *inner, unsigned flags, struct pages *p, bool *ret_has_head, struct sett_error *error)
{
	uint8_t head[HEAD];
	uint64_t stored;
	if (flags & VFS_CREATE) {
		p->name = random_entropy();
		memcpy(head, SETT_SEALED_MAGIC, 8);
		put_le32(head + 8, PAGES_VERSION);
		put_le32(head + 12, PAGE);
		put_le64(head + 16, p->name);
		put_le64(head + 24, hash64(head, 24, 0));
		*ret_has_head = true;
		return vfs_write_bytes(inner, head, sizeof(head), 0, error);
	}
	size_t got;
	int status = vfs_read(inner, head, sizeof(head), 0, 0, &got, error);
	if (status == SETT_OK)
		status = vfs_size(inner, &stored, error);
	if (status != SETT_OK)
		return status;
	*ret_has_head = got == sizeof(head) && memcmp(head, SETT_SEALED_MAGIC, 8) == 0 &&
		get_le64(head + 24) == hash64(head, 24, 0) && get_le32(head + 8) == PAGES_VERSION &&
		get_le32(head + 12) == PAGE;
	p->name = get_le64(head + 16);
	p->size = clear_size(stored);
	return SETT_OK;
}

static int
sealed_open(struct vfs *v, const char *path, unsigned flags, struct vfs_file **ret, struct sett_error *error)
{
	struct vfs_file *inner;
	unsigned below = flags & ~(unsigned)VFS_SEALED;
	bool is_sealed = (flags & VFS_SEALED) && !((flags & VFS_CREATE) && !vfs_seals(v));
	if (is_sealed)
		below |= VFS_READ;
	int status = vfs_open(inner_of(v), path, below, &inner, error);
	if (status != SETT_OK || !is_sealed)
		return status == SETT_OK ? wrap(v, inner, NULL, ret, error) : status;
	struct pages *p = calloc(1, sizeof(*p));
	bool has_head = false;
	if (p == NULL) {
		status = sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for a file");
	} else {
		p->held = UINT64_MAX;
		status = begin(inner, flags, p, &has_head, error);
	}
	if (status != SETT_OK) {
		(void)vfs_close(inner, NULL);
		free(p);
		return status;
	}
	if (!has_head) {
		free(p);
		p = NULL;
	} else {
		mutex_init(&p->lock);
	}
	return wrap(v, inner, p, ret, error);
}

static int
sealed_close(struct vfs_file *file, struct sett_error *error)
{
	struct sealed_file *f = file_of(file);
	int status = vfs_close(f->inner, error);
	if (f->pages != NULL) {
		mutex_destroy(&f->pages->lock);
		OPENSSL_cleanse(f->pages, sizeof(*f->pages));
		free(f->pages);
	}
	free(f);
	return status;
}

static int
sealed_read(struct vfs_file *file, void *buf, size_t size, uint64_t offset, unsigned flags, size_t *ret,
	    struct sett_error *error)
{
	struct sealed_file *f = file_of(file);
	struct pages *p = f->pages;
	if (p == NULL)
		return vfs_read(f->inner, buf, size, offset, flags, ret, error);
	int status = SETT_OK;
	size_t done = 0;
	mutex_lock(&p->lock);
	while (done < size && offset + done < p->size) {
		uint64_t number = (offset + done) / PAGE;
		size_t at = (size_t)((offset + done) % PAGE);
		status = load(f, number, flags, error);
		if (status != SETT_OK)
			break;
		size_t step = page_size(p, number) - at;
		if (step > size - done)
			step = size - done;
		memcpy((uint8_t *)buf + done, p->clear + at, step);
		done += step;
	}
	mutex_unlock(&p->lock);
	if (status == SETT_OK)
		*ret = done;
	return status;
}

static int
sealed_write(struct vfs_file *file, const struct iovec *iov, int count, uint64_t offset,
	     struct sett_error *error)
{
	struct sealed_file *f = file_of(file);
	struct pages *p = f->pages;
	if (p == NULL)
		return vfs_write(f->inner, iov, count, offset, error);
	mutex_lock(&p->lock);
	int status = fill_last(f, offset, error);
	for (int i = 0; i < count; i++) {
		const uint8_t *data = iov[i].iov_base;
		for (size_t done = 0; status == SETT_OK && done < iov[i].iov_len;) {
			size_t left = PAGE - (size_t)(offset % PAGE), step = iov[i].iov_len - done;
			step = step < left ? step : left;
			status = put(f, offset, data + done, step, error);
			done += step;
			offset += step;
		}
	}
	mutex_unlock(&p->lock);
	return status;
}

/* The pages that hold a range. */
static uint64_t
range_of(const struct sealed_file *f, uint64_t *offset, uint64_t size)
{
	if (f->pages == NULL)
		return size;
	uint64_t first = *offset / PAGE, end = (*offset + size + PAGE - 1) / PAGE;
	*offset = HEAD + first * STRIDE;
	return (end - first) * STRIDE;
}

static void
sealed_prefetch(struct vfs_file *file, uint64_t offset, uint64_t size)
{
	struct sealed_file *f = file_of(file);
	uint64_t n = range_of(f, &offset, size);
	vfs_prefetch(f->inner, offset, n);
}

static void
sealed_begin_sync(struct vfs_file *file, uint64_t offset, uint64_t size)
{
	struct sealed_file *f = file_of(file);
	uint64_t n = range_of(f, &offset, size);
	vfs_begin_sync(f->inner, offset, n);
}

static int
sealed_sync_range(struct vfs_file *file, uint64_t offset, uint64_t size, struct sett_error *error)
{
	struct sealed_file *f = file_of(file);
	uint64_t n = range_of(f, &offset, size);
	return vfs_sync_range(f->inner, offset, n, error);
}

static int
sealed_sync(struct vfs_file *file, struct sett_error *error)
{
	return vfs_sync(file_of(file)->inner, error);
}

static int
sealed_allocate(struct vfs_file *file, uint64_t size, struct sett_error *error)
{
	struct sealed_file *f = file_of(file);
	struct pages *p = f->pages;
	if (p == NULL)
		return vfs_allocate(f->inner, size, error);
	mutex_lock(&p->lock);
	int status = fill_last(f, size, error);
	if (status == SETT_OK && size > p->size)
		status = vfs_allocate(f->inner, stored_size(size), error);
	if (status == SETT_OK && size > p->size)
		p->size = size;
	mutex_unlock(&p->lock);
	return status;
}

static int
sealed_truncate(struct vfs_file *file, uint64_t size, struct sett_error *error)
{
	struct sealed_file *f = file_of(file);
	struct pages *p = f->pages;
	if (p == NULL)
		return vfs_truncate(f->inner, size, error);
	mutex_lock(&p->lock);
	int status = fill_last(f, size, error);
	if (status == SETT_OK && size < p->size && size % PAGE > 0) {
		status = load(f, size / PAGE, 0, error);
		if (status == SETT_OK)
			status = store(f, (size_t)(size % PAGE), error);
	}
	if (status == SETT_OK)
		status = vfs_truncate(f->inner, stored_size(size), error);
	if (status == SETT_OK) {
		if (p->held != UINT64_MAX && p->held * PAGE >= size)
			p->held = UINT64_MAX;
		p->size = size;
	}
	mutex_unlock(&p->lock);
	return status;
}

static int
sealed_size(struct vfs_file *file, uint64_t *ret, struct sett_error *error)
{
	struct sealed_file *f = file_of(file);
	struct pages *p = f->pages;
	if (p == NULL)
		return vfs_size(f->inner, ret, error);
	mutex_lock(&p->lock);
	*ret = p->size;
	mutex_unlock(&p->lock);
	return SETT_OK;
}

static int
sealed_remove(struct vfs *v, const char *path, struct sett_error *error)
{
	return vfs_remove(inner_of(v), path, error);
}

static int
sealed_rename(struct vfs *v, const char *from, const char *to, struct sett_error *error)
{
	return vfs_rename(inner_of(v), from, to, error);
}

static int
sealed_link(struct vfs *v, const char *from, const char *to, struct sett_error *error)
{
	return vfs_link(inner_of(v), from, to, error);
}

static int
sealed_make_directory(struct vfs *v, const char *path, struct sett_error *error)
{
	return vfs_make_directory(inner_of(v), path, error);
}

static int
sealed_list(struct vfs *v, const char *path, int (*each)(void *, const char *), void *arg,
	    struct sett_error *error)
{
	return vfs_list(inner_of(v), path, each, arg, error);
}

static int
sealed_lock(struct vfs *v, const char *path, struct vfs_file **ret, struct sett_error *error)
{
	struct vfs_file *inner;
	int status = vfs_lock(inner_of(v), path, &inner, error);
	return status == SETT_OK ? wrap(v, inner, NULL, ret, error) : status;
}

static int
sealed_lock_shared(struct vfs *v, const char *path, struct vfs_file **ret, struct sett_error *error)
{
	struct vfs_file *inner;
	int status = vfs_lock_shared(inner_of(v), path, &inner, error);
	return status == SETT_OK ? wrap(v, inner, NULL, ret, error) : status;
}

static int
sealed_free_space(struct vfs *v, const char *path, uint64_t *ret, struct sett_error *error)
{
	return vfs_free_space(inner_of(v), path, ret, error);
}

static void
sealed_destroy(struct vfs *v)
{
	free(v);
}

static const struct vfs_operations sealed_operations = {
	.open = sealed_open,
	.close = sealed_close,
	.read = sealed_read,
	.prefetch = sealed_prefetch,
	.write = sealed_write,
	.begin_sync = sealed_begin_sync,
	.sync_range = sealed_sync_range,
	.sync = sealed_sync,
	.allocate = sealed_allocate,
	.truncate = sealed_truncate,
	.size = sealed_size,
	.remove = sealed_remove,
	.rename = sealed_rename,
	.link = sealed_link,
	.make_directory = sealed_make_directory,
	.list = sealed_list,
	.lock = sealed_lock,
	.lock_shared = sealed_lock_shared,
	.free_space = sealed_free_space,
	.destroy = sealed_destroy,
};

struct vfs *
sealed_vfs_create(struct vfs *inner, struct keyring *keys)
{
	struct sealed_vfs *v = calloc(1, sizeof(*v));
	if (v == NULL)
		return NULL;
	v->base.operations = &sealed_operations;
	v->base.keys = keys;
	v->inner = inner;
	return &v->base;
}

int
sealed_file_each_key(struct vfs *v, const char *path, int (*each)(void *arg, uint64_t key), void *arg,
		     struct sett_error *error)
{
	uint8_t bytes[HEAD];
	struct vfs_file *file;
	size_t got = 0;
	int status = vfs_open(v, path, VFS_READ, &file, error);
	if (status == SETT_NOT_FOUND)
		return SETT_OK; /* it was just removed */
	if (status != SETT_OK)
		return status;
	/* What can't be read is no such file (a directory). */
	bool is_sealed = vfs_read(file, bytes, HEAD, 0, 0, &got, NULL) == SETT_OK && got == HEAD &&
		memcmp(bytes, SETT_SEALED_MAGIC, 8) == 0;
	for (uint64_t at = HEAD; is_sealed && status == SETT_OK && got == HEAD; at += STRIDE) {
		status = vfs_read(file, bytes, HEAD, at, 0, &got, error);
		if (status == SETT_OK && got == HEAD)
			status = each(arg, get_le64(bytes));
	}
	(void)vfs_close(file, NULL); /* it was only read */
	return status;
}

/* Files are mapped, and what was read is given back: so a value of any size can be looked at as a whole, and little is
 * resident. */
#include "moving/import.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/keyring.h"

enum { RELEASE_STEP = 8 * 1024 * 1024 };

static int
map(int fd, struct import_file *f, struct sett_error *error)
{
	struct stat state;
	if (fstat(fd, &state) != 0)
		return sett_error_set(error, SETT_IO, errno, "fstat %s: %s", f->path, strerror(errno));
	if (!S_ISREG(state.st_mode))
		return sett_error_set(error, SETT_INVALID, 0, "%s is not a file", f->path);
	if (state.st_size == 0)
		return SETT_OK;
	void *p = mmap(NULL, (size_t)state.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return sett_error_set(error, SETT_IO, errno, "mmap %s: %s", f->path, strerror(errno));
	/* Hints: a refusal changes nothing but the time it takes. */
	(void)madvise(p, (size_t)state.st_size, MADV_SEQUENTIAL);
	f->content = bytes_of(p, (size_t)state.st_size);
	return SETT_OK;
}

/* What was mapped is encrypted: puts what it says in its place. */
static int
decrypt(struct import_file *f, struct vfs *vfs, struct sett_error *error)
{
	struct vfs_file *file;
	uint64_t size = 0;
	import_file_close(f);
	if (vfs->keys == NULL)
		return sett_error_set(error, SETT_INVALID, 0, "%s is encrypted, and no key was given",
				      f->path);
	int status = vfs_open(vfs, f->path, VFS_READ | VFS_SEALED, &file, error);
	if (status != SETT_OK)
		return status;
	status = vfs_size(file, &size, error);
	if (status == SETT_OK && size > 0) {
		void *p =
			mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			status = sett_error_set(error, SETT_NO_MEMORY, errno,
						"%s is encrypted, and memory lacks for its %" PRIu64 " bytes",
						f->path, size);
		else
			f->content = bytes_of(p, (size_t)size);
		if (status == SETT_OK)
			status = vfs_read_exact(file, p, (size_t)size, 0, 0, error);
	}
	(void)vfs_close(file, NULL); /* it was only read */
	if (status != SETT_OK)
		import_file_close(f);
	return status;
}

static bool
is_sealed(const struct import_file *f)
{
	enum { MAGIC_SIZE = 8 };
	return f->content.size > MAGIC_SIZE && memcmp(f->content.data, SETT_SEALED_MAGIC, MAGIC_SIZE) == 0;
}

int
import_file_open(struct import_file *f, struct vfs *vfs, const char *path, struct sett_error *error)
{
	*f = (struct import_file){0};
	snprintf(f->path, sizeof(f->path), "%s", path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return sett_error_set(error, errno == ENOENT ? SETT_NOT_FOUND : SETT_IO, errno, "open %s: %s",
				      path, strerror(errno));
	int status = map(fd, f, error);
	close(fd);
	return status == SETT_OK && is_sealed(f) ? decrypt(f, vfs, error) : status;
}

void
import_file_close(struct import_file *f)
{
	if (f->content.size > 0)
		munmap((void *)(uintptr_t)f->content.data, f->content.size);
	f->content = (struct bytes){0};
}

static void
count_progress(const struct import *i, uint64_t done)
{
	struct loading *l = &i->server->loading;
	uint64_t total = __atomic_load_n(&l->total_bytes, __ATOMIC_RELAXED);
	if (i->survey != NULL) {
		if (i->on_survey != NULL)
			i->on_survey(i->arg, done, total);
		return;
	}
	__atomic_store_n(&l->done_bytes, done, __ATOMIC_RELAXED);
	__atomic_store_n(&l->keys, i->keys, __ATOMIC_RELAXED);
	__atomic_store_n(&l->expired, i->expired, __ATOMIC_RELAXED);
	if (i->on_progress != NULL)
		i->on_progress(i->arg, done, total);
}

int
import_given_up(struct import *i)
{
	return sett_error_set(i->error, SETT_ABORTED, 0, "it was given up");
}

int
import_progress(struct import *i, struct import_file *f, size_t at)
{
	count_progress(i, i->done_before + at);
	size_t whole = at & ~(size_t)(RELEASE_STEP - 1);
	if (whole > f->released) {
		(void)madvise((void *)(uintptr_t)(f->content.data + f->released), whole - f->released,
			      MADV_DONTNEED);
		f->released = whole;
	}
	return i->should_stop != NULL && i->should_stop(i->arg) ? import_given_up(i) : SETT_OK;
}

int
import_damaged(struct import *i, const struct import_file *f, uint64_t at, const char *what)
{
	return sett_error_set(i->error, SETT_CORRUPT, 0,
			      "%s is damaged, or can't be taken over, at byte %" PRIu64 ": %s", f->path, at,
			      what);
}

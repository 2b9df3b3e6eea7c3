/*
 * Disk use of a directory, now and over time.
 */
#include "disk_usage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Calls `each` with every regular file; stops at its first result that is not 0. 0, or -1 with errno. */
static int
each_file(const char *directory, int (*each)(void *arg, int dir, const char *name, const struct stat *),
	  void *arg)
{
	DIR *dir = opendir(directory);
	if (!dir)
		return -1;
	int r = 0;
	while (r == 0) {
		struct stat st;
		errno = 0;
		const struct dirent *entry = readdir(dir);
		if (!entry) {
			r = errno != 0 ? -1 : 0;
			break;
		}
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			r = errno == ENOENT ? 0 : -1;
		else if (S_ISREG(st.st_mode))
			r = each(arg, dirfd(dir), entry->d_name, &st);
	}
	int failure = errno;
	(void)closedir(dir);
	errno = failure;
	return r;
}

static int
add_file(void *arg, int dir, const char *name, const struct stat *st)
{
	struct disk_usage *sum = arg;
	sum->size += (uint64_t)st->st_size;
	sum->allocated += (uint64_t)st->st_blocks * 512;
	return 0;
}

int
disk_usage_measure(const char *directory, struct disk_usage *ret)
{
	struct disk_usage sum = {0};
	if (each_file(directory, add_file, &sum) != 0)
		return -1;
	*ret = sum;
	return 0;
}

static int
drop_file(void *arg, int dir, const char *name, const struct stat *st)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	int r = fsync(fd);
	if (r == 0) {
		errno = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		r = errno == 0 ? 0 : -1;
	}
	int failure = errno;
	(void)close(fd);
	errno = failure;
	return r;
}

int
disk_cache_drop(const char *directory)
{
	return each_file(directory, drop_file, NULL);
}

static void
sample(struct disk_sampler *sampler)
{
	struct disk_usage usage;
	if (disk_usage_measure(sampler->directory, &usage) != 0) {
		sampler->failure = errno;
		return;
	}
	if (usage.size > sampler->largest.size)
		sampler->largest.size = usage.size;
	if (usage.allocated > sampler->largest.allocated)
		sampler->largest.allocated = usage.allocated;
	sampler->samples++;
}

static void *
run(void *arg)
{
	struct disk_sampler *sampler = arg;
	struct timespec pause = {(time_t)(sampler->interval_ns / 1000000000ULL),
				 (long)(sampler->interval_ns % 1000000000ULL)};
	while (!__atomic_load_n(&sampler->stop, __ATOMIC_RELAXED) && sampler->failure == 0) {
		sample(sampler);
		(void)nanosleep(&pause, NULL);
	}
	return NULL;
}

int
disk_sampler_start(struct disk_sampler *sampler, const char *directory, uint64_t interval_ns)
{
	memset(sampler, 0, sizeof(*sampler));
	sampler->directory = directory;
	sampler->interval_ns = interval_ns;
	return pthread_create(&sampler->thread, NULL, run, sampler) == 0 ? 0 : -1;
}

void
disk_sampler_stop(struct disk_sampler *sampler)
{
	__atomic_store_n(&sampler->stop, 1, __ATOMIC_RELAXED);
	(void)pthread_join(sampler->thread, NULL);
	if (sampler->failure == 0)
		sample(sampler);
}

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

int
disk_usage_measure(const char *directory, struct disk_usage *ret)
{
	struct disk_usage sum = {0};
	DIR *dir = opendir(directory);
	if (!dir)
		return -1;
	for (;;) {
		struct stat st;
		errno = 0;
		const struct dirent *entry = readdir(dir);
		if (!entry)
			break;
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
			if (errno == ENOENT)
				continue;
			break;
		}
		if (!S_ISREG(st.st_mode))
			continue;
		sum.size += (uint64_t)st.st_size;
		sum.allocated += (uint64_t)st.st_blocks * 512;
	}
	int failure = errno;
	(void)closedir(dir);
	errno = failure;
	if (failure != 0)
		return -1;
	*ret = sum;
	return 0;
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

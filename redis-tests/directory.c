#include "directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 8

static void
drop_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	/* Dirty pages stay, so they are written first. Advice: failure only leaves the test warmer. */
	if (fdatasync(fd) == 0)
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

static uint64_t
walk(const char *path, int depth, void (*each_file)(const char *path))
{
	struct stat info;
	struct dirent *entry;
	uint64_t bytes;
	DIR *directory;

	if (lstat(path, &info) < 0)
		return 0;
	bytes = (uint64_t)info.st_blocks * 512;
	if (!S_ISDIR(info.st_mode)) {
		if (each_file != NULL && S_ISREG(info.st_mode))
			each_file(path);
		return bytes;
	}
	if (depth == DEPTH_MAX || (directory = opendir(path)) == NULL)
		return bytes;
	while ((entry = readdir(directory)) != NULL) {
		char below[4096];
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
		bytes += walk(below, depth + 1, each_file);
	}
	closedir(directory);
	return bytes;
}

uint64_t
directory_disk_bytes(const char *path)
{
	return walk(path, 0, NULL);
}

void
directory_drop_cache(const char *path)
{
	int fd;

	walk(path, 0, drop_file);
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, "1", 1);
	close(fd);
}

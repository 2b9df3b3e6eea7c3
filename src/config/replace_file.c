#include "config/replace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool
write_synced(int fd, struct bytes text)
{
	for (size_t done = 0; done < text.size;) {
		ssize_t written = write(fd, text.data + done, text.size - done);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return false;
		done += (size_t)written;
	}
	return fsync(fd) == 0;
}

static bool
sync_directory_of(const char *path)
{
	char *directory = strdup(path);
	if (directory == NULL) {
		errno = ENOMEM;
		return false;
	}
	char *slash = strrchr(directory, '/');
	if (slash != NULL)
		slash[slash == directory ? 1 : 0] = '\0';
	int fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool synced = fd >= 0 && fsync(fd) == 0;
	int saved_errno = errno;
	if (fd >= 0)
		close(fd);
	free(directory);
	errno = saved_errno;
	return synced;
}

bool
replace_file(const char *path, struct bytes text)
{
	enum { ORDINARY_MODE = 0644 };
	char *temporary = NULL;
	struct stat old;
	if (asprintf(&temporary, "%s.%ld-XXXXXX", path, (long)getpid()) < 0) {
		errno = ENOMEM;
		return false;
	}
	/* Its rights stay what they were: it may hold a password. */
	mode_t mode = stat(path, &old) == 0 ? old.st_mode & 07777 : ORDINARY_MODE;
	int fd = mkostemp(temporary, O_CLOEXEC);
	bool done = fd >= 0 && fchmod(fd, mode) == 0 && write_synced(fd, text);
	int saved_errno = errno;
	if (fd >= 0 && close(fd) != 0 && done) {
		done = false;
		saved_errno = errno;
	}
	if (done && rename(temporary, path) != 0) {
		done = false;
		saved_errno = errno;
	}
	if (!done && fd >= 0)
		unlink(temporary);
	free(temporary);
	if (done && !sync_directory_of(path))
		return false;
	errno = saved_errno;
	return done;
}

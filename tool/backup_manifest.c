/* See backup_manifest.h.
 *
 *     sett-backup 1
 *     commit NUMBER
 *     time MILLISECONDS
 *     base PATH                          if there is one
 *     file SIZE MTIME_NS SUM NAME        for each file
 *     end FILES BYTES SUM                SUM: of all that stands before it
 */
#include "backup_manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/hash.h"
#include "storage/inspect.h"
#include "storage/keyring.h"
#include "storage/vfs.h"

#define MANIFEST_FIRST "sett-backup 1\n"
enum { MANIFEST_MAX = 1 << 30, LINE_SIZE = PATH_MAX + 256 };

static int
out_of_memory(struct sett_error *error)
{
	return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
}

void
backup_manifest_free(struct backup_manifest *m)
{
	free(m->entries);
	*m = (struct backup_manifest){0};
}

/* The first entry not before the name. */
static size_t
lower_bound(const struct backup_manifest *m, const char *name)
{
	size_t low = 0, high = m->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(m->entries[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct backup_entry *
backup_manifest_find(const struct backup_manifest *m, const char *name)
{
	size_t at = lower_bound(m, name);
	return at < m->count && strcmp(m->entries[at].name, name) == 0 ? &m->entries[at] : NULL;
}

int
backup_manifest_add(struct backup_manifest *m, const struct backup_entry *entry)
{
	if (m->count == m->capacity) {
		size_t capacity = m->capacity ? 2 * m->capacity : 64;
		void *grown = reallocarray(m->entries, capacity, sizeof(*m->entries));
		if (grown == NULL)
			return SETT_NO_MEMORY;
		m->entries = grown;
		m->capacity = capacity;
	}
	size_t at = lower_bound(m, entry->name);
	memmove(m->entries + at + 1, m->entries + at, (m->count - at) * sizeof(*m->entries));
	m->entries[at] = *entry;
	m->count++;
	m->bytes += entry->size;
	return SETT_OK;
}

/* ---- writing ---- */

int
backup_manifest_format(const struct backup_manifest *m, struct buffer *ret)
{
	char line[LINE_SIZE];
	int n = snprintf(line, sizeof(line), MANIFEST_FIRST "commit %" PRIu64 "\ntime %" PRIu64 "\n",
			 m->commit, m->time_ms);
	int status = buffer_append(ret, line, (size_t)n);
	if (status == SETT_OK && m->base[0] != '\0') {
		n = snprintf(line, sizeof(line), "base %s\n", m->base);
		status = buffer_append(ret, line, (size_t)n);
	}
	for (size_t i = 0; status == SETT_OK && i < m->count; i++) {
		const struct backup_entry *e = &m->entries[i];
		n = snprintf(line, sizeof(line), "file %" PRIu64 " %" PRId64 " %016" PRIx64 " %s\n", e->size,
			     e->mtime_ns, e->sum, e->name);
		status = buffer_append(ret, line, (size_t)n);
	}
	if (status == SETT_OK) {
		n = snprintf(line, sizeof(line), "end %zu %" PRIu64 " ", m->count, m->bytes);
		status = buffer_append(ret, line, (size_t)n);
	}
	if (status != SETT_OK)
		return status;
	n = snprintf(line, sizeof(line), "%016" PRIx64 "\n", hash64(ret->data, ret->size, 0));
	return buffer_append(ret, line, (size_t)n);
}

/* ---- reading ---- */

static bool
parse_file(const char *line, struct backup_manifest *m, int *status)
{
	struct backup_entry e;
	enum sett_file_kind kind;
	uint64_t number;
	char end;
	_Static_assert(BACKUP_NAME_SIZE == 32, "as the format says");
	if (sscanf(line, "file %" SCNu64 " %" SCNd64 " %16" SCNx64 " %31s%c", &e.size, &e.mtime_ns, &e.sum,
		   e.name, &end) != 4 ||
	    (!sett_file_classify(e.name, &kind, &number) && strcmp(e.name, SETT_KEYS_NAME) != 0) ||
	    backup_manifest_find(m, e.name) != NULL)
		return false;
	*status = backup_manifest_add(m, &e);
	return true;
}

/* One line, without its end. */
static bool
parse_line(const char *line, struct backup_manifest *m, int *status)
{
	int end = -1;
	if (strncmp(line, "file ", 5) == 0)
		return parse_file(line, m, status);
	if (strncmp(line, "base /", 6) == 0 && strlen(line + 5) < sizeof(m->base)) {
		memcpy(m->base, line + 5, strlen(line + 5) + 1);
		return true;
	}
	if (sscanf(line, "commit %" SCNu64 "%n", &m->commit, &end) == 1 && line[end] == '\0')
		return true;
	return sscanf(line, "time %" SCNu64 "%n", &m->time_ms, &end) == 1 && line[end] == '\0';
}

/* The end's sum, which covers all but itself, is right. */
static bool
parse(char *text, size_t size, struct backup_manifest *m, int *status)
{
	enum { FIRST = sizeof(MANIFEST_FIRST) - 1, SUM_SIZE = 17 };
	uint64_t files, bytes, sum;
	int end = -1;
	if (size < FIRST + SUM_SIZE || strlen(text) != size || memcmp(text, MANIFEST_FIRST, FIRST) != 0)
		return false;
	char *line = text + FIRST;
	uint64_t is = hash64(text, size - SUM_SIZE, 0);
	for (char *next; (next = strchr(line, '\n')) != NULL; line = next + 1) {
		*next = '\0';
		if (strncmp(line, "end ", 4) == 0)
			return sscanf(line, "end %" SCNu64 " %" SCNu64 " %16" SCNx64 "%n", &files, &bytes,
				      &sum, &end) == 3 &&
				line[end] == '\0' && next + 1 == text + size && files == m->count &&
				bytes == m->bytes && sum == is;
		if (!parse_line(line, m, status) || *status != SETT_OK)
			return false;
	}
	return false;
}

static int
read_text(const char *path, struct buffer *ret, struct sett_error *error)
{
	struct vfs_file *file;
	uint64_t size;
	int status = vfs_open(vfs_posix(), path, VFS_READ, &file, error);
	if (status != SETT_OK)
		return status;
	status = vfs_size(file, &size, error);
	if (status == SETT_OK && size > MANIFEST_MAX)
		status = sett_error_set(error, SETT_CORRUPT, 0, "%s is no manifest of a backup", path);
	if (status == SETT_OK && buffer_reserve(ret, (size_t)size + 1) != SETT_OK)
		status = out_of_memory(error);
	if (status == SETT_OK)
		status = vfs_read_exact(file, ret->data, (size_t)size, 0, 0, error);
	if (status == SETT_OK) {
		ret->size = (size_t)size;
		ret->data[ret->size] = '\0';
	}
	(void)vfs_close(file, NULL);
	return status;
}

int
backup_manifest_read(const char *path, struct backup_manifest *ret, struct sett_error *error)
{
	char in_directory[PATH_MAX];
	struct buffer text = {0};
	struct backup_manifest m = {0};
	int n = snprintf(in_directory, sizeof(in_directory), "%s/" BACKUP_MANIFEST_NAME, path);
	if (n < 0 || (size_t)n >= sizeof(in_directory))
		return sett_error_set(error, SETT_INVALID, ENAMETOOLONG, "%s: the path is too long", path);
	int status = read_text(in_directory, &text, error);
	const char *name = in_directory;
	if (status != SETT_OK && error->system_errno == ENOTDIR) {
		buffer_clear(&text);
		status = read_text(path, &text, error);
		name = path;
	}
	if (status == SETT_OK && !parse((char *)text.data, text.size, &m, &status) && status == SETT_OK)
		status = sett_error_set(error, SETT_CORRUPT, 0, "%s is damaged, or no manifest of a backup",
					name);
	else if (status == SETT_NO_MEMORY)
		(void)out_of_memory(error);
	buffer_free(&text);
	if (status == SETT_OK)
		*ret = m;
	else
		backup_manifest_free(&m);
	return status;
}

int
backup_places_add(struct backup_places *places, const char *directory, struct sett_error *error)
{
	for (size_t i = 0; i < places->count; i++) {
		if (strcmp(places->paths[i], directory) == 0)
			return SETT_OK;
	}
	if (places->count == BACKUP_PLACES_MAX)
		return sett_error_set(error, SETT_TOO_LARGE, 0, "more than %d backups stand on each other",
				      BACKUP_PLACES_MAX);
	places->paths[places->count] = strdup(directory);
	if (places->paths[places->count] == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	places->count++;
	return SETT_OK;
}

int
backup_places_add_bases(struct backup_places *places, struct sett_error *error)
{
	int status = SETT_OK;
	for (size_t i = 0; status == SETT_OK && i < places->count; i++) {
		struct backup_manifest m = {0};
		struct sett_error ignored = {0};
		if (backup_manifest_read(places->paths[i], &m, &ignored) == SETT_OK && m.base[0] != '\0')
			status = backup_places_add(places, m.base, error);
		backup_manifest_free(&m);
	}
	return status;
}

void
backup_places_free(struct backup_places *places)
{
	for (size_t i = 0; i < places->count; i++)
		free(places->paths[i]);
	*places = (struct backup_places){0};
}

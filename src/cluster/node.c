/* See node.h. */
#include "cluster/node.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/replace_file.h"
#include "storage/base/random.h"

enum { PATH_SIZE = 4096, LINE_SIZE = 256 * 1024 /* a node may own many ranges of slots */ };

static bool
read_id(const char *line, char ret[CLUSTER_ID_SIZE + 1])
{
	for (size_t i = 0; i < CLUSTER_ID_SIZE; i++)
		if (!isxdigit((unsigned char)line[i]))
			return false;
	memcpy(ret, line, CLUSTER_ID_SIZE);
	ret[CLUSTER_ID_SIZE] = '\0';
	return line[CLUSTER_ID_SIZE] == ' ';
}

/* The third word of a line says which node it is of. */
static bool
is_mine(const char *line)
{
	const char *flags = strchr(line, ' ');
	flags = flags != NULL ? strchr(flags + 1, ' ') : NULL;
	return flags != NULL && strncmp(flags + 1, "myself", 6) == 0;
}

static int
find_id(FILE *file, const char *path, struct cluster_node *node, struct sett_error *error)
{
	char *line = malloc(LINE_SIZE);
	bool found = false;
	if (line == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	while (!found && fgets(line, LINE_SIZE, file) != NULL)
		found = is_mine(line) && read_id(line, node->id);
	bool failed = ferror(file) != 0;
	free(line);
	if (failed)
		return sett_error_set(error, SETT_IO, errno, "reading %s: %s", path, strerror(errno));
	return found ? SETT_OK : sett_error_set(error, SETT_CORRUPT, 0, "%s names no node as itself", path);
}

static int
make_file(const char *path, struct cluster_node *node, struct sett_error *error)
{
	char text[512];
	for (unsigned i = 0; i < CLUSTER_ID_SIZE; i += 8)
		snprintf(node->id + i, CLUSTER_ID_SIZE + 1 - i, "%08x", (unsigned)random_entropy());
	int size = snprintf(text, sizeof(text),
			    "%s :0@0 myself,master - 0 0 0 connected 0-16383\n"
			    "vars currentEpoch 0 lastVoteEpoch 0\n",
			    node->id);
	if (!replace_file(path, bytes_of(text, (size_t)size)))
		return sett_error_set(error, SETT_IO, errno, "writing %s: %s", path, strerror(errno));
	return SETT_OK;
}

int
cluster_node_open(struct cluster_node *node, const struct config *config, struct sett_error *error)
{
	char path[PATH_SIZE];
	const char *name = config->cluster_config_file;
	int size = snprintf(path, sizeof(path), "%s%s%s", name[0] == '/' ? "" : config->dir,
			    name[0] == '/' ? "" : "/", name);
	if (size < 0 || (size_t)size >= sizeof(path))
		return sett_error_set(error, SETT_INVALID, 0, "the path of cluster-config-file is too long");
	FILE *file = fopen(path, "re");
	if (file == NULL && errno == ENOENT)
		return make_file(path, node, error);
	if (file == NULL)
		return sett_error_set(error, SETT_IO, errno, "opening %s: %s", path, strerror(errno));
	int status = find_id(file, path, node, error);
	(void)fclose(file); /* it was read alone */
	return status;
}

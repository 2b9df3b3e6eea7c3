/* Names of numbered files: "DIRECTORY/NNNNNN.SUFFIX", at least six decimal digits. */
#ifndef SETT_FILE_NAMES_H
#define SETT_FILE_NAMES_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "storage/limits.h"
#include "storage/status.h"

/* `suffix` begins with a dot. SETT_INVALID if the path would be longer than SETT_PATH_MAX. */
static inline int
file_name_make(const char *directory, uint64_t number, const char *suffix, char ret[SETT_PATH_MAX])
{
	int n = snprintf(ret, SETT_PATH_MAX, "%s/%06" PRIu64 "%s", directory, number, suffix);
	return n > 0 && n < SETT_PATH_MAX ? SETT_OK : SETT_INVALID;
}

/* Whether `name` is one that file_name_make writes for `suffix`, and its number (never 0). */
static inline bool
file_name_parse(const char *name, const char *suffix, uint64_t *ret)
{
	uint64_t number = 0;
	size_t digits = 0;
	for (; name[digits] >= '0' && name[digits] <= '9'; digits++) {
		if (digits == 18)
			return false;
		number = number * 10 + (uint64_t)(name[digits] - '0');
	}
	if (digits < 6 || (digits > 6 && name[0] == '0') || number == 0 || strcmp(name + digits, suffix) != 0)
		return false;
	*ret = number;
	return true;
}

/* Whether it is the name of a table, a log segment or a file of the value log. */
static inline bool
file_name_is_numbered(const char *name)
{
	static const char *const suffixes[] = {".sst", ".log", ".vlog"};
	uint64_t number;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		if (file_name_parse(name, suffixes[i], &number))
			return true;
	}
	return false;
}

#endif

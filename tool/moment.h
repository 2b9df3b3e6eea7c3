/* Times as people write them. */
#ifndef SETT_TOOL_MOMENT_H
#define SETT_TOOL_MOMENT_H

#include <stdbool.h>
#include <stdint.h>

/* "2026-11-29T12:34:56.789", or with a space in place of the T, with fewer digits behind the point, without the point, or
 * without the seconds; then nothing or Z (UTC), or a difference to it as +02:00. Milliseconds since 1970. False if it is none. */
bool moment_parse(const char *text, uint64_t *ret);

#endif

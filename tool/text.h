/* Bytes, numbers and names as people and scripts read them. */
#ifndef SETT_TOOL_TEXT_H
#define SETT_TOOL_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "storage/base/bytes.h"

/* In double quotes; what is not printable ASCII as \xNN, \n, \r, \t; at most `most` bytes, then how many
 * there are. */
void print_bytes(FILE *, struct bytes, size_t most);
/* An engine key: by its name if it is one that a server writes and not `raw`, else as print_bytes does. */
void print_key(FILE *, struct bytes key, bool raw);
/* "1.5 MiB" */
struct size_text {
	char text[32];
};
struct size_text size_text(uint64_t bytes);
/* "2026-01-31T12:00:00.123Z"; "no time" for 0 */
struct time_text {
	char text[40];
};
struct time_text time_text(uint64_t milliseconds);

/* ---- JSON ---- */
/* A string; bytes that are not ASCII, quotes and controls as \u00NN: each byte is one character. */
void json_string(FILE *, struct bytes);
void json_text(FILE *, const char *);

#endif

/* Files that are replaced as a whole. */
#ifndef SETT_CONFIG_REPLACE_FILE_H
#define SETT_CONFIG_REPLACE_FILE_H

#include "storage/base/bytes.h"

/* Writes the text to a temporary file beside `path`, syncs it, gives it the name, and syncs the directory: after a crash the
 * old file is there, or the new one. The file keeps its rights. False: errno tells why. */
bool replace_file(const char *path, struct bytes text);

#endif

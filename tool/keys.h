/* The key of an encrypted database, as the command line names it: --encryption-key-file FILE or --encryption-key-command COMMAND,
 * which every subcommand takes. */
#ifndef SETT_TOOL_KEYS_H
#define SETT_TOOL_KEYS_H

#include "storage/keyring.h"

/* Takes the two options out of the command line; false, told of: one has no value. */
bool keys_take_options(int *argc, char **argv);
/* The directory's keys; NULL if no key was named. SETT_INVALID: the directory is encrypted and none was named, or the key is
 * another; SETT_IO, ... The keyring lives until keys_close_all. */
int keys_open(const char *directory, struct keyring **ret, struct sett_error *);
/* Ends them, at the process' end: nothing that was opened with one is in use any more. */
void keys_close_all(void);
/* The file system for that; NULL without a keyring. */
static inline struct vfs *
keys_vfs(struct keyring *keys)
{
	return keys ? sett_keyring_vfs(keys) : NULL;
}

#endif

/* Backups while the server runs, by the words of Redis 8.10 (BACKUP): a checkpoint of the engine (storage/checkpoint.h) in a directory
 * beside the data, `backupdirname` in `dir`, whose files somebody else copies.
 *
 *     idle --start--> incrementing --seal--> sealed --cleanup--> idle
 *                          `-----abort, an error-----> failed --cleanup, start-->
 *
 * What is sealed are the commits up to the seal. It is one moment: nothing is kept between start and seal, and no file is there
 * before. Sealed files are hard links, so what the engine removes of them stays on the disk until the cleanup: those bytes count
 * against `maxdisk` (server->backup_held_bytes).
 *
 * Which state a start of the server finds is in the directory: with a MANIFEST it is sealed; other files of a database are what a kill in the middle
 * of a seal has left: failed.
 *
 * Threads: any may call; those that say so wait for the disk. */
#ifndef SETT_MOVING_BACKUP_H
#define SETT_MOVING_BACKUP_H

#include "storage/status.h"
#include "txn/server.h"

struct backup;

enum backup_state { BACKUP_IDLE, BACKUP_INCREMENTING, BACKUP_SEALED, BACKUP_FAILED };

/* Waits for the disk, and watches sealed files from then on (`backup-sealed-ttl`). SETT_NO_MEMORY, SETT_INVALID: the path is too long. */
int backup_create(struct server *, struct backup **ret, struct sett_error *);
/* NULL is fine. The files stay. */
void backup_destroy(struct backup *);

/* Whether backup_begin would do something. SETT_LOCKED: one is in progress or sealed; SETT_INVALID: the directory is not empty, or is
 * none; SETT_IO. Waits for the disk. */
int backup_check(struct backup *, struct sett_error *);
/* Idle or failed: it is in progress. Does not wait. */
void backup_begin(struct backup *);
/* SETT_INVALID: none is ready to be sealed; else as sett_checkpoint: then it has failed. Waits for the disk. */
int backup_seal(struct backup *, struct sett_error *);
/* SETT_INVALID: none is in progress, or it is just being sealed. Waits for the disk, as the next one. */
int backup_abort(struct backup *, struct sett_error *);
/* Sealed or failed: the files are removed. SETT_OK if there is none; SETT_LOCKED: it is in progress; SETT_IO. */
int backup_clean_up(struct backup *, struct sett_error *);

struct backup_facts {
	enum backup_state state;
	char error[sizeof(((struct sett_error *)0)->message)]; /* why it failed, or empty */
	uint64_t start_ms, end_ms;                             /* 0: it did not, or not in this process */
	/* of the sealed one; the commit is 0 if another process has sealed it, and it can't be read */
	uint64_t commit, files, bytes;
	uint64_t held_bytes; /* that are on the disk for it alone, as of some seconds ago */
};
void backup_facts(struct backup *, struct backup_facts *ret);
/* Calls `each` with the absolute path of each file of the sealed one, the manifest last; `backup-sealed-ttl` counts anew
 * from then on. SETT_OK, SETT_IO, SETT_NO_MEMORY, or what `each` said. Waits
 * for the disk. */
int backup_list(struct backup *, int (*each)(void *arg, const char *path), void *arg, struct sett_error *);

#endif

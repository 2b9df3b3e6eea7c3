/* Encryption at rest, as the server's configuration asks for it (docs/encryption.md). */
#ifndef SETT_ENCRYPTION_H
#define SETT_ENCRYPTION_H

#include "config/config.h"
#include "storage/keyring.h"

struct server;

/* The master key that the configuration names; false in `ret_is_named`: it names none. SETT_INVALID, SETT_IO. */
int encryption_master_key(const struct config *, uint8_t ret[SETT_MASTER_KEY_SIZE], bool *ret_is_named,
			  struct sett_error *);
/* Sets the server's keys and file system: before the database is opened. Without a key: no keys, the machine's. A server
 * with keys leaves no core files. */
int encryption_begin(struct server *, struct sett_error *);
/* Listens to CONFIG SET encryption-rotate. SETT_NO_MEMORY. */
int encryption_listen(struct server *);
/* Waits for a rotation that rewrites. After the clients, before the engine. */
void encryption_stop(struct server *);
/* After the engine was closed. */
void encryption_end(struct server *);

#endif

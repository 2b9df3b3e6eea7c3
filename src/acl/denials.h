/* ACL LOG: what was denied lately, newest first. Denials that are alike, within a minute, are one entry that counts.
 *
 * Lock: the denials', a leaf. */
#ifndef SETT_ACL_DENIALS_H
#define SETT_ACL_DENIALS_H

#include <stdint.h>

#include "storage/base/bytes.h"

struct acl_denials;

enum acl_denial_reason { ACL_REASON_COMMAND, ACL_REASON_KEY, ACL_REASON_CHANNEL, ACL_REASON_AUTH };
enum acl_denial_context { ACL_CONTEXT_TOP, ACL_CONTEXT_MULTI, ACL_CONTEXT_SCRIPT };

struct acl_denial {
	enum acl_denial_reason reason;
	enum acl_denial_context context;
	struct bytes object; /* the command, the key, the channel */
	struct bytes username;
	struct bytes client; /* as CLIENT LIST has it */
	uint64_t time_ms;
	uint64_t count;
};

/* SETT_NO_MEMORY. */
int acl_denials_create(struct acl_denials **ret);
/* NULL is fine. */
void acl_denials_destroy(struct acl_denials *);
/* Any thread. Keeps `most` entries at most, the newest. SETT_NO_MEMORY. */
int acl_denials_add(struct acl_denials *, const struct acl_denial *, uint64_t most);
void acl_denials_reset(struct acl_denials *);
/* Calls `each` for the newest `most`, with the lock held; `begin` first, with their number. */
void acl_denials_each(struct acl_denials *, uint64_t most, void (*begin)(void *arg, size_t count),
		      void (*each)(void *arg, const struct acl_denial *), void *arg);

#endif

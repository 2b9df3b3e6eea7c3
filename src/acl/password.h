/* Passwords: kept as hashes, compared in the same time wherever they differ. */
#ifndef SETT_ACL_PASSWORD_H
#define SETT_ACL_PASSWORD_H

#include <stdbool.h>

#include "storage/base/bytes.h"

struct acl_user;

/* SHA-256 in 64 lower-case hexadecimal digits, without a NUL. SETT_NO_MEMORY. */
int password_hash(struct bytes password, char *ret);
bool password_is_hash(struct bytes text);
/* Whether one may log in as the user with it. SETT_OK, SETT_INVALID, SETT_NO_MEMORY. */
int password_check(const struct acl_user *, struct bytes password);
/* Random hexadecimal digits, good for a secret. SETT_IO: the system gave none. */
int password_make(char *ret, size_t digits);

#endif

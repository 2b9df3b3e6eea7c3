/* Users in files: the ACL file, and `user` lines of the configuration. */
#ifndef SETT_ACL_FILES_H
#define SETT_ACL_FILES_H

#include "acl/users.h"
#include "config/config.h"

/* Makes a set of what the ACL file says. Its default user is the one of `present`, changed; all others are new. SETT_NO_MEMORY;
 * SETT_INVALID, with what is wrong in one line. */
int acl_file_read(struct acl_users *, const struct config *, const struct acl_set *present,
		  struct acl_set **ret, struct buffer *ret_errors);
/* Writes the set to the ACL file, which is replaced as a whole and synced. SETT_NO_MEMORY; SETT_IO: see errno. */
int acl_file_write(struct acl_users *, const struct config *, const struct acl_set *);

/* Whether all `user` lines can be read; `users` is scratch. SETT_INVALID with the refusal of the line (config_refuse_line),
 * SETT_NO_MEMORY. As in Redis, names of commands are not looked at yet. */
int acl_check_lines(struct acl_users *, const struct config *, struct buffer *ret_error);
/* At the start: requirepass, then `user` lines or the ACL file. What is wrong is logged. SETT_INVALID, SETT_NO_MEMORY. */
int acl_load_all(struct acl_users *, struct config *, const struct log_sink *);

#endif

/* Whether a salvage of a damaged directory gives what it should: held against the same directory undamaged. */
#ifndef SETT_TESTS_SALVAGE_CHECK_H
#define SETT_TESTS_SALVAGE_CHECK_H

#include "storage/vfs.h"

struct salvage_check;

/* Takes note of every version of every key in "db", and of what a salvage gives. `master`: the key of an encrypted database, NULL of
 * others; it must outlive what is returned. */
struct salvage_check *salvage_check_create(struct vfs *, const uint8_t *master);
void salvage_check_destroy(struct salvage_check *);
/* A salvage of "db" in `damaged`. Each entry must be a version that there was; a key that no damage which was told of may have met
 * must be given as it was; nothing may be changed. Fails the test. Returns whether anything was lost. */
bool salvage_check_run(const struct salvage_check *, struct vfs *damaged, const char *damage);

#endif

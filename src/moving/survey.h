/* Redis' files looked through before anything is replaced: whether they are whole, and what they have that can't be taken over.
 *
 * The readers of the files are those of the import, which store nothing then (`survey` in struct import). Values of RDB files
 * are passed over: what is damaged within one is found by the checksum, or, where a file has none, by the import. Of
 * commands the form is looked at, and whether they are there; not what they would do. */
#ifndef SETT_MOVING_SURVEY_H
#define SETT_MOVING_SURVEY_H

#include "moving/import.h"
#include "moving/redis_files.h"

/* `checks_sums`: the checksums of RDB files count, too, which takes a while. SETT_CORRUPT: they can't be taken over. The error is about the
 * damage at which it ended, or else about the first thing that can't; how much was found up to there are lines in the log. SETT_ABORTED, SETT_NO_MEMORY, SETT_IO. */
int survey_files(struct import *, const struct redis_files *, bool checks_sums, struct sett_error *);

/* For import_aof, as import_rdb. */
int survey_rdb(struct import *, struct import_file *, size_t *ret_size);
/* One more of `what` that can't be taken over. `said`: the line that would be the import's error. */
void survey_note(struct survey *, const char *what, const char *said);

#endif

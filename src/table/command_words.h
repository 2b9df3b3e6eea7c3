/* The names of flags and categories, by bit, as COMMAND and ACL show them. */
#ifndef SETT_TABLE_COMMAND_WORDS_H
#define SETT_TABLE_COMMAND_WORDS_H

#include "resp/writer.h"
#include "storage/base/bytes.h"

struct bit_words {
	const char *const *words; /* of bit 0, 1, ... */
	unsigned count;
};

extern const struct bit_words command_flag_words;     /* enum command_flag; not Sett's own */
extern const struct bit_words command_category_words; /* enum command_category */
extern const struct bit_words key_flag_words;         /* enum key_flag */
extern const struct bit_words argument_flag_words;    /* enum argument_flag */
extern const struct bit_words doc_flag_words;         /* enum doc_flag */

/* A set of statuses: the words of the bits that are set, each after `prefix`. */
void reply_words(struct resp_writer *, const struct bit_words *, uint32_t bits, const char *prefix);
/* The bit of a word, whatever its case; 0 if there is none. */
uint32_t word_bit(const struct bit_words *, struct bytes word);

#endif

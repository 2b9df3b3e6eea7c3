/* What the table of types needs of strings. */
#include "types/string.h"

#include <stdlib.h>

#include "types/digest.h"

const char *
string_encoding_name(const struct root *root)
{
	switch (root->encoding) {
	case STRING_INT:
		return "int";
	case STRING_EMBSTR:
		return "embstr";
	default:
		return "raw";
	}
}

enum { DIGEST_PIECE = 64 * 1024, DIGEST_WHOLE_MAX = 1024 * 1024 };

/* Pieces of a long string, of one size wherever they lie. */
static int
digest_pieces(const struct key *k, struct digest *digest)
{
	uint8_t *piece = malloc(DIGEST_PIECE);
	if (piece == NULL)
		return SETT_NO_MEMORY;
	int status = SETT_OK;
	for (uint64_t at = 0; status == SETT_OK && at < k->root.body_size; at += DIGEST_PIECE) {
		uint64_t left = k->root.body_size - at;
		size_t size = left < DIGEST_PIECE ? (size_t)left : DIGEST_PIECE;
		status = key_body_part(k, at, size, piece);
		if (status == SETT_OK)
			digest_mix(digest, 2, bytes_of(piece, size));
	}
	free(piece);
	return status;
}

int
string_digest(struct key *k, struct digest *digest)
{
	struct bytes value;
	if (k->root.body_size >= DIGEST_WHOLE_MAX)
		return digest_pieces(k, digest);
	int status = key_body(k, &value);
	if (status == SETT_OK)
		digest_mix(digest, 2, value);
	return status;
}

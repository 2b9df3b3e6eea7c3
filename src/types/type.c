/* The table of types. */
#include "types/type.h"

static const char *
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

struct type_operations {
	const char *(*encoding_name)(const struct root *);
	int (*copy)(const struct key *from, struct key *to);
};

static const struct type_operations types[VALUE_TYPE_END] = {
	[VALUE_STRING] = {.encoding_name = string_encoding_name, .copy = key_copy_packed},
};

static const struct type_operations *
operations_of(const struct root *root)
{
	assert((unsigned)root->type < VALUE_TYPE_END && types[root->type].copy != NULL);
	return &types[root->type];
}

const char *
type_encoding_name(const struct root *root)
{
	return operations_of(root)->encoding_name(root);
}

int
type_copy(const struct key *from, struct key *to)
{
	return operations_of(&from->root)->copy(from, to);
}

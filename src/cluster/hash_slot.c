/* See hash_slot.h. */
#include "cluster/hash_slot.h"

#include <string.h>

#include "storage/status.h"

/* CRC-16 as XMODEM has it: polynomial 0x1021, from 0. Four bits at a time, as keys are short. */
static uint16_t
crc16(struct bytes b)
{
	static const uint16_t table[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
					   0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};
	uint16_t crc = 0;
	for (size_t i = 0; i < b.size; i++) {
		crc = (uint16_t)(crc << 4) ^ table[(crc >> 12) ^ (b.data[i] >> 4)];
		crc = (uint16_t)(crc << 4) ^ table[(crc >> 12) ^ (b.data[i] & 15)];
	}
	return crc;
}

int
hash_slot(struct bytes key)
{
	const uint8_t *open = key.size > 0 ? memchr(key.data, '{', key.size) : NULL;
	if (open != NULL) {
		const uint8_t *first = open + 1, *end = key.data + key.size;
		const uint8_t *close = memchr(first, '}', (size_t)(end - first));
		if (close != NULL && close > first)
			key = bytes_of(first, (size_t)(close - first));
	}
	return crc16(key) % HASH_SLOTS;
}

int
hash_slot_join(int a, int b)
{
	if (a == HASH_SLOT_NONE || a == b)
		return b;
	return b == HASH_SLOT_NONE ? a : HASH_SLOT_SEVERAL;
}

/* Channels that go by slots stand in the table as keys that are none. */
static bool
has_sharded_channels(const struct command *command)
{
	return command->channels != CHANNELS_NONE && command->key_spec_count > 0 &&
		(command->key_specs[0].flags & KEY_NOT_KEY) != 0;
}

static int
slot_of_channels(const struct command *command, const struct bytes *argv, size_t argc)
{
	int slot = HASH_SLOT_NONE;
	size_t end = command->channels == CHANNELS_FIRST ? 2 : argc;
	for (size_t i = 1; i < end && i < argc; i++)
		slot = hash_slot_join(slot, hash_slot(argv[i]));
	return slot;
}

int
hash_slot_of_command(const struct command *command, const struct bytes *argv, size_t argc,
		     struct arena *arena, int *ret)
{
	size_t count;
	*ret = HASH_SLOT_NONE;
	if (has_sharded_channels(command)) {
		*ret = slot_of_channels(command, argv, argc);
		return SETT_OK;
	}
	if (command->key_spec_count == 0 && command->key_rule == NULL)
		return SETT_OK;
	struct command_key *keys = arena_allocate(arena, argc * sizeof(*keys), _Alignof(struct command_key));
	if (keys == NULL)
		return SETT_NO_MEMORY;
	if (command_key_positions(command, argv, argc, keys, &count) != SETT_OK)
		return SETT_OK;
	for (size_t i = 0; i < count; i++)
		*ret = hash_slot_join(*ret, hash_slot(argv[keys[i].position]));
	return SETT_OK;
}

/* See foresight.h. A key is made ready at most once for a request: keys beyond the room for a batch, and
 * those of commands that don't say where their keys are, are left to the command itself. */
#include "txn/foresight.h"

#include <assert.h>

#include "txn/transaction.h"

enum {
	REQUESTS_MAX = 128,
	KEYS_MAX = 256,
	ARENA_BLOCK = 16 * 1024,
};

struct foresight {
	struct server *server;
	struct arena arena; /* of the engine keys */
	bool fetched;       /* the batch is complete */
	unsigned request_count;
	size_t key_count, fetch_count;
	/* The last command that was found by a name of at most eight bytes alone, and this name as it was typed: mostly the
	 * next one is the same. */
	const struct command *last_command;
	uint64_t last_word;
	size_t last_size;
	/* Of the last key. The name is that which its engine key ends with: requests of a batch that was not fetched may be gone. */
	unsigned last_db;
	struct bytes last_name;
	struct foreseen requests[REQUESTS_MAX];
	struct prepared_key keys[KEYS_MAX];
	struct sett_fetch fetches[KEYS_MAX];
};

struct foresight *
foresight_create(struct server *server)
{
	struct foresight *f = calloc(1, sizeof(*f));
	if (f == NULL)
		return NULL;
	f->server = server;
	arena_init(&f->arena, ARENA_BLOCK);
	return f;
}

void
foresight_destroy(struct foresight *f)
{
	if (f == NULL)
		return;
	arena_free(&f->arena);
	free(f);
}

/* Whether the last key is this one: of one that is hot nothing is made again, nor asked for. Keys mostly differ at their
 * ends. */
static inline bool
is_last(const struct foresight *f, unsigned db, struct bytes key)
{
	struct bytes last = f->last_name;
	return f->key_count > 0 && f->last_db == db && last.size == key.size && key.size > 0 &&
		last.data[key.size - 1] == key.data[key.size - 1] &&
		memcmp(last.data, key.data, key.size) == 0;
}

/* False: it is left to its command. */
static bool
add_key(struct foresight *f, unsigned db, struct bytes key, bool writes)
{
	struct prepared_key *prepared = &f->keys[f->key_count];
	if (is_last(f, db, key)) {
		*prepared = prepared[-1];
		prepared->key = key;
		assert(f->fetch_count > 0);
		f->fetches[f->fetch_count - 1].writes |= writes;
	} else {
		if (!keyspace_prepare(f->server->keyspace, db, key, &f->arena, prepared))
			return false;
		struct bytes made = prepared->engine_key.bytes;
		assert(made.size > key.size);
		f->last_db = db;
		f->last_name = bytes_of(made.data + made.size - key.size, key.size);
		f->fetches[f->fetch_count++] =
			(struct sett_fetch){.key = prepared->engine_key, .writes = writes};
	}
	f->key_count++;
	return true;
}

static void
add_keys(struct foresight *f, const struct command *command, unsigned db, size_t argc,
	 const struct bytes *argv)
{
	for (unsigned s = 0; s < command->key_spec_count; s++) {
		struct key_range range;
		if (key_spec_range(&command->key_specs[s], argv, argc, &range) != SETT_OK)
			continue;
		for (size_t i = range.first; i < range.end && f->key_count < KEYS_MAX; i += range.step)
			if (!add_key(f, db, argv[i], (command->flags & COMMAND_WRITE) != 0))
				return;
	}
}

static inline const struct command *
find(struct foresight *f, size_t argc, const struct bytes *argv)
{
	size_t size = argc > 0 ? argv[0].size : 0;
	bool is_short = size - 1 < sizeof(f->last_word);
	uint64_t word = is_short ? command_name_word(argv[0]) : 0;
	if (is_short && word == f->last_word && size == f->last_size) {
		assert(f->last_command != NULL);
		return f->last_command;
	}
	const struct command *command = command_find(f->server->commands, argv, argc, NULL);
	if (command != NULL && is_short && command->subcommands == NULL &&
	    command_is_top(f->server->commands, command)) {
		f->last_command = command;
		f->last_word = word;
		f->last_size = size;
	}
	return command;
}

unsigned
foresight_add(struct foresight *f, const struct client *client, size_t argc, const struct bytes *argv)
{
	if (f->fetched) {
		arena_reset(&f->arena);
		f->request_count = 0;
		f->key_count = f->fetch_count = 0;
		f->fetched = false;
	}
	const struct command *command = f->request_count < REQUESTS_MAX ? find(f, argc, argv) : NULL;
	if (command == NULL)
		return 0;
	struct foreseen *seen = &f->requests[f->request_count++];
	seen->command = command;
	seen->keys = &f->keys[f->key_count];
	if (!client_in_multi(client))
		add_keys(f, command, client->db, argc, argv);
	seen->keys_end = &f->keys[f->key_count];
	return f->request_count;
}

void
foresight_fetch(struct foresight *f)
{
	sett_engine_fetch(f->server->engine, f->fetches, f->fetch_count);
	f->fetched = true;
}

const struct foreseen *
foresight_of(const struct foresight *f, unsigned number)
{
	static const struct foreseen nothing; /* also where there is no foresight, on the pool */
	assert(number <= REQUESTS_MAX);
	return number > 0 ? &f->requests[number - 1] : &nothing;
}

/* What the HELP subcommands and several rooms of commands share. */
#include "cmd/help.h"

int
context_help(struct command_context *c, const char *const *lines)
{
	enum { FRAME_LINES = 3 };
	char container[CONTEXT_NAME_SIZE], title[CONTEXT_NAME_SIZE + 64];
	size_t count = 0;
	while (lines[count] != NULL)
		count++;
	context_typed_name(c, container);
	snprintf(title, sizeof title,
		 "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", container);
	resp_array(c->reply, count + FRAME_LINES);
	resp_status(c->reply, title);
	for (size_t i = 0; i < count; i++)
		resp_status(c->reply, lines[i]);
	resp_status(c->reply, "HELP");
	resp_status(c->reply, "    Prints this help.");
	return SETT_OK;
}

int
context_unknown_subcommand(struct command_context *c)
{
	enum { SHOWN_MAX = 128 };
	struct bytes word = c->argv[1];
	char container[CONTEXT_NAME_SIZE];
	context_typed_name(c, container);
	return context_errorf(
		c, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try %s HELP.",
		word.size < SHOWN_MAX ? (int)word.size : SHOWN_MAX, (const char *)word.data, container);
}

bool
client_is_local(const struct client *client)
{
	static const char *const loopback[] = {"127.0.0.1:", "[::1]:"};
	if (client->unix_socket)
		return true;
	for (size_t i = 0; i < sizeof loopback / sizeof *loopback; i++)
		if (strncmp(client->address, loopback[i], strlen(loopback[i])) == 0)
			return true;
	return false;
}

struct bytes *
context_copy_arguments(struct command_context *c, const struct bytes *argv, size_t count)
{
	struct bytes *copies =
		arena_allocate(c->arena, (count ? count : 1) * sizeof *copies, _Alignof(struct bytes));
	for (size_t i = 0; i < count && copies != NULL; i++) {
		const void *data = arena_copy(c->arena, argv[i].data, argv[i].size);
		if (data == NULL)
			return NULL;
		copies[i] = bytes_of(data, argv[i].size);
	}
	return copies;
}

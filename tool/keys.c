/* See keys.h. */
#include "keys.h"

#include <assert.h>
#include <string.h>

#include "tool.h"

enum { OPENED_MAX = 8 }; /* a subcommand has one, or two */

static const char *key_file, *key_command;
static struct keyring *opened[OPENED_MAX];
static size_t opened_count;

bool
keys_take_options(int *argc, char **argv)
{
	static const char file[] = "--encryption-key-file", command[] = "--encryption-key-command";
	int kept = 1;
	for (int i = 1; i < *argc; i++) {
		bool is_file = strncmp(argv[i], file, sizeof(file) - 1) == 0,
		     is_command = strncmp(argv[i], command, sizeof(command) - 1) == 0;
		size_t size = is_file ? sizeof(file) - 1 : sizeof(command) - 1;
		if ((!is_file && !is_command) || (argv[i][size] != '=' && argv[i][size] != '\0')) {
			argv[kept++] = argv[i];
			continue;
		}
		const char *value = argv[i][size] == '=' ? argv[i] + size + 1
			: i + 1 < *argc                  ? argv[++i]
							 : NULL;
		if (value == NULL) {
			fprintf(stderr, "sett-tool: %s needs a value\n", argv[i]);
			return false;
		}
		*(is_file ? &key_file : &key_command) = value;
	}
	argv[kept] = NULL;
	*argc = kept;
	return true;
}

void
keys_close_all(void)
{
	while (opened_count > 0)
		sett_keyring_close(opened[--opened_count]);
}

int
keys_open(const char *directory, struct keyring **ret, struct sett_error *error)
{
	uint8_t master[SETT_MASTER_KEY_SIZE];
	bool is_encrypted;
	*ret = NULL;
	if (key_file == NULL && key_command == NULL) {
		int status = sett_keys_exist(NULL, directory, &is_encrypted, error);
		return status == SETT_OK && is_encrypted
			? sett_error_set(error, SETT_INVALID, 0,
					 "%s is encrypted: --encryption-key-file or --encryption-key-command "
					 "must name its key",
					 directory)
			: status;
	}
	int status = key_file != NULL ? sett_master_key_from_file(key_file, master, error)
				      : sett_master_key_from_command(key_command, master, error);
	if (status == SETT_OK)
		status = sett_keyring_open(NULL, directory, master, ret, error);
	explicit_bzero(master, sizeof(master)); /* also where it was read in part */
	if (status == SETT_OK) {
		assert(opened_count < OPENED_MAX);
		opened[opened_count++] = *ret;
	}
	return status;
}

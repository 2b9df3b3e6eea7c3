/* The process' title: see process_title.h.
 *
 * The system shows, as the command line, what lies where it put the arguments; behind them lies the environment. So the title
 * is written there, within the room that both have, and the rest is zeros. */
#include "process_title.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/bytes.h"

extern char **environ;

/* The area ends where the strings cease to follow one another. */
static size_t
measure(int argc, char **argv)
{
	char *end = argv[0];
	for (int i = 0; i < argc && argv[i] == end; i++)
		end += strlen(argv[i]) + 1;
	for (char **e = environ; *e != NULL && *e == end; e++)
		end += strlen(*e) + 1;
	return (size_t)(end - argv[0]);
}

static bool
move_environment(void)
{
	size_t count = 0;
	while (environ[count] != NULL)
		count++;
	char **moved = calloc(count + 1, sizeof(*moved));
	if (moved == NULL)
		return false;
	for (size_t i = 0; i < count; i++)
		if ((moved[i] = strdup(environ[i])) == NULL)
			return false; /* the process ends */
	environ = moved;
	return true;
}

bool
process_title_prepare(struct process_title *t, int argc, char **argv)
{
	*t = (struct process_title){.name = NULL};
	if (argc < 1 || argv[0] == NULL)
		return true;
	t->size = measure(argc, argv);
	t->area = argv[0];
	t->name = strdup(argv[0]);
	return t->name != NULL && move_environment();
}

/* The first address, or the unix socket where there is no port. Under the configuration's lock. */
static void
add_address(struct buffer *title, const struct config *config)
{
	char text[300];
	const char *bind = config->bind != NULL ? config->bind : "";
	size_t size = strcspn(bind, " ");
	int port = config->port != 0 ? config->port : config->tls_port;
	if (port == 0) {
		snprintf(text, sizeof text, "%s", config->unix_socket != NULL ? config->unix_socket : "");
	} else {
		bool is_any = size == 0 || (size == 1 && bind[0] == '*');
		snprintf(text, sizeof text, "%.*s:%d", is_any ? 1 : (int)size, is_any ? "*" : bind, port);
	}
	(void)buffer_append(title, text, strlen(text));
}

/* One variable of the template; the directive's check has let no others in. A title that memory does not suffice for is
 * shorter. */
static void
add_variable(struct buffer *title, const struct process_title *t, struct bytes name)
{
	const struct config *config = t->config;
	const char *text = "";
	char number[16];
	bool is_tls = bytes_equal(name, bytes_of_string("tls-port"));
	snprintf(number, sizeof number, "%d", is_tls ? config->tls_port : config->port);
	if (bytes_equal(name, bytes_of_string("listen-addr"))) {
		add_address(title, config);
		return;
	}
	if (bytes_equal(name, bytes_of_string("title")))
		text = t->name;
	else if (is_tls || bytes_equal(name, bytes_of_string("port")))
		text = number;
	else if (bytes_equal(name, bytes_of_string("unixsocket")) && config->unix_socket != NULL)
		text = config->unix_socket;
	else if (bytes_equal(name, bytes_of_string("config-file")) && config_file_path(config) != NULL)
		text = config_file_path(config);
	(void)buffer_append(title, text, strlen(text));
}

static void
expand(struct buffer *title, const struct process_title *t)
{
	const char *at = t->config->title_template;
	while (*at != '\0') {
		size_t plain = strcspn(at, "{");
		(void)buffer_append(title, at, plain);
		at += plain;
		const char *end = *at == '{' ? strchr(at, '}') : NULL;
		if (end == NULL)
			break;
		add_variable(title, t, bytes_of(at + 1, (size_t)(end - at - 1)));
		at = end + 1;
	}
	while (title->size > 0 && title->data[title->size - 1] == ' ')
		title->size--;
}

static void
show(void *arg)
{
	struct process_title *t = arg;
	struct buffer title = {0};
	mutex_lock(config_lock(t->config));
	expand(&title, t);
	mutex_unlock(config_lock(t->config));
	mutex_lock(&t->mutex);
	size_t size = title.size < t->size ? title.size : t->size - 1;
	memset(t->area, 0, t->size);
	if (size > 0)
		memcpy(t->area, title.data, size);
	mutex_unlock(&t->mutex);
	buffer_free(&title);
}

int
process_title_start(struct process_title *t, struct config *config)
{
	t->config = config;
	mutex_init(&t->mutex);
	if (t->area == NULL || !config->set_title)
		return SETT_OK;
	show(t);
	if (config_listen(config, "proc-title-template", show, t) != SETT_OK ||
	    config_listen(config, "port", show, t) != SETT_OK ||
	    config_listen(config, "tls-port", show, t) != SETT_OK ||
	    config_listen(config, "bind", show, t) != SETT_OK)
		return SETT_NO_MEMORY;
	return SETT_OK;
}

void
process_title_free(struct process_title *t)
{
	free(t->name);
	*t = (struct process_title){.name = NULL};
}

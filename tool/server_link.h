/* A connection to a running server: a request, its answer. Blocking; one thread. */
#ifndef SETT_TOOL_SERVER_LINK_H
#define SETT_TOOL_SERVER_LINK_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "storage/base/bytes.h"

enum { SERVER_LINK_COMPLAINT_SIZE = 512, SERVER_LINK_ADDRESS_SIZE = 320 };

struct server_link {
	const char *host, *port, *socket;           /* borrowed; `socket` NULL: host and port count */
	const char *user, *password;                /* NULL: it does not log in */
	unsigned timeout_seconds;                   /* of what does not come */
	char address[SERVER_LINK_ADDRESS_SIZE];     /* what host and port may lie in */
	int fd;                                     /* -1: it is not open */
	char complaint[SERVER_LINK_COMPLAINT_SIZE]; /* what went wrong first, a line */
};

/* As redis-cli: what could be seen by others on the command line is taken from the environment. */
#define SERVER_LINK_DEFAULTS                                                                             \
	{                                                                                                \
		.host = "127.0.0.1", .port = "6379", .user = "default", .fd = -1, .timeout_seconds = 10, \
		.password = getenv("REDISCLI_AUTH"),                                                     \
	}
/* Of the command line, for getopt_long. */
#define SERVER_LINK_OPTIONS                                                             \
	{"host", required_argument, NULL, 'H'}, {"port", required_argument, NULL, 'p'}, \
		{"socket", required_argument, NULL, 's'},                               \
	{                                                                               \
		"user", required_argument, NULL, 'u'                                    \
	}
#define SERVER_LINK_HELP                                                                 \
	"  --host NAME     of the server (127.0.0.1)\n"                                  \
	"  --port N        its port (6379)\n"                                            \
	"  --socket PATH   its unix socket, instead\n"                                   \
	"  --user NAME     to log in as (default), with the password that the variable " \
	"REDISCLI_AUTH holds\n"

/* A signal's handler sets it: whoever waits for an answer gives up. */
extern volatile sig_atomic_t server_link_is_ended;

/* Whether it is one of SERVER_LINK_OPTIONS; it is noted then. */
bool server_link_takes(struct server_link *, int option, const char *value);
/* "HOST:PORT", "[ADDRESS]:PORT", ":PORT" on this machine; false: it is none. */
bool server_link_parse(struct server_link *, const char *text);
/* Connects, and logs in. An exit code, of which the complaint says why. */
int server_link_open(struct server_link *);
/* One reply, a line or a bulk string, without its frame and with a NUL behind; nothing in it commands a terminal. An exit code; an error
 * of the server's is a failure. */
int server_link_ask(struct server_link *, const char *const *words, size_t count, struct buffer *ret);
/* Any reply: its lines and strings, one behind another, each with a NUL behind, as they came; numbers as they stand, null as an empty
 * string. An exit code, as above. */
int server_link_ask_parts(struct server_link *, const char *const *words, size_t count, struct buffer *ret,
			  size_t *ret_count);
/* Keeps the first complaint. EXIT_FAILED. */
int server_link_complain(struct server_link *, const char *what, const char *why);
/* Prints the complaint if `code`, which it returns, says that something went wrong: after all that is drawn, as a terminal forgets what
 * was printed on the other screen. */
int server_link_close(struct server_link *, int code);

#endif

/*
 * A small blocking client over resp/: RESP2 and RESP3, pipelines of any size, a deadline for everything.
 * One thread at a time per client.
 */
#ifndef SETT_REDIS_TESTS_CLIENT_H
#define SETT_REDIS_TESTS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "reply.h"

struct client;

/* Connects to 127.0.0.1:port; every call below waits at most timeout_ms. NULL: errno says why. */
struct client *client_connect(int port, int timeout_ms);
void client_close(struct client *client);
int client_fd(const struct client *client);

/* Queues a request; nothing is sent before client_flush or client_read. */
void client_append(struct client *client, size_t argc, const char *const *argv, const size_t *sizes);
void client_append_raw(struct client *client, const void *data, size_t size);
/* Sends what is queued, reading meanwhile what the server sends, so a long pipeline cannot dead-lock.
 * False: see client_error. */
bool client_flush(struct client *client);
/* Flushes, then reads one reply; pushes are replies too. NULL: see client_error. The caller frees it. */
struct reply *client_read(struct client *client);
/* append and read in one; argv is ended by NULL for client_command. */
struct reply *client_call(struct client *client, size_t argc, const char *const *argv, const size_t *sizes);
struct reply *client_command(struct client *client, ...) __attribute__((sentinel));
/* Why the last call failed: "timeout", "closed", or a text. The client can only be closed then. */
const char *client_error(const struct client *client);

#endif

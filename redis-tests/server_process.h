/* A server under test as a child process: its own port and temporary directory, always stopped by its pid. */
#ifndef SETT_REDIS_TESTS_SERVER_PROCESS_H
#define SETT_REDIS_TESTS_SERVER_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct server_process;

/*
 * Starts `path --port P --bind 127.0.0.1 --dir D --save "" --appendonly no --enable-debug-command yes`, then
 * the given arguments (ended by NULL, may be NULL), and waits until it says "Ready to accept connections".
 * directory NULL: a new temporary one, removed by server_process_free. Returns NULL after a message on stderr
 * when it does not come up. The child also ends when this process does.
 */
struct server_process *server_process_start(const char *path, const char *directory,
					    const char *const *arguments);
int server_process_port(const struct server_process *server);
pid_t server_process_pid(const struct server_process *server);
const char *server_process_directory(const struct server_process *server);
/* True until the child has ended. */
bool server_process_alive(struct server_process *server);
/* Bytes that the child had resident at most, since it began or since the peak was last reset; 0 if unknown.
 */
uint64_t server_process_peak_memory(const struct server_process *server);
bool server_process_reset_peak(const struct server_process *server);
/* Sends the signal, waits for the end (at most timeout_ms, then SIGKILL). Returns the wait status. 0 signal:
 * only waits. */
int server_process_stop(struct server_process *server, int signal_number, int timeout_ms);
/* Starts it again in the same directory, on the same port, with the same arguments. */
bool server_process_restart(struct server_process *server);
/* Kills it if it still runs, prints the end of its output if asked, removes its directory if temporary. */
void server_process_free(struct server_process *server, bool show_output);

#endif

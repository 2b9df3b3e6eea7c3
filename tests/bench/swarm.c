/*
 * The swarm: one epoll loop. Per batch of requests it costs one receive, one send and one reading of the
 * clock; nothing is allocated after the start.
 *
 * Invariants:
 * 1. A connection has either `awaited` > 0 replies under way, or waits in `due` for its turn (with a rate),
 *    or is idle because the load ends.
 * 2. Operations, latencies and both CPU times belong to the same span, begin_measure to end_measure.
 */
#include "swarm.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define INPUT_MIN 16384
#define INPUT_MAX 262144
#define MEMORY_MAX (2ULL << 30)
#define EVENTS 256
#define SILENCE_MAX_NS 60000000000ULL
#define SECOND_NS 1000000000ULL

struct connection {
	int fd;
	bool wants_write;
	unsigned awaited; /* replies under way */
	unsigned batch;   /* of so many requests */
	uint64_t sent_at;
	struct connection *next; /* in `due` */
	uint64_t *keys;          /* of each request of the batch */
	uint8_t *output;
	size_t output_size, output_sent;
	uint8_t *input;
	size_t input_size;
};

enum phase { PHASE_WARM, PHASE_MEASURE, PHASE_DRAIN };

struct swarm {
	const struct swarm_settings *settings;
	struct workload *workload;
	struct swarm_result *result;
	struct connection *connections;
	unsigned connected;                 /* of the array, so many are open */
	unsigned active;                    /* so many have replies under way */
	struct connection *due, **due_tail; /* ready to send, in order, when it is time */
	uint64_t next_at;                   /* with a rate: when the next batch may be sent */
	size_t input_capacity;
	uint8_t *memory; /* owned: all buffers */
	int epoll;
	enum phase phase;
	uint64_t left; /* requests still to be sent, when they are counted */
	uint64_t phase_ends;
	uint64_t measure_began;
	uint64_t last_reply;
	double own_cpu_before, server_cpu_before;
};

uint64_t
swarm_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static double
own_cpu(void)
{
	struct timespec used;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
}

/* CPU seconds of a process, its threads and the children it has waited for; -1 if unknown. */
static double
process_cpu(int pid)
{
	char path[64], text[1024];
	if (pid <= 0)
		return -1;
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *file = fopen(path, "r");
	if (file == NULL)
		return -1;
	size_t size = fread(text, 1, sizeof(text) - 1, file);
	(void)fclose(file);
	text[size] = '\0';
	const char *after = strrchr(text, ')'); /* the name may hold anything */
	unsigned long user, system;
	long user_of_children, system_of_children;
	if (after == NULL ||
	    sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &user, &system,
		   &user_of_children, &system_of_children) != 4)
		return -1;
	double ticks = (double)user + (double)system + (double)user_of_children + (double)system_of_children;
	return ticks / (double)sysconf(_SC_CLK_TCK);
}

/* From now on VmHWM is the peak since now. Where that is not allowed, it is the peak of the process' life. */
static void
process_reset_peak(int pid)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/clear_refs", pid);
	FILE *file = pid > 0 ? fopen(path, "w") : NULL;
	if (file == NULL)
		return;
	(void)fputs("5", file);
	(void)fclose(file);
}

static uint64_t
process_peak_memory(int pid)
{
	char path[64], line[256];
	unsigned long long kib = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	FILE *file = pid > 0 ? fopen(path, "r") : NULL;
	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "VmHWM: %llu", &kib) == 1)
			break;
	(void)fclose(file);
	return kib * 1024;
}

__attribute__((format(printf, 2, 3))) static int
fail(struct swarm *swarm, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	(void)vsnprintf(swarm->result->error, sizeof(swarm->result->error), format, arguments);
	va_end(arguments);
	return -1;
}

/* --- Connections ------------------------------------------------------------------------------------- */

int
swarm_connect(const struct swarm_settings *settings)
{
	union {
		struct sockaddr any;
		struct sockaddr_in inet;
		struct sockaddr_un local;
	} address = {0};
	socklen_t size = sizeof(address.inet);
	if (settings->socket != NULL) {
		address.local.sun_family = AF_UNIX;
		(void)snprintf(address.local.sun_path, sizeof(address.local.sun_path), "%s",
			       settings->socket);
		size = sizeof(address.local);
	} else {
		address.inet.sin_family = AF_INET;
		address.inet.sin_port = htons((uint16_t)settings->port);
		if (inet_pton(AF_INET, settings->host, &address.inet.sin_addr) != 1) {
			errno = EINVAL;
			return -1;
		}
	}
	int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	int one = 1;
	if (connect(fd, &address.any, size) != 0 ||
	    (settings->socket == NULL && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0)) {
		int error = errno;
		(void)close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static int
watch(struct swarm *swarm, struct connection *connection, int operation, bool write)
{
	struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = connection};
	connection->wants_write = write;
	if (epoll_ctl(swarm->epoll, operation, connection->fd, &event) != 0)
		return fail(swarm, "epoll_ctl: %s", strerror(errno));
	return 0;
}

static int
open_all(struct swarm *swarm)
{
	const struct swarm_settings *settings = swarm->settings;
	size_t reply_max = swarm->workload->reply_max;
	size_t input = reply_max * settings->pipeline;
	if (input < INPUT_MIN)
		input = INPUT_MIN;
	if (input > INPUT_MAX)
		input = reply_max * 2 > INPUT_MAX ? reply_max * 2 : INPUT_MAX;
	size_t keys = sizeof(uint64_t) * settings->pipeline;
	size_t output = (swarm->workload->request_max * settings->pipeline + 63) & ~(size_t)63;
	input = (input + 63) & ~(size_t)63;
	swarm->input_capacity = input;
	if ((keys + output + input) * settings->clients > MEMORY_MAX)
		return fail(swarm, "too many clients with too long a pipeline of too large values");
	swarm->memory = malloc((keys + output + input) * settings->clients);
	swarm->connections = calloc(settings->clients, sizeof(*swarm->connections));
	if (swarm->memory == NULL || swarm->connections == NULL)
		return fail(swarm, "out of memory");
	uint8_t *at = swarm->memory;
	for (unsigned i = 0; i < settings->clients; i++) {
		struct connection *connection = &swarm->connections[i];
		connection->output = at;
		connection->input = at + output;
		connection->keys = (uint64_t *)(void *)(at + output + input);
		at += output + input + keys;
		connection->fd = swarm_connect(settings);
		if (connection->fd < 0)
			return fail(swarm, "connection %u: %s", i + 1, strerror(errno));
		swarm->connected++;
		if (watch(swarm, connection, EPOLL_CTL_ADD, false) != 0)
			return -1;
	}
	return 0;
}

static void
close_all(struct swarm *swarm)
{
	for (unsigned i = 0; i < swarm->connected; i++)
		(void)close(swarm->connections[i].fd);
	if (swarm->epoll >= 0)
		(void)close(swarm->epoll);
	free(swarm->connections);
	free(swarm->memory);
}

static int
send_output(struct swarm *swarm, struct connection *connection)
{
	size_t size = connection->output_size - connection->output_sent;
	ssize_t sent = send(connection->fd, connection->output + connection->output_sent, size,
			    MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		return fail(swarm, "send: %s", strerror(errno));
	if (sent > 0)
		connection->output_sent += (size_t)sent;
	bool rest = connection->output_sent < connection->output_size;
	if (rest != connection->wants_write)
		return watch(swarm, connection, EPOLL_CTL_MOD, rest);
	return 0;
}

/* Sends the next batch, unless there is none left to send. */
static int
send_batch(struct swarm *swarm, struct connection *connection, uint64_t now)
{
	unsigned batch = swarm->settings->pipeline;
	if (swarm->settings->requests != 0) {
		batch = swarm->left < batch ? (unsigned)swarm->left : batch;
		swarm->left -= batch;
	}
	if (swarm->phase == PHASE_DRAIN || batch == 0)
		return 0;
	uint8_t *at = connection->output;
	for (unsigned i = 0; i < batch; i++)
		at = workload_write(swarm->workload, at, &connection->keys[i]);
	connection->output_size = (size_t)(at - connection->output);
	connection->output_sent = 0;
	connection->batch = connection->awaited = batch;
	connection->sent_at = now;
	swarm->active++;
	return send_output(swarm, connection);
}

/* As send_batch, when its time has come. */
static int
send_paced(struct swarm *swarm, struct connection *connection, uint64_t now)
{
	if (swarm->settings->rate <= 0)
		return send_batch(swarm, connection, now);
	connection->next = NULL;
	*swarm->due_tail = connection;
	swarm->due_tail = &connection->next;
	return 0;
}

/* Sends what is due. Its latency counts from when it was due, whether or not a connection was free then. */
static int
send_due(struct swarm *swarm, uint64_t now)
{
	uint64_t interval = (uint64_t)((double)swarm->settings->pipeline * 1e9 / swarm->settings->rate);
	while (swarm->due != NULL && (swarm->next_at <= now || swarm->phase == PHASE_DRAIN)) {
		struct connection *connection = swarm->due;
		swarm->due = connection->next;
		if (swarm->due == NULL)
			swarm->due_tail = &swarm->due;
		if (send_batch(swarm, connection, swarm->next_at) != 0)
			return -1;
		swarm->next_at += interval;
	}
	return 0;
}

/* --- Replies ----------------------------------------------------------------------------------------- */

static int
fail_reply(struct swarm *swarm, const uint8_t *data, size_t size, uint64_t key)
{
	char shown[80];
	size_t length = size < sizeof(shown) - 1 ? size : sizeof(shown) - 1;
	for (size_t i = 0; i < length; i++)
		shown[i] = data[i] >= ' ' && data[i] < 127 ? (char)data[i] : '.';
	shown[length] = '\0';
	return fail(swarm, "wrong reply to %s of key %llu: %s", swarm->workload->settings.command->name,
		    (unsigned long long)key, shown);
}

static int
take_replies(struct swarm *swarm, struct connection *connection, uint64_t now)
{
	size_t start = 0;
	while (start < connection->input_size) {
		if (connection->awaited == 0)
			return fail(swarm, "a reply to nothing");
		size_t used;
		uint64_t key = connection->keys[connection->batch - connection->awaited];
		enum workload_check found = workload_check(swarm->workload, key, connection->input + start,
							   connection->input_size - start, &used);
		if (found == WORKLOAD_WRONG)
			return fail_reply(swarm, connection->input + start, connection->input_size - start,
					  key);
		if (found == WORKLOAD_MORE)
			break;
		start += used;
		if (swarm->phase == PHASE_MEASURE)
			histogram_add(&swarm->result->latency, now - connection->sent_at);
		if (--connection->awaited == 0)
			swarm->active--;
	}
	connection->input_size -= start;
	if (start > 0 && connection->input_size > 0)
		memmove(connection->input, connection->input + start, connection->input_size);
	return 0;
}

static int
serve(struct swarm *swarm, struct connection *connection, uint32_t events)
{
	if (events & EPOLLOUT && send_output(swarm, connection) != 0)
		return -1;
	if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
		return 0;
	ssize_t size = recv(connection->fd, connection->input + connection->input_size,
			    swarm->input_capacity - connection->input_size, MSG_DONTWAIT);
	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (size <= 0)
		return fail(swarm, "receive: %s",
			    size == 0 ? "the server closed the connection" : strerror(errno));
	connection->input_size += (size_t)size;
	uint64_t now = swarm_now();
	if (swarm->phase == PHASE_MEASURE && now - swarm->last_reply > swarm->result->longest_pause)
		swarm->result->longest_pause = now - swarm->last_reply;
	swarm->last_reply = now;
	if (take_replies(swarm, connection, now) != 0)
		return -1;
	return connection->awaited == 0 ? send_paced(swarm, connection, now) : 0;
}

/* --- Phases ------------------------------------------------------------------------------------------ */

static void
begin_measure(struct swarm *swarm, uint64_t now)
{
	swarm->phase = PHASE_MEASURE;
	swarm->measure_began = swarm->last_reply = now;
	swarm->phase_ends = swarm->settings->requests != 0 ? UINT64_MAX
							   : now + (uint64_t)(swarm->settings->seconds * 1e9);
	swarm->own_cpu_before = own_cpu();
	swarm->server_cpu_before = process_cpu(swarm->settings->server_pid);
}

static void
end_measure(struct swarm *swarm, uint64_t now)
{
	struct swarm_result *result = swarm->result;
	swarm->phase = PHASE_DRAIN;
	result->seconds = (double)(now - swarm->measure_began) * 1e-9;
	result->operations = result->latency.count;
	result->own_cpu = own_cpu() - swarm->own_cpu_before;
	double after = process_cpu(swarm->settings->server_pid);
	result->server_cpu =
		swarm->server_cpu_before < 0 || after < 0 ? -1 : after - swarm->server_cpu_before;
	result->server_memory = process_peak_memory(swarm->settings->server_pid);
}

/* Until something comes, a request is due, or 100 ms have passed. */
static int
wait_for_events(struct swarm *swarm, struct epoll_event *events)
{
	struct timespec wait = {.tv_nsec = 100000000};
	if (swarm->due != NULL) {
		uint64_t now = swarm_now();
		uint64_t left = swarm->next_at > now ? swarm->next_at - now : 0;
		if (left < (uint64_t)wait.tv_nsec)
			wait.tv_nsec = (long)left;
	}
	return epoll_pwait2(swarm->epoll, events, EVENTS, &wait, NULL);
}

static int
loop(struct swarm *swarm)
{
	struct epoll_event events[EVENTS];
	while (swarm->active > 0 || swarm->due != NULL) {
		int count = wait_for_events(swarm, events);
		if (count < 0 && errno != EINTR)
			return fail(swarm, "epoll_pwait2: %s", strerror(errno));
		uint64_t now = swarm_now();
		if (swarm->phase == PHASE_WARM && now >= swarm->phase_ends)
			begin_measure(swarm, now);
		else if (swarm->phase == PHASE_MEASURE && now >= swarm->phase_ends)
			end_measure(swarm, now);
		if (count <= 0 && now - swarm->last_reply > SILENCE_MAX_NS)
			return fail(swarm, "no reply for %llu s", SILENCE_MAX_NS / SECOND_NS);
		for (int i = 0; i < count; i++)
			if (serve(swarm, events[i].data.ptr, events[i].events) != 0)
				return -1;
		if (swarm->due != NULL && send_due(swarm, now) != 0)
			return -1;
	}
	if (swarm->phase != PHASE_DRAIN)
		end_measure(swarm, swarm_now());
	return 0;
}

static int
run(struct swarm *swarm)
{
	swarm->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (swarm->epoll < 0)
		return fail(swarm, "epoll_create1: %s", strerror(errno));
	if (open_all(swarm) != 0)
		return -1;
	uint64_t now = swarm_now();
	swarm->left = swarm->settings->requests;
	swarm->last_reply = swarm->next_at = now;
	swarm->due_tail = &swarm->due;
	process_reset_peak(swarm->settings->server_pid);
	swarm->phase_ends = now + (uint64_t)(swarm->settings->warm * 1e9);
	if (swarm->settings->warm <= 0)
		begin_measure(swarm, now);
	for (unsigned i = 0; i < swarm->connected; i++)
		if (send_paced(swarm, &swarm->connections[i], swarm_now()) != 0)
			return -1;
	return loop(swarm);
}

int
swarm_run(const struct swarm_settings *settings, struct workload *workload, struct swarm_result *ret_result)
{
	assert(settings->clients > 0 && settings->pipeline > 0);
	memset(ret_result, 0, sizeof(*ret_result));
	struct swarm swarm = {.settings = settings, .workload = workload, .result = ret_result, .epoll = -1};
	int status = run(&swarm);
	close_all(&swarm);
	return status;
}

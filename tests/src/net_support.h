/* A net with a fake engine and a handler that does what a test tells it; clients over real sockets.
 *
 * The fake engine takes the place of the real one at link time: net's objects find these functions before the
 * linker looks into the storage library. Its commits become written when a reactor calls
 * sett_engine_write_unsynced (unless `hold_write`), and durable when the test says so. Bodies are kept in
 * memory; the disk is full after `body_room` bytes of each, and `body_closed` counts those that were closed.
 *
 * Requests of the handler: PING; ECHO x; COMMIT (the next timestamp); READ t (depends on timestamp t); BIG n;
 * COLD n p (misses n times on the reactor, p times the same bytes, then says where it ran; waits at the gate
 * in the pool); SLOW ms (the client's next request waits so long); SIZE x (length and sum of the
 * bytes); STORE x, whose argument may come as a body (the same); POOL x, LONG x (echo from the pool, once the
 * gate is open); GROWN x (the same, but asks for the long lane only once it is in the pool); PAUSABLE; QUIT.
 */
#ifndef SETT_TESTS_NET_SUPPORT_H
#define SETT_TESTS_NET_SUPPORT_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "acl/users.h"
#include "config/config.h"
#include "net/argument_body.h"
#include "net/net.h"
#include "storage/base/thread.h"

#define SUPPORT __attribute__((unused)) static

struct sett_engine {
	uint64_t newest, written, durable, lag_ns, writes, syncs_begun; /* all atomic, like the next */
	uint64_t body_room, body_opened, body_closed;
	bool hold_write;
	int health, write_status;
};

SUPPORT uint64_t
load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

SUPPORT void
store(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_SEQ_CST);
}

uint64_t
sett_engine_written(struct sett_engine *e)
{
	return load(&e->written);
}

uint64_t
sett_engine_durable(struct sett_engine *e)
{
	return load(&e->durable);
}

uint64_t
sett_engine_sync_lag_ns(struct sett_engine *e)
{
	return load(&e->lag_ns);
}

int
sett_engine_write_unsynced(struct sett_engine *e)
{
	__atomic_add_fetch(&e->writes, 1, __ATOMIC_SEQ_CST);
	if (e->write_status != SETT_OK)
		return e->write_status;
	if (!e->hold_write)
		store(&e->written, load(&e->newest));
	return SETT_OK;
}

void
sett_engine_start_sync(struct sett_engine *e)
{
	__atomic_add_fetch(&e->syncs_begun, 1, __ATOMIC_SEQ_CST);
}

int
sett_engine_sync(struct sett_engine *e, struct sett_error *error)
{
	store(&e->written, load(&e->newest));
	store(&e->durable, load(&e->newest));
	return SETT_OK;
}

int
sett_engine_health(struct sett_engine *e, struct sett_error *error)
{
	return __atomic_load_n(&e->health, __ATOMIC_SEQ_CST);
}

/* ---- bodies ---- */

struct sett_body_writer {
	struct sett_engine *engine;
	uint64_t size, done, sum;
	bool finished;
};

int
sett_body_writer_open(struct sett_engine *e, uint64_t size, struct sett_body_writer **ret,
		      struct sett_error *error)
{
	struct sett_body_writer *w = calloc(1, sizeof(*w));
	cr_assert_not_null(w);
	w->engine = e;
	w->size = size;
	__atomic_add_fetch(&e->body_opened, 1, __ATOMIC_SEQ_CST);
	*ret = w;
	return SETT_OK;
}

int
sett_body_writer_append(struct sett_body_writer *w, const void *data, size_t size, struct sett_error *error)
{
	if (w->done + size > load(&w->engine->body_room))
		return sett_error_set(error, SETT_NO_SPACE, 0, "no room for a body");
	for (size_t i = 0; i < size; i++)
		w->sum += ((const uint8_t *)data)[i];
	w->done += size;
	return SETT_OK;
}

int
sett_body_writer_finish(struct sett_body_writer *w, struct sett_error *error)
{
	w->finished = w->done == w->size;
	return w->finished ? SETT_OK : sett_error_set(error, SETT_INVALID, 0, "not whole");
}

void
sett_body_writer_close(struct sett_body_writer *w)
{
	if (w != NULL)
		__atomic_add_fetch(&w->engine->body_closed, 1, __ATOMIC_SEQ_CST);
	free(w);
}

/* ---- the world of one test ---- */

enum { MISSED_CLIENTS = 64 };

/* The only wait at a time. */
struct wait {
	struct client *client;
	uint64_t begun, asked; /* atomic: waits so far; calls of end_wait */
	uint64_t woken;        /* atomic: calls of wake_wait */
	uint64_t wake_ns;      /* atomic: the next news; 0: it is over; UINT64_MAX: nobody is to wake it */
	bool served;           /* atomic: another thread ends it: end_wait refuses */
	enum wait_end end;
};

struct world {
	struct config config;
	struct mutex config_mutex;
	struct wait wait;
	struct sett_engine engine;
	struct net *net;
	struct acl_users *users;        /* NULL: clients are nobody in particular */
	const struct sett_clock *clock; /* NULL: the system's */
	char directory[64], path[96];
	int port;
	/* the handler's */
	/* atomic, like the next */
	uint64_t executed, pool_running, long_begun, closed_clients, paused, turn_is_free, turn_never_comes;
	uint64_t ticks;
	struct mutex gate_mutex;
	struct condition gate_changed;
	bool gate_closed; /* under gate_mutex: pool requests wait */
	struct mutex log_mutex;
	char log[8192];                  /* under log_mutex: all lines */
	uint64_t missed[MISSED_CLIENTS]; /* of the request under way, by client */
};

/* The configuration's lock is found through the configuration, which begins the world. */
struct mutex *
config_lock(struct config *config)
{
	return &((struct world *)(void *)config)->config_mutex;
}

/* No directive changes here. */
int
config_listen(struct config *config, const char *directive, void (*changed)(void *), void *arg)
{
	return SETT_OK;
}

int
config_guard(struct config *config, const char *directive,
	     bool (*allows)(void *arg, const struct config *planned, char *ret_reason, size_t size),
	     void *arg)
{
	return SETT_OK;
}

SUPPORT void
world_log(void *arg, enum log_level level, const char *line)
{
	struct world *w = arg;
	mutex_lock(&w->log_mutex);
	size_t used = strlen(w->log);
	snprintf(w->log + used, sizeof(w->log) - used, "%s\n", line);
	mutex_unlock(&w->log_mutex);
}

SUPPORT bool
world_logged(struct world *w, const char *text)
{
	mutex_lock(&w->log_mutex);
	bool found = strstr(w->log, text) != NULL;
	mutex_unlock(&w->log_mutex);
	return found;
}

static int
handler_start(void *arg, bool may_wait, void **ret_thread)
{
	static char waiting, running;
	*ret_thread = may_wait ? &waiting : &running;
	return SETT_OK;
}

static void
handler_stop(void *arg, void *thread)
{
}

static void
handler_closed(void *arg, struct client *client)
{
	struct world *w = arg;
	__atomic_add_fetch(&w->closed_clients, 1, __ATOMIC_SEQ_CST);
}

static void
wait_at_gate(struct world *w)
{
	__atomic_add_fetch(&w->pool_running, 1, __ATOMIC_SEQ_CST);
	mutex_lock(&w->gate_mutex);
	while (w->gate_closed)
		condition_wait(&w->gate_changed, &w->gate_mutex);
	mutex_unlock(&w->gate_mutex);
	__atomic_sub_fetch(&w->pool_running, 1, __ATOMIC_SEQ_CST);
}

SUPPORT void
set_gate(struct world *w, bool closed)
{
	mutex_lock(&w->gate_mutex);
	w->gate_closed = closed;
	condition_broadcast(&w->gate_changed);
	mutex_unlock(&w->gate_mutex);
}

static bool
is_word(struct bytes b, const char *word)
{
	return bytes_equal(b, bytes_of_string(word));
}

static uint64_t
number(struct bytes b)
{
	uint64_t n = 0;
	for (size_t i = 0; i < b.size; i++)
		n = n * 10 + (uint64_t)(b.data[i] - '0');
	return n;
}

static enum argument_way
handler_large_argument(void *arg, const struct client *client, size_t argc, const struct bytes *argv,
		       size_t total, uint64_t size)
{
	if (argc > 0 && is_word(argv[0], "DROP"))
		return ARGUMENT_DROPPED;
	return argc > 0 && is_word(argv[0], "STORE") ? ARGUMENT_BODY : ARGUMENT_WHOLE;
}

/* Length and sum of each argument's bytes. */
static void
reply_stored(const struct client *client, size_t argc, const struct bytes *argv, struct resp_writer *reply)
{
	resp_array(reply, argc - 1);
	for (size_t i = 1; i < argc; i++) {
		const struct argument_body *body = argument_body_find(client->argument_bodies, i);
		uint64_t sum = 0;
		for (size_t k = 0; k < argv[i].size; k++)
			sum += argv[i].data[k];
		if (body == NULL)
			resp_error_format(reply, "%zu %llu", argv[i].size, (unsigned long long)sum);
		else if (body->status != SETT_OK)
			resp_error_format(reply, "%s", sett_status_text(body->status));
		else
			resp_error_format(reply, "body %llu %llu, shown %zu %llu",
					  (unsigned long long)body->size, (unsigned long long)body->body->sum,
					  argv[i].size, (unsigned long long)sum);
	}
}

static enum request_result
run_cold(struct world *w, struct client *client, bool in_pool, uint64_t misses, uint64_t same,
	 struct resp_writer *reply)
{
	uint64_t *missed = &w->missed[client->id % MISSED_CLIENTS];
	if (!in_pool && *missed < misses) {
		client->missing = 1 + *missed / (same > 0 ? same : 1);
		++*missed;
		return REQUEST_MISSED;
	}
	*missed = 0;
	if (in_pool)
		wait_at_gate(w);
	resp_status(reply, in_pool ? "pool" : "reactor");
	return REQUEST_DONE;
}

static enum request_result
begin_wait(struct world *w, struct client *client, uint64_t ms)
{
	w->wait.client = client;
	client->wait_until_ns = ms != 0 ? clock_monotonic_ns(sett_system_clock()) + ms * 1000000 : 0;
	__atomic_add_fetch(&w->wait.begun, 1, __ATOMIC_SEQ_CST);
	return REQUEST_BLOCKED;
}

static bool
handler_end_wait(void *arg, struct client *client, enum wait_end end)
{
	struct world *w = arg;
	cr_assert_eq(client, w->wait.client);
	__atomic_add_fetch(&w->wait.asked, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&w->wait.served, __ATOMIC_SEQ_CST))
		return false;
	w->wait.end = end;
	return true;
}

/* News that the wait goes on are a moment at which it is to be woken, or that there is none. */
static bool
handler_wait_news(void *arg, struct client *client, uint64_t *ret_wake_ns)
{
	struct world *w = arg;
	cr_assert_eq(client, w->wait.client);
	uint64_t news = __atomic_exchange_n(&w->wait.wake_ns, 0, __ATOMIC_SEQ_CST);
	*ret_wake_ns = news != UINT64_MAX ? news : 0;
	return news == 0;
}

/* Reactors call it with every tick. */
static void
handler_deliver(void *arg, unsigned reactor)
{
	struct world *w = arg;
	__atomic_add_fetch(&w->ticks, 1, __ATOMIC_SEQ_CST);
}

static void
handler_wake_wait(void *arg, void *thread, struct client *client)
{
	struct world *w = arg;
	void *running;
	handler_start(arg, false, &running);
	cr_assert_eq(thread, running);
	cr_assert_eq(client, w->wait.client);
	client->wait_wake_ns = 0;
	__atomic_add_fetch(&w->wait.woken, 1, __ATOMIC_SEQ_CST);
}

static void
handler_take_wait_reply(void *arg, struct client *client, struct resp_writer *reply, uint64_t *ret_release)
{
	static const char *const names[] = {"served", "timed out", "unblocked", "closed"};
	struct world *w = arg;
	resp_status(reply, names[w->wait.end]);
	*ret_release = 0;
}

static enum request_result
handler_execute(void *arg, void *thread, struct client *client, const struct request *request,
		struct resp_writer *reply, uint64_t *ret_release)
{
	const struct bytes *argv = request->argv;
	struct world *w = arg;
	void *waiting;
	handler_start(arg, true, &waiting);
	struct bytes name = argv[0], x = request->argc > 1 ? argv[1] : (struct bytes){0};
	bool grown = is_word(name, "GROWN");
	bool waits_in_pool = is_word(name, "WAITPOOL");
	bool pool = is_word(name, "POOL") || grown || waits_in_pool, lane_long = is_word(name, "LONG");
	if ((pool || lane_long) && thread != waiting)
		return pool ? REQUEST_MUST_WAIT : REQUEST_MUST_WAIT_LONG;
	if (grown && !request->in_long_lane)
		return REQUEST_MUST_WAIT_LONG;
	cr_assert_eq(request->in_long_lane, lane_long || grown);
	if (request->in_long_lane)
		__atomic_add_fetch(&w->long_begun, 1, __ATOMIC_SEQ_CST);
	if (is_word(name, "PAUSABLE") && load(&w->paused)) {
		resp_status(reply, "must be taken back");
		return REQUEST_PAUSED;
	}
	if (is_word(name, "TURN") && !load(&w->turn_is_free) &&
	    (!request->overdue || load(&w->turn_never_comes))) {
		resp_status(reply, "must be taken back");
		return REQUEST_TURN;
	}
	if (is_word(name, "WAIT"))
		return begin_wait(w, client, number(x));
	if (waits_in_pool) {
		begin_wait(w, client, number(x));
		wait_at_gate(w);
		return REQUEST_BLOCKED;
	}
	if (is_word(name, "COLD"))
		return run_cold(w, client, thread == waiting, number(x), number(argv[2]), reply);
	if (pool || lane_long)
		wait_at_gate(w);
	if (pool || lane_long || is_word(name, "ECHO")) {
		resp_bulk(reply, x.data, x.size);
	} else if (is_word(name, "SLOW")) {
		client->pause_ns = number(x) * 1000000;
		resp_status(reply, "OK");
	} else if (is_word(name, "PING")) {
		resp_status(reply, "PONG");
	} else if (is_word(name, "COMMIT")) {
		*ret_release = __atomic_add_fetch(&w->engine.newest, 1, __ATOMIC_SEQ_CST);
		resp_integer(reply, (int64_t)*ret_release);
	} else if (is_word(name, "READ")) {
		*ret_release = number(x);
		resp_integer(reply, (int64_t)*ret_release);
	} else if (is_word(name, "BIG")) {
		uint8_t *space = resp_bulk_space(reply, number(x));
		memset(space, 'b', number(x));
	} else if (is_word(name, "SIZE")) {
		uint64_t sum = 0;
		for (size_t i = 0; i < x.size; i++)
			sum += x.data[i];
		resp_error_format(reply, "%zu %llu", x.size, (unsigned long long)sum);
	} else if (is_word(name, "STORE")) {
		reply_stored(client, request->argc, argv, reply);
	} else if (is_word(name, "PROTECT")) {
		__atomic_store_n(&client->no_evict, true, __ATOMIC_RELAXED);
		resp_status(reply, "OK");
	} else if (is_word(name, "QUIT")) {
		client->close_after_reply = true;
		resp_status(reply, "OK");
	} else {
		resp_status(reply, "OK");
	}
	__atomic_add_fetch(&w->executed, 1, __ATOMIC_SEQ_CST);
	return REQUEST_DONE;
}

/* Everything at its default; the caller changes the configuration and calls world_start. */
SUPPORT struct world *
world_create(void)
{
	struct world *w = calloc(1, sizeof(*w));
	cr_assert_not_null(w);
	mutex_init(&w->config_mutex);
	mutex_init(&w->gate_mutex);
	mutex_init(&w->log_mutex);
	condition_init(&w->gate_changed);
	snprintf(w->directory, sizeof(w->directory), "/tmp/sett-net-XXXXXX");
	cr_assert_not_null(mkdtemp(w->directory));
	snprintf(w->path, sizeof(w->path), "%s/socket", w->directory);
	w->engine.body_room = UINT64_MAX;
	w->config = (struct config){.tcp_backlog = 511,
				    .unix_socket = w->path,
				    .io_threads = 1,
				    .pool_threads = 4,
				    .protected_mode = true,
				    .max_clients = 10000,
				    .proto_max_bulk_len = 512 << 20,
				    .client_query_buffer_limit = 1 << 30,
				    .sync = CONFIG_SYNC_EVERYSEC};
	return w;
}

SUPPORT void
world_start(struct world *w)
{
	struct net_options options = {.config = &w->config,
				      .users = w->users,
				      .engine = &w->engine,
				      .clock = w->clock,
				      .sink = {.write = world_log, .arg = w},
				      .handler = {.arg = w,
						  .thread_start = handler_start,
						  .thread_stop = handler_stop,
						  .large_argument = handler_large_argument,
						  .execute = handler_execute,
						  .end_wait = handler_end_wait,
						  .wait_news = handler_wait_news,
						  .wake_wait = handler_wake_wait,
						  .take_wait_reply = handler_take_wait_reply,
						  .deliver = handler_deliver,
						  .client_closed = handler_closed}};
	struct sett_error error = {0};
	cr_assert_eq(net_create(&options, &w->net, &error), SETT_OK, "%s", error.message);
	cr_assert_eq(net_start(w->net, &error), SETT_OK, "%s", error.message);
}

SUPPORT void
world_destroy(struct world *w)
{
	set_gate(w, false);
	net_stop(w->net);
	net_destroy(w->net);
	acl_users_destroy(w->users);
	cr_assert_eq(w->engine.body_opened, w->engine.body_closed, "a body was forgotten");
	cr_assert_eq(access(w->path, F_OK), -1, "the socket's file stays behind");
	rmdir(w->directory);
	condition_destroy(&w->gate_changed);
	mutex_destroy(&w->log_mutex);
	mutex_destroy(&w->gate_mutex);
	mutex_destroy(&w->config_mutex);
	free(w);
}

/* The engine's frontiers move: durable up to `timestamp`. */
SUPPORT void
make_durable(struct world *w, uint64_t timestamp)
{
	store(&w->engine.durable, timestamp);
	net_on_progress(w->net);
}

/* Waits until an atomic has reached `value`; yields, bounded by half a minute. */
SUPPORT void
wait_for(const uint64_t *what, uint64_t value)
{
	uint64_t end = clock_monotonic_ns(sett_system_clock()) + 120000000000ull;
	while (load(what) < value) {
		cr_assert(clock_monotonic_ns(sett_system_clock()) < end, "waited in vain for %llu",
			  (unsigned long long)value);
		sched_yield();
	}
}

/* ---- clients ---- */

SUPPORT int
dial(struct world *w)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, w->path, strlen(w->path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(fd >= 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0, "%s", strerror(errno));
	struct timeval limit = {.tv_sec = 120};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return fd;
}

SUPPORT void
put_bytes(int fd, const void *data, size_t size)
{
	const uint8_t *p = data;
	while (size > 0) {
		ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
		cr_assert(n > 0, "send: %s", strerror(errno));
		p += n;
		size -= (size_t)n;
	}
}

SUPPORT void
put(int fd, const char *text)
{
	put_bytes(fd, text, strlen(text));
}

SUPPORT void
get_bytes(int fd, void *data, size_t size)
{
	uint8_t *p = data;
	while (size > 0) {
		ssize_t n = recv(fd, p, size, 0);
		cr_assert(n > 0, "recv: %s", n == 0 ? "closed" : strerror(errno));
		p += n;
		size -= (size_t)n;
	}
}

/* The next bytes are these. */
SUPPORT void
expect(int fd, const char *text)
{
	char got[4096] = "";
	cr_assert(strlen(text) < sizeof(got));
	get_bytes(fd, got, strlen(text));
	cr_assert_str_eq(got, text);
}

/* Nothing came. */
SUPPORT void
expect_nothing(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
	cr_assert(n < 0 && errno == EAGAIN, "something came, or it was closed: %zd", n);
}

SUPPORT void
expect_closed(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, 0);
	cr_assert(n == 0 || (n < 0 && errno == ECONNRESET), "not closed: %zd", n);
}

SUPPORT void
ping(int fd)
{
	put(fd, "PING\r\n");
	expect(fd, "+PONG\r\n");
}

/* With one reactor: every tick that was under way is over, its replies sent. */
SUPPORT void
let_tick_pass(int other)
{
	ping(other);
	ping(other);
}

#endif

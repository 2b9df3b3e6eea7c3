/*
 * `appendfsync always` means it (I1): a whole server (engine, runner, net, reactors) on the in-memory vfs
 * whose sync is held. As long as it is, no reply leaves that tells of a write, be it the writer's own, a
 * value that a reader saw, or merely that something is or is not there; what a power cut would leave has none
 * of them. Replies that depend on nothing new leave at once. On release all come, and a power cut keeps what
 * they say.
 *
 * Each silence is checked only after the reactors have proved to be past the request (a counter of executed
 * commands, then two PINGs on each reactor), so a reply that was let go would be there.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "net/net.h"
#include "pubsub/pubsub.h"
#include "server_support.h"

enum { REACTORS = 2, PROBES = 8, TEXT_MAX = 4096, WAIT_S = 30 };

struct world {
	struct fixture base; /* its vfs, server and runner; its clients are unused */
	struct net *net;     /* atomic: the log thread of the engine starts before it is there */
	struct buffer config_error;
	char directory[64], path[96];
	uint64_t executed; /* atomic */
	struct request_handler inner;
	int probes[PROBES]; /* connections on all reactors, whose PINGs show that ticks pass */
};

static void
on_progress(void *arg)
{
	struct world *w = arg;

	/* Pairs with the store in start_net. */
	net_on_progress(__atomic_load_n(&w->net, __ATOMIC_ACQUIRE));
}

/* The runner's execute, counted. */
static enum request_result
execute(void *arg, void *thread, struct client *client, const struct request *request,
	struct resp_writer *reply, uint64_t *ret_release)
{
	struct world *w = arg;
	enum request_result result =
		w->inner.execute(w->inner.arg, thread, client, request, reply, ret_release);

	if (result == REQUEST_DONE)
		__atomic_add_fetch(&w->executed, 1, __ATOMIC_SEQ_CST);
	return result;
}

static int
world_thread_start(void *arg, bool may_wait, void **ret_thread)
{
	struct world *w = arg;
	return w->inner.thread_start(w->inner.arg, may_wait, ret_thread);
}

static void
world_thread_stop(void *arg, void *thread)
{
	struct world *w = arg;
	w->inner.thread_stop(w->inner.arg, thread);
}

static void
client_closed(void *arg, struct client *client)
{
	struct world *w = arg;
	w->inner.client_closed(w->inner.arg, client);
}

static void
deliver(void *arg, unsigned reactor)
{
	struct world *w = arg;
	w->inner.deliver(w->inner.arg, reactor);
}

static bool
has_news(void *arg, unsigned reactor)
{
	struct world *w = arg;
	return w->inner.has_news(w->inner.arg, reactor);
}

static bool
end_wait(void *arg, struct client *client, enum wait_end end)
{
	struct world *w = arg;
	return w->inner.end_wait(w->inner.arg, client, end);
}

static bool
wait_news(void *arg, struct client *client, uint64_t *ret_wake_ns)
{
	struct world *w = arg;
	return w->inner.wait_news(w->inner.arg, client, ret_wake_ns);
}

static void
wake_wait(void *arg, void *thread, struct client *client)
{
	struct world *w = arg;
	w->inner.wake_wait(w->inner.arg, thread, client);
}

static void
take_wait_reply(void *arg, struct client *client, struct resp_writer *reply, uint64_t *ret_release)
{
	struct world *w = arg;
	w->inner.take_wait_reply(w->inner.arg, client, reply, ret_release);
}

static void
wake_reactor(void *arg, unsigned reactor)
{
	struct world *w = arg;
	net_wake_reactor(w->net, reactor);
}

static void
start_engine(struct world *w, const char *policy)
{
	struct server *server = &w->base.server;
	struct sett_error error;
	struct sett_options options = {.vfs = w->base.vfs,
				       .seed = 1,
				       .sync = strcmp(policy, "always") == 0 ? SETT_SYNC_ALWAYS
									     : SETT_SYNC_NO,
				       .on_progress = on_progress,
				       .on_progress_arg = w};
	char *arguments[] = {(char *)"sett-server",
			     (char *)"--port",
			     (char *)"0",
			     (char *)"--unixsocket",
			     w->path,
			     (char *)"--io-threads",
			     (char *)"2",
			     (char *)"--appendfsync",
			     (char *)policy};

	*server = (struct server){.clock = sett_system_clock(), .commands = &sett_commands};
	cr_assert_eq(config_load(sizeof(arguments) / sizeof(arguments[0]), arguments, &server->config,
				 &w->config_error),
		     SETT_OK, "%.*s", (int)w->config_error.size, (const char *)w->config_error.data);
	cr_assert_eq(sett_engine_open("db", &options, &server->engine, &error), SETT_OK, "%s", error.message);
	cr_assert_eq(keyspace_open(server->engine, 16, &server->keyspace, &error), SETT_OK, "%s",
		     error.message);
	cr_assert_eq(interest_create(&server->interest), SETT_OK);
	cr_assert_eq(pubsub_create(REACTORS, wake_reactor, w, &server->pubsub), SETT_OK);
	pubsub_use_keyspace(server->pubsub, server->keyspace);
	cr_assert_eq(waiting_create(net_wait_has_news, &server->waiting), SETT_OK);
	cr_assert_eq(pause_create(&server->pause), SETT_OK);
	cr_assert_eq(command_stats_create(sett_commands.row_count, &server->command_stats), SETT_OK);
	cr_assert_eq(slowlog_create(server->config, &server->slowlog), SETT_OK);
	cr_assert_eq(latency_monitor_create(&server->latency_monitor), SETT_OK);
	cr_assert_eq(runner_create(server, &w->base.runner), SETT_OK);
	w->inner = runner_handler(w->base.runner);
}

static void
start_net(struct world *w)
{
	struct net_options options = {.config = w->base.server.config,
				      .engine = w->base.server.engine,
				      .handler = {.arg = w,
						  .thread_start = world_thread_start,
						  .thread_stop = world_thread_stop,
						  .execute = execute,
						  .end_wait = end_wait,
						  .wait_news = wait_news,
						  .wake_wait = wake_wait,
						  .take_wait_reply = take_wait_reply,
						  .deliver = deliver,
						  .has_news = has_news,
						  .client_closed = client_closed}};
	struct sett_error error;
	struct net *net;

	cr_assert_eq(net_create(&options, &net, &error), SETT_OK, "%s", error.message);
	w->base.server.net = net;
	__atomic_store_n(&w->net, net, __ATOMIC_RELEASE);
	cr_assert_eq(net_start(net, &error), SETT_OK, "%s", error.message);
	cr_assert_eq(net_reactor_count(net), REACTORS);
}

static int
dial(struct world *w)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = WAIT_S};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(fd >= 0);
	memcpy(address.sun_path, w->path, strlen(w->path) + 1);
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0, "%s", strerror(errno));
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	return fd;
}

static void
put(int fd, const char *text)
{
	size_t size = strlen(text);

	cr_assert_eq(send(fd, text, size, MSG_NOSIGNAL), (ssize_t)size);
}

static void
expect(int fd, const char *text)
{
	char got[TEXT_MAX] = "";
	size_t size = strlen(text), have = 0;

	cr_assert(size < sizeof(got));
	while (have < size) {
		ssize_t part = recv(fd, got + have, size - have, 0);
		cr_assert(part > 0, "waiting for '%s', got '%s': %s", text, got,
			  part == 0 ? "closed" : strerror(errno));
		have += (size_t)part;
	}
	cr_assert_str_eq(got, text);
}

static void
expect_nothing(int fd, const char *what)
{
	char got[TEXT_MAX];
	ssize_t part = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);

	got[part > 0 ? part : 0] = '\0';
	cr_assert(part < 0 && errno == EAGAIN, "%s: left before the sync: '%s'", what, got);
}

/* Two round trips on connections of every reactor: what was executed before has had its tick's end. */
static void
let_ticks_pass(struct world *w)
{
	for (int trip = 0; trip < 2; trip++) {
		for (int i = 0; i < PROBES; i++)
			put(w->probes[i], "PING\r\n");
		for (int i = 0; i < PROBES; i++)
			expect(w->probes[i], "+PONG\r\n");
	}
}

/* Sends it, and returns when all its `commands` were executed and their ticks are over. */
static void
run(struct world *w, int fd, const char *text, unsigned commands)
{
	uint64_t before = __atomic_load_n(&w->executed, __ATOMIC_SEQ_CST);
	uint64_t end = clock_monotonic_ns(sett_system_clock()) + WAIT_S * UINT64_C(1000000000);

	put(fd, text);
	while (__atomic_load_n(&w->executed, __ATOMIC_SEQ_CST) < before + commands) {
		cr_assert(clock_monotonic_ns(sett_system_clock()) < end, "never executed: %s", text);
		sched_yield();
	}
	let_ticks_pass(w);
}

static struct world *
open_world_with(const char *policy)
{
	struct world *w = calloc(1, sizeof(*w));

	cr_assert_not_null(w);
	w->base.vfs = vfs_memory_create();
	cr_assert_not_null(w->base.vfs);
	snprintf(w->directory, sizeof(w->directory), "/tmp/sett-held-XXXXXX");
	cr_assert_not_null(mkdtemp(w->directory));
	snprintf(w->path, sizeof(w->path), "%s/socket", w->directory);
	start_engine(w, policy);
	start_net(w);
	for (int i = 0; i < PROBES; i++)
		w->probes[i] = dial(w);
	return w;
}

static struct world *
open_world(void)
{
	return open_world_with("always");
}

static void
close_world(struct world *w)
{
	struct server *server = &w->base.server;
	struct sett_error error;

	for (int i = 0; i < PROBES; i++)
		close(w->probes[i]);
	net_stop(w->net);
	runner_destroy(w->base.runner);
	slowlog_destroy(server->slowlog);
	latency_monitor_destroy(server->latency_monitor);
	command_stats_destroy(server->command_stats);
	pause_destroy(server->pause);
	interest_destroy(server->interest);
	waiting_destroy(server->waiting);
	pubsub_destroy(server->pubsub);
	keyspace_close(server->keyspace);
	cr_assert_eq(sett_engine_close(server->engine, &error), SETT_OK, "%s", error.message);
	net_destroy(w->net);
	config_destroy(server->config);
	w->base.vfs->operations->destroy(w->base.vfs);
	buffer_free(&w->config_error);
	cr_assert_eq(rmdir(w->directory), 0);
	free(w);
}

/* What GET says in a server on what a power cut now would leave. */
static void
expect_after_cut(struct world *w, const char *key, const char *expected)
{
	struct fixture *after = calloc(1, sizeof(*after));
	char line[128];

	cr_assert_not_null(after);
	after->vfs = vfs_memory_crash_clone(w->base.vfs, VFS_CRASH_DROP, 1);
	cr_assert_not_null(after->vfs);
	fixture_start(after);
	snprintf(line, sizeof(line), "GET %s", key);
	fixture_run_line(after, 0, line);
	cr_assert(after->reply.size == strlen(expected) &&
			  memcmp(after->reply.data, expected, after->reply.size) == 0,
		  "after a power cut, %s is '%.*s', not '%s'", key, (int)after->reply.size,
		  (const char *)after->reply.data, expected);
	fixture_close(after);
}

struct telling {
	const char *before;  /* sent, and answered, while syncs still go on; may be NULL */
	const char *answers; /* to it */
	const char *write;
	const char *write_answers;
	unsigned writes; /* commands in it */
	const char *read;
	const char *read_answers;
	unsigned reads;
};

/* Each row: a write, and something another connection asks that only that write explains. */
static const struct telling tellings[] = {
	{NULL, NULL, "SET k new\r\n", "+OK\r\n", 1, "GET k\r\n", "$3\r\nnew\r\n", 1},
	{"SET k old\r\n", "+OK\r\n", "DEL k\r\n", ":1\r\n", 1, "GET k\r\n", "$-1\r\n", 1},
	{NULL, NULL, "SET k new\r\n", "+OK\r\n", 1, "EXISTS k\r\n", ":1\r\n", 1},
	{NULL, NULL, "SET k new\r\n", "+OK\r\n", 1, "SETNX k other\r\n", ":0\r\n", 1},
	{NULL, NULL, "SET k new\r\n", "+OK\r\n", 1, "DBSIZE\r\n", ":1\r\n", 1},
	{NULL, NULL, "SET k new\r\n", "+OK\r\n", 1, "SCAN 0\r\n", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n", 1},
	{NULL, NULL, "SET k new\r\n", "+OK\r\n", 1, "INFO keyspace\r\n",
	 "$44\r\n# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n\r\n", 1},
	{NULL, NULL, "SET k new\r\n", "+OK\r\n", 1, "KEYS *\r\n", "*1\r\n$1\r\nk\r\n", 1},
	{NULL, NULL, "SET k new\r\n", "+OK\r\n", 1, "RANDOMKEY\r\n", "$1\r\nk\r\n", 1},
	{NULL, NULL, "SET k new\r\n", "+OK\r\n", 1, "INCR k\r\n",
	 "-ERR value is not an integer or out of range\r\n", 1},
	{"SET k 4\r\n", "+OK\r\n", "INCR k\r\n", ":5\r\n", 1, "MGET none k\r\n", "*2\r\n$-1\r\n$1\r\n5\r\n",
	 1},
	{"SET k 4\r\n", "+OK\r\n", "EXPIREAT k 33000000000\r\n", ":1\r\n", 1, "EXPIRETIME k\r\n",
	 ":33000000000\r\n", 1},
	{"SET k 4\r\n", "+OK\r\n", "RENAME k other\r\n", "+OK\r\n", 1, "RENAME k third\r\n",
	 "-ERR no such key\r\n", 1},
	{"SET k 4\r\n", "+OK\r\n", "FLUSHALL\r\n", "+OK\r\n", 1, "TYPE k\r\n", "+none\r\n", 1},
	{NULL, NULL, "MULTI\r\nSET k new\r\nSET l new\r\nEXEC\r\n",
	 "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n", 4, "MULTI\r\nGET l\r\nEXEC\r\n",
	 "+OK\r\n+QUEUED\r\n*1\r\n$3\r\nnew\r\n", 3},
};

/* MULTI's OK and QUEUED tell nothing, and may come at once. */
static size_t
skip_harmless(const char *answers)
{
	size_t size = 0;

	if (strncmp(answers, "+OK\r\n+QUEUED", 12) == 0)
		for (size = 5; strncmp(answers + size, "+QUEUED\r\n", 9) == 0;)
			size += 9;
	return size;
}

static void
expect_harmless(int fd, const char *answers)
{
	char text[TEXT_MAX];

	snprintf(text, sizeof(text), "%.*s", (int)skip_harmless(answers), answers);
	expect(fd, text);
}

static void
check_telling(const struct telling *t)
{
	struct world *w = open_world();
	int writer = dial(w), reader = dial(w);

	if (t->before != NULL) {
		put(writer, t->before);
		expect(writer, t->answers);
	}
	vfs_memory_hold_sync(w->base.vfs, true);
	run(w, writer, t->write, t->writes);
	expect_harmless(writer, t->write_answers);
	expect_nothing(writer, t->write);
	run(w, reader, t->read, t->reads);
	expect_harmless(reader, t->read_answers);
	expect_nothing(writer, t->write);
	expect_nothing(reader, t->read);
	vfs_memory_hold_sync(w->base.vfs, false);
	expect(writer, t->write_answers + skip_harmless(t->write_answers));
	expect(reader, t->read_answers + skip_harmless(t->read_answers));
	close(writer);
	close(reader);
	close_world(w);
}

Test(held_sync, no_reply_tells_of_a_write_before_its_sync)
{
	for (size_t i = 0; i < sizeof(tellings) / sizeof(tellings[0]); i++)
		check_telling(&tellings[i]);
}

Test(held_sync, what_left_survives_a_power_cut_and_what_is_held_may_not)
{
	struct world *w = open_world();
	int writer = dial(w);

	put(writer, "SET k old\r\n");
	expect(writer, "+OK\r\n");
	vfs_memory_hold_sync(w->base.vfs, true);
	run(w, writer, "SET k new\r\n", 1);
	expect_nothing(writer, "SET");
	expect_after_cut(w, "k", "$3\r\nold\r\n");
	vfs_memory_hold_sync(w->base.vfs, false);
	expect(writer, "+OK\r\n");
	expect_after_cut(w, "k", "$3\r\nnew\r\n");
	close(writer);
	close_world(w);
}

Test(held_sync, a_value_in_the_value_log_survives_with_its_reply)
{
	enum { SIZE = 3000 };
	struct world *w = open_world();
	int writer = dial(w);
	char text[SIZE + 64], value[SIZE + 1], answer[SIZE + 64];

	memset(value, 'v', SIZE);
	value[SIZE] = '\0';
	snprintf(text, sizeof(text), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n", SIZE, value);
	snprintf(answer, sizeof(answer), "$%d\r\n%s\r\n", SIZE, value);
	vfs_memory_hold_sync(w->base.vfs, true);
	run(w, writer, text, 1);
	expect_nothing(writer, "SET of a large value");
	expect_after_cut(w, "k", "$-1\r\n");
	vfs_memory_hold_sync(w->base.vfs, false);
	expect(writer, "+OK\r\n");
	expect_after_cut(w, "k", answer);
	close(writer);
	close_world(w);
}

/* A message tells of what its block wrote, and of what was visible when it was published; so do the events of keys. */
Test(held_sync, no_message_is_told_before_the_sync)
{
	static const char first[] = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nin\r\n",
			  second[] = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nafter\r\n";
	struct world *w = open_world();
	int writer = dial(w), publisher = dial(w), subscribers[2 * REACTORS];

	for (int i = 0; i < 2 * REACTORS; i++) {
		subscribers[i] = dial(w);
		put(subscribers[i], "SUBSCRIBE c\r\n");
		expect(subscribers[i], "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
	}
	vfs_memory_hold_sync(w->base.vfs, true);
	run(w, writer, "MULTI\r\nSET k new\r\nPUBLISH c in\r\nEXEC\r\n", 4);
	run(w, publisher, "PUBLISH c after\r\n", 1);
	expect(publisher, ":4\r\n"); /* which tells of no write */
	for (int i = 0; i < 2 * REACTORS; i++)
		expect_nothing(subscribers[i], "PUBLISH");
	expect_after_cut(w, "k", "$-1\r\n");
	vfs_memory_hold_sync(w->base.vfs, false);
	for (int i = 0; i < 2 * REACTORS; i++) {
		expect(subscribers[i], first);
		expect(subscribers[i], second);
		close(subscribers[i]);
	}
	close(publisher);
	close(writer);
	close_world(w);
}

/* Whoever waits or listens is told of a write as late as its writer, in whatever way he is told. */
struct told {
	const char *begin, *begun; /* what makes him listen, and its reply; NULL: none yet */
	const char *write, *written;
	const char *told;
};

static void
check_told(const struct told *t)
{
	struct world *w = open_world();
	int writer = dial(w), listeners[2 * REACTORS];

	keyspace_set_events(w->base.server.keyspace, EVENT_BY_KEY | EVENT_STRING);
	run(w, writer, "SET k old\r\n", 1);
	expect(writer, "+OK\r\n");
	for (int i = 0; i < 2 * REACTORS; i++) {
		listeners[i] = dial(w);
		put(listeners[i], t->begin);
		let_ticks_pass(w);
		if (t->begun != NULL)
			expect(listeners[i], t->begun);
	}
	vfs_memory_hold_sync(w->base.vfs, true);
	run(w, writer, t->write, 1);
	for (int i = 0; i < 2 * REACTORS; i++)
		expect_nothing(listeners[i], t->write);
	expect_nothing(writer, t->write);
	vfs_memory_hold_sync(w->base.vfs, false);
	expect(writer, t->written);
	for (int i = 0; i < 2 * REACTORS; i++) {
		expect(listeners[i], t->told);
		close(listeners[i]);
	}
	close(writer);
	close_world(w);
}

Test(held_sync, no_event_is_told_before_the_sync)
{
	static const struct told t = {
		.begin = "SUBSCRIBE __keyspace@0__:k\r\n",
		.begun = "*3\r\n$9\r\nsubscribe\r\n$16\r\n__keyspace@0__:k\r\n:1\r\n",
		.write = "SET k new\r\n",
		.written = "+OK\r\n",
		.told = "*3\r\n$7\r\nmessage\r\n$16\r\n__keyspace@0__:k\r\n$3\r\nset\r\n"};
	check_told(&t);
}

Test(held_sync, no_cache_is_told_before_the_sync)
{
	static const struct told t = {
		.begin = "CLIENT REPLY OFF\r\nHELLO 3\r\nCLIENT REPLY ON\r\nCLIENT TRACKING ON\r\nGET k\r\n",
		.begun = "+OK\r\n+OK\r\n$3\r\nold\r\n",
		.write = "SET k new\r\n",
		.written = "+OK\r\n",
		.told = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"};
	check_told(&t);
}

Test(held_sync, nothing_is_handed_over_before_the_sync)
{
	static const struct told t = {.begin = "BLMPOP 0 1 queue LEFT\r\n",
				      .write = "RPUSH queue x x x x\r\n",
				      .written = ":4\r\n",
				      .told = "*2\r\n$5\r\nqueue\r\n*1\r\n$1\r\nx\r\n"};
	check_told(&t);
}

/* EXEC's null says that somebody wrote the watched key. */
Test(held_sync, a_refused_exec_tells_of_the_write_that_touched_its_key)
{
	struct world *w = open_world();
	int writer = dial(w), watcher = dial(w);

	put(watcher, "WATCH k\r\nMULTI\r\nPING\r\n");
	expect(watcher, "+OK\r\n+OK\r\n+QUEUED\r\n");
	vfs_memory_hold_sync(w->base.vfs, true);
	run(w, writer, "SET k new\r\n", 1);
	run(w, watcher, "EXEC\r\n", 1);
	expect_nothing(writer, "SET");
	expect_nothing(watcher, "EXEC");
	vfs_memory_hold_sync(w->base.vfs, false);
	expect(watcher, "*-1\r\n");
	expect(writer, "+OK\r\n");
	close(writer);
	close(watcher);
	close_world(w);
}

Test(held_sync, replies_that_depend_on_nothing_new_leave_at_once)
{
	struct world *w = open_world();
	int writer = dial(w), reader = dial(w);

	put(writer, "MSET a 1 b 2\r\n");
	expect(writer, "+OK\r\n");
	vfs_memory_hold_sync(w->base.vfs, true);
	run(w, writer, "SET k new\r\n", 1);
	put(reader, "ECHO hello\r\nMGET a b\r\nSTRLEN none\r\n");
	expect(reader, "$5\r\nhello\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n:0\r\n");
	expect_nothing(writer, "SET");
	vfs_memory_hold_sync(w->base.vfs, false);
	expect(writer, "+OK\r\n");
	close(writer);
	close(reader);
	close_world(w);
}

/* Nothing syncs by itself here, so what comes at last comes because it was asked for. */
Test(held_sync, who_wants_commits_on_the_disk_hears_of_none_before)
{
	struct world *w = open_world_with("no");
	int careful = dial(w), other = dial(w);

	put(careful, "DURABILITY SYNC\r\nDURABILITY\r\n");
	expect(careful, "+OK\r\n$4\r\nsync\r\n");
	vfs_memory_hold_sync(w->base.vfs, true);
	run(w, careful, "SET k new\r\n", 1);
	expect_nothing(careful, "SET");
	put(other, "GET k\r\nSET k newer\r\n");
	expect(other, "$3\r\nnew\r\n+OK\r\n");
	run(w, careful, "GET k\r\n", 1);
	expect_nothing(careful, "GET");
	expect_after_cut(w, "k", "$-1\r\n");
	vfs_memory_hold_sync(w->base.vfs, false);
	expect(careful, "+OK\r\n$5\r\nnewer\r\n");
	expect_after_cut(w, "k", "$5\r\nnewer\r\n");
	close(careful);
	close(other);
	close_world(w);
}

Test(held_sync, a_choice_of_durability_is_for_the_requests_behind_it)
{
	struct world *w = open_world_with("no");
	int fd = dial(w);

	vfs_memory_hold_sync(w->base.vfs, true);
	put(fd, "MULTI\r\nSET z 1\r\nDURABILITY SYNC\r\nDURABILITY DEFAULT\r\nEXEC\r\n");
	expect(fd, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n+OK\r\n+OK\r\n");
	run(w, fd, "SET a 1\r\nDURABILITY SYNC\r\nSET b 1\r\nDURABILITY DEFAULT\r\nSET c 1\r\n", 5);
	expect(fd, "+OK\r\n+OK\r\n");
	expect_nothing(fd, "SET b");
	vfs_memory_hold_sync(w->base.vfs, false);
	expect(fd, "+OK\r\n+OK\r\n+OK\r\n");
	vfs_memory_hold_sync(w->base.vfs, true);
	put(fd, "SET d 1\r\nDURABILITY\r\n");
	expect(fd, "+OK\r\n$7\r\ndefault\r\n");
	vfs_memory_hold_sync(w->base.vfs, false);
	close(fd);
	close_world(w);
}

/* EXEC and COMMIT choose for their own reply. */
Test(held_sync, a_block_may_choose_for_itself)
{
	struct world *w = open_world_with("no");
	int fd = dial(w);

	vfs_memory_hold_sync(w->base.vfs, true);
	put(fd, "MULTI\r\nSET a 1\r\n");
	expect(fd, "+OK\r\n+QUEUED\r\n");
	run(w, fd, "EXEC DURABILITY SYNC\r\nDURABILITY\r\n", 2);
	expect_nothing(fd, "EXEC");
	vfs_memory_hold_sync(w->base.vfs, false);
	expect(fd, "*1\r\n+OK\r\n$7\r\ndefault\r\n");
	vfs_memory_hold_sync(w->base.vfs, true);
	put(fd, "SET b 1\r\nBEGIN\r\nSET c 1\r\n");
	expect(fd, "+OK\r\n+OK\r\n+OK\r\n");
	run(w, fd, "COMMIT DURABILITY SYNC\r\n", 1);
	expect_nothing(fd, "COMMIT");
	vfs_memory_hold_sync(w->base.vfs, false);
	expect(fd, "+OK\r\n");
	vfs_memory_hold_sync(w->base.vfs, true);
	put(fd,
	    "BEGIN\r\nSET c 2\r\nCOMMIT DURABILITY DEFAULT\r\nMULTI\r\nPING\r\nEXEC DURABILITY "
	    "soon\r\nEXEC\r\n");
	expect(fd,
	       "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n-EXECABORT Transaction discarded because of: syntax "
	       "error\r\n-ERR EXEC without MULTI\r\n");
	vfs_memory_hold_sync(w->base.vfs, false);
	close(fd);
	close_world(w);
}

Test(held_sync, who_is_content_with_the_file_waits_for_no_sync_and_others_do)
{
	struct world *w = open_world();
	int hasty = dial(w), reader = dial(w);

	put(hasty, "DURABILITY written\r\n");
	expect(hasty, "+OK\r\n");
	vfs_memory_hold_sync(w->base.vfs, true);
	put(hasty, "INCR n\r\nDURABILITY SOON\r\nDURABILITY SYNC now\r\n");
	expect(hasty,
	       ":1\r\n-ERR syntax error\r\n-ERR wrong number of arguments for 'durability' command\r\n");
	run(w, reader, "GET n\r\n", 1);
	expect_nothing(reader, "GET");
	vfs_memory_hold_sync(w->base.vfs, false);
	expect(reader, "$1\r\n1\r\n");
	vfs_memory_hold_sync(w->base.vfs, true);
	run(w, reader, "MULTI\r\nINCR n\r\nDURABILITY WRITTEN\r\nEXEC\r\n", 4);
	expect(reader, "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
	expect_nothing(reader, "EXEC");
	vfs_memory_hold_sync(w->base.vfs, false);
	expect(reader, "*2\r\n:2\r\n+OK\r\n");
	close(hasty);
	close(reader);
	close_world(w);
}

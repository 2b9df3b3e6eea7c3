/* The net's life, and what other rooms call.
 *
 * Start: sockets are opened by net_create, so that a busy port is known before anything else runs; threads
 * start with net_start: pool first, since reactors send requests there, then reactors, the accepting one
 * last.
 *
 * Stop: reactors execute nothing more; the pool finishes what it has; what was committed is synced, so that
 * the replies that waited for it may leave; the accepting reactor ends first, so that nobody hands a
 * connection to a reactor that is gone; then the others.
 */
#include "net/net.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "config/config.h"
#include "net/handshakes.h"
#include "net/net_private.h"
#include "net/passed_sockets.h"
#include "net/replies.h"

enum { REACTORS_MAX = 128, POOL_THREADS_MAX = 256 };

static unsigned
count_cores(void)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 1;
	int count = CPU_COUNT(&set);
	return count > 0 ? (unsigned)count : 1;
}

static unsigned
clamp(int value, unsigned low, unsigned high)
{
	if (value < (int)low)
		return low;
	return (unsigned)value > high ? high : (unsigned)value;
}

static unsigned
count_reactors(const struct config *config)
{
	return clamp(config->io_threads > 0 ? config->io_threads : (int)count_cores(), 1, REACTORS_MAX);
}

unsigned
net_descriptors(const struct config *config)
{
	/* A reactor has an epoll instance and a descriptor to be woken by; one more asks for the shutdown. */
	return 2 * count_reactors(config) + 1 + listeners_count(config);
}

static int
create_reactors(struct net *net, struct sett_error *error)
{
	unsigned count = count_reactors(net->config);
	net->reactors = calloc(count, sizeof(net->reactors[0]));
	if (net->reactors == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	for (unsigned i = 0; i < count; i++) {
		int status = reactor_create(net, i, &net->reactors[i], error);
		if (status != SETT_OK)
			return status;
		net->reactor_count++;
	}
	return SETT_OK;
}

static int
open_sockets(struct net *net, struct sett_error *error)
{
	struct passed_sockets passed;
	struct sett_error reason = {0};
	int status = passed_sockets_find(&passed, &reason);
	if (status != SETT_OK) {
		log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "%s", reason.message);
		return sett_error_set(error, status, 0, "%s", reason.message);
	}
	return listening_open(net, &passed, error);
}

static int
create_parts(struct net *net, struct sett_error *error)
{
	net->shutdown_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (net->shutdown_fd < 0)
		return sett_error_set(error, SETT_IO, errno, "eventfd: %s", strerror(errno));
	unsigned threads = clamp(net->config->pool_threads, 2, POOL_THREADS_MAX);
	int status = pool_create(&net->handler, "pool", threads, &net->pool);
	if (status == SETT_OK)
		status = handshakes_create_pool(count_reactors(net->config), &net->handshake_pool);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "out of memory");
	status = create_reactors(net, error);
	if (status != SETT_OK)
		return status;
	if (tls_is_wanted(net->config) && tls_load(&net->tls) != SETT_OK) {
		log_sink_printf(&net->sink, LOG_LEVEL_WARNING,
				"Failed to configure TLS. Check logs for more info.");
		return sett_error_set(error, SETT_INVALID, 0,
				      "Failed to configure TLS. Check logs for more info.");
	}
	return open_sockets(net, error);
}

int
net_create(const struct net_options *options, struct net **ret, struct sett_error *error)
{
	struct net *net = calloc(1, sizeof(*net));
	if (net == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	net->config = options->config;
	net->engine = options->engine;
	net->sink = options->sink;
	net->handler = options->handler;
	net->users = options->users;
	net->clock = options->clock != NULL ? options->clock : sett_system_clock();
	registry_init(&net->registry);
	tls_init(&net->tls, net->config, net->sink);
	mutex_init(&net->eviction_mutex);
	mutex_init(&net->stats_mutex);
	mutex_init(&net->listening.mutex);
	mutex_init(&net->start_mutex);
	condition_init(&net->start_condition);
	int status = create_parts(net, error);
	if (status != SETT_OK) {
		net_destroy(net);
		return status;
	}
	*ret = net;
	return SETT_OK;
}

void
net_destroy(struct net *net)
{
	if (net == NULL)
		return;
	listening_close(net);
	for (unsigned i = 0; i < net->reactor_count; i++)
		reactor_destroy(net->reactors[i]);
	free(net->reactors);
	pool_destroy(net->handshake_pool);
	pool_destroy(net->pool);
	if (net->shutdown_fd >= 0)
		close(net->shutdown_fd);
	condition_destroy(&net->start_condition);
	mutex_destroy(&net->start_mutex);
	mutex_destroy(&net->listening.mutex);
	mutex_destroy(&net->eviction_mutex);
	mutex_destroy(&net->stats_mutex);
	tls_free(&net->tls);
	registry_destroy(&net->registry);
	free(net);
}

static int
start_reactor(struct net *net, unsigned index)
{
	int status = reactor_start(net->reactors[index]);
	if (status != SETT_OK)
		return status;
	mutex_lock(&net->start_mutex);
	while (net->threads_ready < net->reactor_count - index)
		condition_wait(&net->start_condition, &net->start_mutex);
	status = net->start_status;
	mutex_unlock(&net->start_mutex);
	return status;
}

int
net_start(struct net *net, struct sett_error *error)
{
	int status = pool_start(net->pool);
	if (status == SETT_OK)
		status = pool_start(net->handshake_pool);
	for (unsigned i = net->reactor_count; status == SETT_OK && i > 0; i--)
		status = start_reactor(net, i - 1);
	if (status == SETT_OK)
		return SETT_OK;
	net_stop(net);
	return sett_error_set(error, status, 0, "starting the server's threads: %s",
			      sett_status_text(status));
}

static int
mark_gone(void *arg, struct client *client)
{
	(void)arg;
	__atomic_store_n(&client->gone, true, __ATOMIC_RELAXED);
	return 0;
}

void
net_stop(struct net *net)
{
	__atomic_store_n(&net->stopping, true, __ATOMIC_RELEASE); /* partner: run_in_pool */
	for (unsigned i = 0; i < net->reactor_count; i++)
		reactor_control(net->reactors[i], REACTOR_STOP);
	registry_each(net, mark_gone, NULL); /* else the pool would end with the longest command */
	pool_stop(net->pool);
	pool_stop(net->handshake_pool);
	struct sett_error error = {0};
	if (sett_engine_sync(net->engine, &error) != SETT_OK)
		log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Syncing the log: %s", error.message);
	for (unsigned i = 0; i < net->reactor_count; i++) {
		reactor_control(net->reactors[i], REACTOR_EXIT);
		reactor_join(net->reactors[i]);
	}
}

void
net_set_engine(struct net *net, struct sett_engine *engine)
{
	net->engine = engine;
}

void
net_on_progress(void *arg)
{
	struct net *net = arg;
	if (net == NULL)
		return;
	for (unsigned i = 0; i < net->reactor_count; i++)
		replies_on_progress(net->reactors[i]);
}

/* ---- the pool for others ---- */

struct pool_task {
	struct pool_job job;
	void (*run)(void *arg, void *thread);
	void *arg;
};

static void
run_task(struct pool_job *job, void *thread)
{
	struct pool_task *task = list_entry(job, struct pool_task, job);
	task->run(task->arg, thread);
	free(task);
}

int
net_run_in_pool(struct net *net, void (*run)(void *arg, void *thread), void *arg)
{
	struct pool_task *task = malloc(sizeof(*task));
	if (task == NULL)
		return SETT_NO_MEMORY;
	*task = (struct pool_task){.job.run = run_task, .run = run, .arg = arg};
	pool_submit(net->pool, POOL_LONG, &task->job);
	return SETT_OK;
}

void
net_resume_paused(struct net *net)
{
	for (unsigned i = 0; i < net->reactor_count; i++)
		reactor_control(net->reactors[i], REACTOR_RESUME);
}

void
net_turn_came(struct net *net, unsigned reactor)
{
	assert(reactor < net->reactor_count);
	reactor_control(net->reactors[reactor], REACTOR_TURN);
}

void
net_check_clients_memory(struct net *net)
{
	for (unsigned i = 0; i < net->reactor_count; i++)
		reactor_control(net->reactors[i], REACTOR_EVICT);
}

void
net_pause_cron(struct net *net, bool pause)
{
	/* Relaxed, partner run_cron: nothing but the switch itself matters. */
	__atomic_store_n(&net->cron_is_paused, pause, __ATOMIC_RELAXED);
}

/* Relaxed, all: the moment stands for itself. */
void
net_fall_asleep(struct net *net, uint64_t ns)
{
	uint64_t until = clock_monotonic_ns(net->clock) + ns;
	uint64_t before = __atomic_load_n(&net->asleep_until_ns, __ATOMIC_RELAXED);
	while (before < until &&
	       !__atomic_compare_exchange_n(&net->asleep_until_ns, &before, until, false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED))
		continue;
}

uint64_t
net_sleep_left_ns(struct net *net)
{
	uint64_t until = __atomic_load_n(&net->asleep_until_ns, __ATOMIC_RELAXED);
	if (__builtin_expect(until == 0, 1) || __atomic_load_n(&net->stopping, __ATOMIC_RELAXED))
		return 0;
	uint64_t now = clock_monotonic_ns(net->clock);
	if (now < until)
		return until - now;
	/* Unless somebody has asked for more meanwhile. */
	(void)__atomic_compare_exchange_n(&net->asleep_until_ns, &until, 0, false, __ATOMIC_RELAXED,
					  __ATOMIC_RELAXED);
	return 0;
}

void
net_wake_reactor(struct net *net, unsigned reactor)
{
	assert(reactor < net->reactor_count);
	reactor_control(net->reactors[reactor], 0);
}

/* ---- shutdown ---- */

void
net_request_shutdown(struct net *net)
{
	int saved = errno;
	uint64_t one = 1;
	/* EAGAIN: it was requested 2^64 times already. */
	ssize_t ignored = write(net->shutdown_fd, &one, sizeof(one));
	(void)ignored;
	errno = saved;
}

bool
net_shutdown_is_requested(struct net *net)
{
	struct pollfd look = {.fd = net->shutdown_fd, .events = POLLIN};
	return poll(&look, 1, 0) > 0;
}

void
net_wait_for_shutdown(struct net *net)
{
	for (;;) {
		struct pollfd wait = {.fd = net->shutdown_fd, .events = POLLIN};
		uint64_t count;
		if (poll(&wait, 1, -1) > 0 && read(net->shutdown_fd, &count, sizeof(count)) == sizeof(count))
			return;
	}
}

void
client_kill_locked(struct net *net, struct client *client) REQUIRES(&net->registry.mutex)
{
	assert(mutex_is_mine(&net->registry.mutex));
	struct connection *c = client->connection;
	/* Released by reactor_control. The connection is alive: it leaves the registry before it is freed. */
	__atomic_store_n(&c->killed, true, __ATOMIC_RELAXED);
	reactor_control(c->reactor, REACTOR_KILL);
}

/* ---- the configuration ---- */

static void
listen_for_tls(void *arg)
{
	struct net *net = arg;
	tls_reload(&net->tls);
	listening_change(net);
}

static void
check_clients_memory(void *arg)
{
	net_check_clients_memory(arg);
}

int
net_follow_config(struct net *net)
{
	struct config *config = net->config;
	const char *name;
	int status = SETT_OK;
	/* What a TLS port is opened with is there before the port. */
	for (size_t i = 0; status == SETT_OK && (name = tls_directive(i)) != NULL; i++)
		status = config_guard(config, name, tls_allows, &net->tls);
	for (size_t i = 0; status == SETT_OK && (name = tls_directive(i)) != NULL; i++)
		status = config_listen(config, name, tls_reload, &net->tls);
	static const char *const addresses[] = {"port", "bind", "tls-port"};
	for (size_t i = 0; status == SETT_OK && i < 3; i++)
		status = config_guard(config, addresses[i], listening_allows, net);
	if (status == SETT_OK)
		status = config_guard(config, "tls-port", tls_allows, &net->tls);
	for (size_t i = 0; status == SETT_OK && i < 2; i++)
		status = config_listen(config, addresses[i], listening_change, net);
	if (status == SETT_OK)
		status = config_listen(config, "maxmemory-clients", check_clients_memory, net);
	return status == SETT_OK ? config_listen(config, "tls-port", listen_for_tls, net) : status;
}

/* ---- figures ---- */

void
net_stats(struct net *net, struct net_stats *ret)
{
	struct net_stats sum = {0};
	for (unsigned i = 0; i < net->reactor_count; i++)
		reactor_add_stats(net->reactors[i], &sum);
	sum.connections = __atomic_load_n(&net->accepted, __ATOMIC_RELAXED);
	sum.pool_queue = pool_queue_length(net->pool);
	mutex_lock(&net->stats_mutex);
	struct net_stats base = net->stats_base;
	mutex_unlock(&net->stats_mutex);
	sum.connections_received -= base.connections_received;
	sum.connections_rejected -= base.connections_rejected;
	sum.commands_processed -= base.commands_processed;
	sum.bytes_in -= base.bytes_in;
	sum.bytes_out -= base.bytes_out;
	sum.reads -= base.reads;
	sum.writes -= base.writes;
	sum.replies_limited -= base.replies_limited;
	sum.clients_evicted -= base.clients_evicted;
	*ret = sum;
}

void
net_reset_stats(struct net *net)
{
	struct net_stats sum = {0};
	for (unsigned i = 0; i < net->reactor_count; i++)
		reactor_add_stats(net->reactors[i], &sum);
	mutex_lock(&net->stats_mutex);
	net->stats_base = sum;
	mutex_unlock(&net->stats_mutex);
}

unsigned
net_reactor_count(struct net *net)
{
	return net->reactor_count;
}

int
net_connect_tls(struct net *net, int fd, struct transport *ret)
{
	return tls_connect(&net->tls, fd, ret);
}

int
net_tcp_port(struct net *net)
{
	int port = __atomic_load_n(&net->config->port, __ATOMIC_RELAXED);
	return port != 0 ? port : __atomic_load_n(&net->config->tls_port, __ATOMIC_RELAXED);
}

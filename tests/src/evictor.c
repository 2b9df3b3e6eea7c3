/* maxdisk: what is evicted, what is refused, and when. */
#include "expire/evictor.h"

#include <unistd.h>

#include "server_support.h"

static const char OOM[] = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";

/* ---- the numbers ---- */

enum { MB = 1 << 20 };

static struct disk_room
room_of(uint64_t files, uint64_t live)
{
	return (struct disk_room){
		.limit = 1500ull * MB, .live_limit = 1000ull * MB, .files = files * MB, .live = live * MB};
}

Test(disk_room, evicts_for_what_is_alive_alone)
{
	struct disk_room low = room_of(600, 500), garbage = room_of(1499, 500), high = room_of(1200, 980),
			 over = room_of(1200, 1100);
	cr_assert_eq(disk_room_excess(&low), 0);
	cr_assert_eq(disk_room_excess(&garbage), 0);
	cr_assert_eq(disk_room_excess(&high), 20ull * MB);
	cr_assert_eq(disk_room_excess(&over), 140ull * MB);
	low.limit = 0;
	over.limit = 0;
	cr_assert_eq(disk_room_excess(&over), 0, "no limit");
}

Test(disk_room, slows_before_it_refuses)
{
	double last = -1;
	for (uint64_t live = 900; live <= 1100; live += 5) {
		struct disk_room r = room_of(1000, live);
		double pressure = disk_room_pressure(&r, true);
		cr_assert(pressure >= last && pressure <= SETT_SLOWEST);
		cr_assert(live > 980 || pressure == 0);
		cr_assert(live <= 1000 || pressure >= SETT_SLOWEST);
		cr_assert_eq(disk_room_is_full(&r, true), live >= 1030);
		cr_assert_eq(disk_room_is_full(&r, false), live >= 1000, "nobody makes room");
		cr_assert_eq(disk_room_pressure(&r, false), 0);
		last = pressure;
	}
	struct disk_room files = room_of(1500, 100);
	cr_assert(disk_room_is_full(&files, true) && disk_room_is_full(&files, false));
	cr_assert_eq(disk_room_pressure(&files, false), SETT_SLOWEST);
	struct disk_room none = {.files = 1ull << 60, .live = 1ull << 60};
	cr_assert(!disk_room_is_full(&none, true) && disk_room_pressure(&none, true) == 0);
}

Test(disk_room, looks_more_often_near_the_limit)
{
	struct disk_room far = room_of(100, 50), near = room_of(1400, 960), over = room_of(1500, 1000);
	cr_assert_gt(disk_room_pause_ns(&far), disk_room_pause_ns(&near));
	cr_assert_geq(disk_room_pause_ns(&near), disk_room_pause_ns(&over));
	cr_assert_leq(disk_room_pause_ns(&over), 10u * 1000 * 1000);
	cr_assert_eq(disk_room_time_ns(&far), UINT64_MAX);
	cr_assert_lt(disk_room_time_ns(&near), UINT64_MAX);
	for (uint64_t live = 900; live < 1100; live += 5) {
		struct disk_room r = room_of(live, live);
		cr_assert_gt(disk_room_time_ns(&r), disk_room_pause_ns(&r), "a look comes before its time");
	}
}

Test(evictor, writers_wait_for_a_look_that_is_late)
{
	struct fixture *f = fixture_open();
	server_refuse(&f->server, HOLD_LATE_LOOK, true);
	f->server.room_until_ns = UINT64_MAX;
	EXPECT(f, 0, "SET a 1", "+OK");
	f->server.room_until_ns = 1;
	fixture_run_line(f, 0, "SET a 2");
	cr_assert_eq(f->result, REQUEST_PAUSED);
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 0, "DEL a", ":1");
	f->server.room_until_ns = UINT64_MAX;
	EXPECT(f, 0, "SET a 3", "+OK");
	fixture_close(f);
}

/* ---- the evictor ---- */

enum { VALUE = 100 * 1000, DISK = 130 * MB, TURNS = 2000 };

/* The evictor's clock can be put forward. */
static uint64_t forward_ns; /* atomic (relaxed: it stands for itself) */

static uint64_t
monotonic_forward(void *arg)
{
	(void)arg;
	return clock_monotonic_ns(sett_system_clock()) + __atomic_load_n(&forward_ns, __ATOMIC_RELAXED);
}

static struct fixture *
open_with(enum config_policy policy)
{
	struct fixture *f = fixture_open();
	struct sett_error error;
	f->clock.monotonic_ns = monotonic_forward;
	f->server.config->max_disk = DISK;
	f->server.config->max_memory_policy = (int)policy;
	if (config_policy_is_lru(f->server.config) || config_policy_is_lfu(f->server.config))
		cr_assert_eq(server_note_accesses(&f->server), SETT_OK);
	cr_assert_eq(evictor_create(&f->server, &f->server.evictor, &error), SETT_OK, "%s", error.message);
	return f;
}

static void
close_all(struct fixture *f)
{
	evictor_destroy(f->server.evictor);
	f->server.evictor = NULL;
	fixture_close(f);
}

static bool
replied(const struct fixture *f, const char *text)
{
	return f->reply.size == strlen(text) && memcmp(f->reply.data, text, f->reply.size) == 0;
}

/* What does not compress, under PREFIX:NUMBER, with a deadline far away or none. Waits where writers are held. */
static void
set(struct fixture *f, const char *prefix, unsigned number, bool has_deadline)
{
	static uint8_t value[VALUE];
	char name[40];
	int size = snprintf(name, sizeof(name), "%s:%u", prefix, number);
	uint32_t noise = number * 2654435761u + (uint8_t)prefix[0];
	for (size_t i = 0; i < VALUE; i++)
		value[i] = (uint8_t)((noise = noise * 1664525 + 1013904223) >> 24);
	struct bytes argv[] = {BYTES_LITERAL("SET"), bytes_of(name, (size_t)size), bytes_of(value, VALUE),
			       BYTES_LITERAL("EX"), BYTES_LITERAL("100000")};
	for (int turn = 0; turn < TURNS; turn++) {
		fixture_run(f, 0, has_deadline ? 5 : 3, argv);
		if (f->result != REQUEST_PAUSED)
			return;
		usleep(10000);
	}
	cr_assert(false, "held for ever");
}

/* How many were set before one was refused. */
static unsigned
set_until_refused(struct fixture *f, const char *prefix)
{
	for (unsigned i = 0; i < TURNS; i++) {
		set(f, prefix, i, false);
		if (replied(f, OOM))
			return i;
		cr_assert(replied(f, "+OK\r\n"));
		evictor_look(f->server.evictor);
	}
	cr_assert(false, "nothing was refused");
	return 0;
}

static int64_t
integer_of(struct fixture *f, const char *line)
{
	fixture_run_line(f, 0, line);
	cr_assert(f->reply.size > 1 && f->reply.data[0] == ':');
	return atoll((const char *)f->reply.data + 1);
}

static struct evictor_figures
figures(struct fixture *f)
{
	struct evictor_figures ret;
	evictor_figures(f->server.evictor, &ret);
	return ret;
}

/* Ends evictions; whatever is not there of `count` keys was evicted. Returns how many were. */
static uint64_t
count_evicted(struct fixture *f, uint64_t count)
{
	uint64_t evicted = 0;
	/* relaxed: partner of the evictor's load */
	__atomic_store_n(&f->server.config->max_memory_policy, CONFIG_POLICY_NOEVICTION, __ATOMIC_RELAXED);
	for (int turn = 0; turn < TURNS; turn++) {
		evicted = figures(f).evicted_keys;
		if ((uint64_t)integer_of(f, "DBSIZE") + evicted == count)
			return evicted;
		usleep(10000); /* the last batch is under way */
	}
	cr_assert(false, "%llu keys are gone that were not evicted",
		  (unsigned long long)(count - evicted - (uint64_t)integer_of(f, "DBSIZE")));
	return 0;
}

Test(evictor, without_a_policy_what_takes_space_is_refused, .timeout = 400)
{
	struct fixture *f = open_with(CONFIG_POLICY_NOEVICTION);
	unsigned count = set_until_refused(f, "a");
	struct disk_room room = figures(f).room;
	cr_assert(room.live >= room.live_limit && room.live < room.live_limit + 2 * VALUE);
	cr_assert_leq(room.files, room.limit);
	cr_assert_gt((uint64_t)count * VALUE, room.live_limit * 9 / 10);
	EXPECT(f, 0, "EXISTS a:0", ":1");
	EXPECT(f, 0, "APPEND a:0 x", "-OOM command not allowed when used memory > 'maxmemory'.");
	/* As in Redis: in MULTI at the queue, in scripts at the command. What only reads goes on. */
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "EXISTS a:0", "+QUEUED");
	EXPECT(f, 0, "EXEC", "*1\r\n:1");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "SET b 1", "-OOM command not allowed when used memory > 'maxmemory'.");
	EXPECT(f, 0, "EXEC", "-EXECABORT Transaction discarded because of previous errors.");
	EXPECT(f, 0, "DEL a:0", ":1");
	for (unsigned i = 1; i < 10; i++) {
		char line[32];
		snprintf(line, sizeof(line), "DEL a:%u", i);
		EXPECT(f, 0, line, ":1");
	}
	evictor_look(f->server.evictor);
	EXPECT(f, 0, "SET b 1", "+OK");
	cr_assert_eq(figures(f).evicted_keys, 0);
	cr_assert_eq(integer_of(f, "DBSIZE"), (int64_t)count - 9);
	close_all(f);
}

Test(evictor, a_queue_that_takes_space_is_refused_at_exec, .timeout = 400)
{
	struct fixture *f = open_with(CONFIG_POLICY_NOEVICTION);
	EXPECT(f, 1, "MULTI", "+OK");
	EXPECT(f, 1, "SET b 1", "+QUEUED");
	set_until_refused(f, "a");
	EXPECT(f, 1, "EXEC",
	       "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > "
	       "'maxmemory'.");
	EXPECT(f, 1, "EXISTS b", ":0");
	close_all(f);
}

static void
queue_script(struct fixture *f, int client, const char *script)
{
	struct bytes argv[] = {BYTES_LITERAL("EVAL"), bytes_of_string(script), BYTES_LITERAL("0")};
	EXPECT(f, client, "MULTI", "+OK");
	fixture_run(f, client, 3, argv);
}

/* As in Redis: what a script says of itself counts as a flag of the block; one that says nothing is asked by its commands. */
Test(evictor, a_block_is_refused_for_what_its_scripts_may_take, .timeout = 400)
{
	struct fixture *f = open_with(CONFIG_POLICY_NOEVICTION);
	struct bytes load[] = {
		BYTES_LITERAL("FUNCTION"), BYTES_LITERAL("LOAD"),
		BYTES_LITERAL("#!lua name=l\nredis.register_function('f', function() return 2 end)")};
	fixture_run(f, 0, 3, load);
	set_until_refused(f, "a");
	queue_script(f, 0, "return 1");
	EXPECT(f, 0, "EXEC", "*1\r\n:1");
	queue_script(f, 0, "#!lua flags=allow-oom\nreturn 1");
	EXPECT(f, 0, "EXEC", "*1\r\n:1");
	queue_script(f, 0, "#!lua\nreturn 1");
	EXPECT(f, 0, "EXEC",
	       "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > "
	       "'maxmemory'.");
	EXPECT(f, 0, "EXEC", "-ERR EXEC without MULTI");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "FCALL f 0", "+QUEUED");
	EXPECT(f, 0, "EXEC",
	       "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > "
	       "'maxmemory'.");
	queue_script(f, 0, "#!lua what\nreturn 1");
	EXPECT(f, 0, "EXEC", "*1\r\n-ERR Unknown lua shebang option: what");
	close_all(f);
}

static void
check_cache(enum config_policy policy)
{
	struct fixture *f = open_with(policy);
	uint64_t limit = figures(f).room.live_limit;
	bool is_volatile = policy <= CONFIG_POLICY_VOLATILE_TTL;
	unsigned all = (unsigned)(3 * limit / VALUE), kept = is_volatile ? 20 : 0;
	for (unsigned i = 0; i < kept; i++)
		set(f, "kept", i, false);
	for (unsigned i = 0; i < all; i++) {
		set(f, "cached", i, is_volatile);
		cr_assert(replied(f, "+OK\r\n"), "%.*s", (int)f->reply.size, (const char *)f->reply.data);
		evictor_look(f->server.evictor);
		cr_assert_lt(figures(f).room.live, limit + limit / 8);
	}
	uint64_t left = all + kept - count_evicted(f, all + kept);
	cr_assert_gt(left * VALUE, limit * 8 / 10, "no more goes than must");
	for (unsigned i = 0; i < kept; i++) {
		char line[32];
		snprintf(line, sizeof(line), "EXISTS kept:%u", i);
		EXPECT(f, 0, line, ":1");
	}
	close_all(f);
}

Test(evictor, allkeys_random, .timeout = 240)
{
	check_cache(CONFIG_POLICY_ALLKEYS_RANDOM);
}
Test(evictor, allkeys_lfu, .timeout = 240)
{
	check_cache(CONFIG_POLICY_ALLKEYS_LFU);
}
Test(evictor, volatile_lru, .timeout = 240)
{
	check_cache(CONFIG_POLICY_VOLATILE_LRU);
}
Test(evictor, volatile_ttl, .timeout = 240)
{
	check_cache(CONFIG_POLICY_VOLATILE_TTL);
}

Test(evictor, what_was_used_lately_stays, .timeout = 240)
{
	enum { HOT = 20 };
	struct fixture *f = open_with(CONFIG_POLICY_ALLKEYS_LRU);
	uint64_t limit = figures(f).room.live_limit;
	unsigned all = (unsigned)(3 * limit / VALUE), left = 0;
	char line[32];
	for (unsigned i = 0; i < HOT; i++)
		set(f, "hot", i, false);
	for (unsigned i = 0; i < all; i++) {
		set(f, "cold", i, false);
		fixture_advance(f, 1000);
		snprintf(line, sizeof(line), "STRLEN hot:%u", i % HOT);
		fixture_run_line(f, 0, line);
		evictor_look(f->server.evictor);
	}
	for (unsigned i = 0; i < HOT; i++) {
		snprintf(line, sizeof(line), "EXISTS hot:%u", i);
		left += integer_of(f, line) == 1;
	}
	cr_assert_gt(figures(f).evicted_keys, 0);
	cr_assert_geq(left, HOT - 2);
	close_all(f);
}

Test(evictor, the_nearest_deadlines_go_first, .timeout = 240)
{
	enum { SOON = 30 };
	struct fixture *f = open_with(CONFIG_POLICY_VOLATILE_TTL);
	uint64_t limit = figures(f).room.live_limit;
	unsigned all = (unsigned)(limit / VALUE), left = 0;
	char line[40];
	for (unsigned i = 0; i < SOON; i++) {
		set(f, "soon", i, true);
		snprintf(line, sizeof(line), "EXPIRE soon:%u 1000", i);
		EXPECT(f, 0, line, ":1");
	}
	for (unsigned i = 0; i < all; i++)
		set(f, "late", i, true);
	uint64_t evicted = count_evicted(f, all + SOON);
	for (unsigned i = 0; i < SOON; i++) {
		snprintf(line, sizeof(line), "EXISTS soon:%u", i);
		left += integer_of(f, line) == 1;
	}
	cr_assert_geq(evicted, 10);
	cr_assert_geq(SOON - left, evicted < SOON ? evicted * 7 / 10 : SOON * 7 / 10);
	close_all(f);
}

Test(evictor, nothing_with_a_deadline_is_nothing_to_evict, .timeout = 400)
{
	struct fixture *f = open_with(CONFIG_POLICY_VOLATILE_LRU);
	unsigned count = set_until_refused(f, "a");
	cr_assert_eq(figures(f).evicted_keys, 0);
	cr_assert_eq(integer_of(f, "DBSIZE"), count);
	close_all(f);
}

Test(evictor, a_pause_of_clients_holds_evictions, .timeout = 400)
{
	struct fixture *f = open_with(CONFIG_POLICY_ALLKEYS_RANDOM);
	uint64_t limit = figures(f).room.live_limit;
	for (unsigned i = 0; i < limit / VALUE - 20; i++)
		set(f, "a", i, false);
	int64_t before = integer_of(f, "DBSIZE");
	cr_assert_eq(figures(f).evicted_keys, 0);
	pause_set(f->server.pause, PAUSE_WRITE, f->now_ms, f->now_ms + 100000);
	__atomic_store_n(&f->server.config->max_disk, 115 * MB, __ATOMIC_RELAXED);
	evictor_look(f->server.evictor);
	cr_assert_gt(figures(f).room.live, figures(f).room.live_limit);
	usleep(300000);
	cr_assert_eq(integer_of(f, "DBSIZE"), before);
	/* However long it takes: writers wait, and are not refused. */
	cr_assert(server_refuses(&f->server, HOLD_FULL_DISK));
	__atomic_store_n(&forward_ns, 60ull * 1000000000, __ATOMIC_RELAXED);
	evictor_look(f->server.evictor);
	cr_assert(server_refuses(&f->server, HOLD_FULL_DISK) &&
		  !server_refuses(&f->server, REFUSE_FULL_DISK));
	pause_clear(f->server.pause);
	evictor_look(f->server.evictor);
	cr_assert(!server_refuses(&f->server, REFUSE_FULL_DISK));
	for (int turn = 0; turn < TURNS && figures(f).room.live > figures(f).room.live_limit; turn++)
		usleep(10000);
	cr_assert_leq(figures(f).room.live, figures(f).room.live_limit);
	cr_assert_gt(count_evicted(f, (uint64_t)before), 0);
	evictor_reset_stats(f->server.evictor);
	cr_assert_eq(figures(f).evicted_keys, 0);
	close_all(f);
}

Test(evictor, a_limit_below_what_a_database_needs_is_refused)
{
	struct fixture *f = open_with(CONFIG_POLICY_NOEVICTION);
	struct config planned = *f->server.config;
	struct evictor *second;
	struct sett_error error;
	char reason[200] = "";
	uint64_t least = sett_engine_least_disk(f->server.engine);
	planned.max_disk = (int64_t)least;
	cr_assert(evictor_allows(f->server.evictor, &planned, reason, sizeof(reason)));
	planned.max_disk = (int64_t)least - 1;
	cr_assert(!evictor_allows(f->server.evictor, &planned, reason, sizeof(reason)));
	cr_assert_not_null(strstr(reason, "maxdisk must be at least "));
	planned.max_disk = 0;
	cr_assert(evictor_allows(f->server.evictor, &planned, reason, sizeof(reason)), "no limit");
	planned.max_disk = -50;
	cr_assert(evictor_allows(f->server.evictor, &planned, reason, sizeof(reason)));
	f->server.config->max_disk = 1 * MB;
	cr_assert_eq(evictor_create(&f->server, &second, &error), SETT_INVALID);
	cr_assert_not_null(strstr(error.message, "maxdisk must be at least "));
	f->server.config->max_disk = 0;
	evictor_look(f->server.evictor);
	cr_assert_eq(figures(f).room.limit, 0);
	close_all(f);
}

/* ---- a full disk ---- */

static void
fill_disk(struct fixture *f)
{
	struct vfs_file *filler;
	uint64_t size;
	cr_assert_eq(vfs_free_space(f->vfs, "db", &size, NULL), SETT_OK);
	cr_assert_eq(vfs_open(f->vfs, "filler", VFS_READ | VFS_WRITE | VFS_CREATE, &filler, NULL), SETT_OK);
	if (size > 0)
		cr_assert_eq(vfs_allocate(filler, size, NULL), SETT_OK);
	cr_assert_eq(vfs_close(filler, NULL), SETT_OK);
}

static bool
is_misconf(const struct fixture *f)
{
	static const char start[] = "-MISCONF ";
	return f->reply.size > strlen(start) && memcmp(f->reply.data, start, strlen(start)) == 0;
}

/* Others fill the disk of a cache, which is far from its own bound; then they go, and at last the cache comes to its
 * bound. What was acknowledged is there all the time, but for what was evicted. */
Test(evictor, a_disk_that_others_fill_evicts_nothing, .timeout = 240)
{
	struct fixture *f = open_with(CONFIG_POLICY_ALLKEYS_LRU);
	unsigned count = 0;
	for (; count < 50; count++)
		set(f, "a", count, false);
	vfs_memory_set_capacity(f->vfs, 256 * MB);
	fill_disk(f);
	for (; count < TURNS; count++) {
		set(f, "a", count, false);
		if (!replied(f, "+OK\r\n"))
			break;
	}
	cr_assert(is_misconf(f), "%.*s", (int)f->reply.size, (const char *)f->reply.data);
	evictor_look(f->server.evictor);
	usleep(200000);
	cr_assert_eq(integer_of(f, "DBSIZE"), count);
	cr_assert_eq(figures(f).evicted_keys, 0);
	cr_assert(!server_refuses(&f->server, REFUSE_FULL_DISK | HOLD_FULL_DISK));
	cr_assert_eq(vfs_remove(f->vfs, "filler", NULL), SETT_OK);
	for (int turn = 0; turn < TURNS; turn++) {
		set(f, "a", count, false);
		if (replied(f, "+OK\r\n"))
			break;
		cr_assert(is_misconf(f));
		usleep(10000);
	}
	count++;
	evictor_destroy(f->server.evictor);
	f->server.evictor = NULL;
	fixture_stop(f);
	fixture_start(f);
	cr_assert_eq(integer_of(f, "DBSIZE"), count);
	struct sett_error error;
	f->server.config->max_disk = DISK;
	f->server.config->max_memory_policy = CONFIG_POLICY_ALLKEYS_RANDOM;
	cr_assert_eq(evictor_create(&f->server, &f->server.evictor, &error), SETT_OK);
	unsigned all = count + (unsigned)(figures(f).room.live_limit / VALUE);
	for (; count < all; count++) {
		set(f, "a", count, false);
		cr_assert(replied(f, "+OK\r\n"));
	}
	cr_assert_gt(count_evicted(f, count), 0);
	close_all(f);
}

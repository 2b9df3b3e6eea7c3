/* Clients that wait for keys: no lost wake-up (I4), first come first served, and nothing is taken for who is gone
 * (I24). */
#include "server_support.h"
#include "storage/base/sync_point.h"
#include "storage/base/thread.h"

static void
begin_wait(struct fixture *f, int client, const char *line)
{
	fixture_run_line(f, client, line);
	cr_assert_eq(f->result, REQUEST_BLOCKED);
}

/* What the client is told once its wait is over. */
static void
expect_told(struct fixture *f, int client, const char *expected)
{
	uint64_t release;
	cr_assert_eq(fixture_waits_over[f->clients[client].id], 1, "client %d waits", client);
	fixture_waits_over[f->clients[client].id] = 0;
	resp_truncate(&f->reply, 0);
	f->handler.take_wait_reply(f->handler.arg, &f->clients[client], &f->reply, &release);
	cr_assert(f->reply.size == strlen(expected) && memcmp(f->reply.data, expected, f->reply.size) == 0,
		  "expected %s, got %.*s", expected, (int)f->reply.size, (const char *)f->reply.data);
}

static void
expect_waiting(struct fixture *f, int client)
{
	cr_assert_eq(fixture_waits_over[f->clients[client].id], 0);
	cr_assert(f->handler.end_wait(f->handler.arg, &f->clients[client], WAIT_CLOSED));
}

static struct fixture *
open_both(void)
{
	struct fixture *f = fixture_open();
	rcu_thread_register();
	memset(fixture_waits_over, 0, sizeof(fixture_waits_over));
	return f;
}

static void
close_both(struct fixture *f)
{
	rcu_thread_unregister();
	fixture_close(f);
}

struct step {
	struct fixture *f;
	const char *line, *expected;
	unsigned ran;
};

static void
run_step(void *arg)
{
	struct step *s = arg;
	s->ran++;
	fixture_run_beside(s->f, 3, s->line, s->expected);
}

Test(waiting, who_waits_is_served_in_turn)
{
	struct fixture *f = open_both();
	begin_wait(f, 0, "BLPOP a b 0");
	begin_wait(f, 1, "BRPOP b 0");
	begin_wait(f, 2, "BLMOVE b c LEFT RIGHT 0");
	EXPECT(f, 3, "RPUSH b 1 2 3 4", ":4");
	expect_told(f, 0, "*2\r\n$1\r\nb\r\n$1\r\n1\r\n");
	expect_told(f, 1, "*2\r\n$1\r\nb\r\n$1\r\n4\r\n");
	expect_told(f, 2, "$1\r\n2\r\n");
	EXPECT(f, 3, "LRANGE b 0 -1", "*1\r\n$1\r\n3");
	EXPECT(f, 3, "LRANGE c 0 -1", "*1\r\n$1\r\n2");
	cr_assert(waiting_is_empty(f->server.waiting));
	close_both(f);
}

Test(waiting, a_key_of_another_type_serves_those_who_want_that)
{
	struct fixture *f = open_both();
	begin_wait(f, 0, "BLPOP k 0");
	begin_wait(f, 1, "BZPOPMIN k 0");
	EXPECT(f, 3, "ZADD k 1 x", ":1");
	expect_told(f, 1, "*3\r\n$1\r\nk\r\n$1\r\nx\r\n$1\r\n1\r\n");
	EXPECT(f, 3, "SET k x", "+OK");
	EXPECT(f, 3, "DEL k", ":1");
	expect_waiting(f, 0);
	close_both(f);
}

Test(waiting, a_push_between_the_look_and_the_wait_is_seen)
{
	struct fixture *f = open_both();
	struct step push = {.f = f, .line = "RPUSH k x", .expected = ":1\r\n"};
	sync_point_arm(
		&(struct sync_point){.name = "wait: nothing was found", .run = run_step, .arg = &push});
	EXPECT(f, 0, "BLPOP k 0", "*2\r\n$1\r\nk\r\n$1\r\nx");
	cr_assert_eq(push.ran, 1);
	close_both(f);
}

/* Who waits for another type is nobody to wait behind, and does not hide what the key holds. */
Test(waiting, who_waits_for_another_type_leaves_what_is_there)
{
	struct fixture *f = open_both();
	begin_wait(f, 0, "XREAD BLOCK 0 STREAMS k $");
	begin_wait(f, 1, "BZPOPMIN k 0");
	EXPECT(f, 3, "RPUSH k a b", ":2");
	EXPECT(f, 2, "BLPOP k 0", "*2\r\n$1\r\nk\r\n$1\r\na");
	EXPECT(f, 2, "BLMOVE k other LEFT RIGHT 0", "$1\r\nb");
	EXPECT(f, 3, "XADD k 1-1 a b", "$3\r\n1-1");
	expect_told(f, 0, "*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n");
	begin_wait(f, 0, "XREAD BLOCK 0 STREAMS k $");
	EXPECT(f, 2, "BLPOP k 0", "-WRONGTYPE Operation against a key holding the wrong kind of value");
	expect_waiting(f, 0);
	expect_waiting(f, 1);
	close_both(f);
}

static void
wait_while_served(void *arg)
{
	struct step *s = arg;
	struct bytes argv[] = {BYTES_LITERAL("BLPOP"), BYTES_LITERAL("k"), BYTES_LITERAL("0")};
	struct request request = {.argc = 3, .argv = argv};
	struct resp_writer reply;
	uint64_t release;
	resp_writer_init(&reply, 2);
	s->ran++;
	cr_assert_eq(s->f->handler.execute(s->f->handler.arg, s->f->reactor, &s->f->clients[1], &request,
					   &reply, &release),
		     REQUEST_BLOCKED);
	resp_writer_free(&reply);
}

/* Elements that have come for who waits are not taken by who comes before he is served. */
Test(waiting, who_comes_while_another_is_served_waits_behind)
{
	struct fixture *f = open_both();
	struct step wait = {.f = f};
	begin_wait(f, 0, "BLPOP k 0");
	sync_point_arm(&(struct sync_point){.name = "serve: begins", .run = wait_while_served, .arg = &wait});
	EXPECT(f, 3, "RPUSH k a b", ":2");
	cr_assert_eq(wait.ran, 1);
	expect_told(f, 0, "*2\r\n$1\r\nk\r\n$1\r\na\r\n");
	expect_told(f, 1, "*2\r\n$1\r\nk\r\n$1\r\nb\r\n");
	close_both(f);
}

static void
wait_behind(void *arg)
{
	struct step *s = arg;
	s->ran++;
	/* The first one leaves just now, so there is nobody to wait behind. */
	cr_assert(s->f->handler.end_wait(s->f->handler.arg, &s->f->clients[0], WAIT_CLOSED));
	s->f->handler.client_closed(s->f->handler.arg, &s->f->clients[0]);
	fixture_run_beside(s->f, 3, "RPUSH k x", ":1\r\n");
}

Test(waiting, who_finds_others_waiting_waits_behind_them_only)
{
	struct fixture *f = open_both();
	struct step leave = {.f = f};
	begin_wait(f, 0, "BLPOP k 0");
	sync_point_arm(
		&(struct sync_point){.name = "wait: nothing was found", .run = wait_behind, .arg = &leave});
	EXPECT(f, 1, "BLPOP k 0", "*2\r\n$1\r\nk\r\n$1\r\nx");
	cr_assert_eq(leave.ran, 1);
	close_both(f);
}

/* A thread that pushes to c, a and b, and serves those who wait for them, stopped before c and before b. */
struct pushes {
	struct fixture *f;
	pthread_t thread;
	struct mutex mutex;
	struct condition moved;
	unsigned stops, goes; /* so often it stopped, and may go on */
	struct sync_point serves, waits;
};

static void
stop_there(void *arg)
{
	struct pushes *p = arg;
	mutex_lock(&p->mutex);
	p->stops++;
	condition_broadcast(&p->moved);
	while (p->goes < p->stops)
		condition_wait(&p->moved, &p->mutex);
	mutex_unlock(&p->mutex);
}

static void
await_stop(struct pushes *p, unsigned stops)
{
	mutex_lock(&p->mutex);
	while (p->stops < stops)
		condition_wait(&p->moved, &p->mutex);
	mutex_unlock(&p->mutex);
}

static void
let_go(struct pushes *p)
{
	mutex_lock(&p->mutex);
	p->goes++;
	condition_broadcast(&p->moved);
	mutex_unlock(&p->mutex);
}

static void *
push_to_all(void *arg)
{
	struct pushes *p = arg;
	rcu_thread_register();
	fixture_run_beside(p->f, 3, "EXEC", "*3\r\n:1\r\n:1\r\n:1\r\n");
	rcu_thread_unregister();
	return NULL;
}

/* Who waits for a leaves, what came for him finds nobody, and b is still to be served. */
static void
leave_to_nobody(void *arg)
{
	struct pushes *p = arg;
	cr_assert(p->f->handler.end_wait(p->f->handler.arg, &p->f->clients[0], WAIT_CLOSED));
	p->f->handler.client_closed(p->f->handler.arg, &p->f->clients[0]);
	sync_point_arm(&p->serves);
	let_go(p);
	await_stop(p, 2);
}

/* He waits behind others for b, and there is nobody left to hand him what a has. */
Test(waiting, what_who_left_was_to_get_comes_to_who_waits_behind_others)
{
	struct fixture *f = open_both();
	struct pushes p = {.f = f};
	mutex_init(&p.mutex);
	condition_init(&p.moved);
	p.serves = (struct sync_point){.name = "serve: begins", .run = stop_there, .arg = &p};
	p.waits = (struct sync_point){.name = "wait: nothing was found", .run = leave_to_nobody, .arg = &p};
	begin_wait(f, 0, "BLPOP a 0");
	begin_wait(f, 1, "BLPOP b 0");
	begin_wait(f, 4, "BLPOP c 0");
	EXPECT(f, 3, "MULTI", "+OK");
	EXPECT(f, 3, "RPUSH c z", "+QUEUED");
	EXPECT(f, 3, "RPUSH a x", "+QUEUED");
	EXPECT(f, 3, "RPUSH b y", "+QUEUED");
	sync_point_arm(&p.serves);
	cr_assert_eq(pthread_create(&p.thread, NULL, push_to_all, &p), 0);
	await_stop(&p, 1);
	sync_point_arm(&p.waits);
	begin_wait(f, 2, "BLPOP a b 0");
	expect_told(f, 2, "*2\r\n$1\r\na\r\n$1\r\nx\r\n");
	let_go(&p);
	cr_assert_eq(pthread_join(p.thread, NULL), 0);
	expect_told(f, 4, "*2\r\n$1\r\nc\r\n$1\r\nz\r\n");
	expect_told(f, 1, "*2\r\n$1\r\nb\r\n$1\r\ny\r\n");
	cr_assert(waiting_is_empty(f->server.waiting));
	condition_destroy(&p.moved);
	mutex_destroy(&p.mutex);
	close_both(f);
}

Test(waiting, a_batch_does_not_take_from_who_waits)
{
	struct fixture *f = open_both();
	const struct request_handler *h = &f->handler;
	struct resp_writer reply;
	struct bytes push[] = {BYTES_LITERAL("RPUSH"), BYTES_LITERAL("k"), BYTES_LITERAL("x")};
	struct bytes pop[] = {BYTES_LITERAL("LPOP"), BYTES_LITERAL("k")};
	begin_wait(f, 0, "BLPOP k 0");
	resp_writer_init(&reply, 2);
	struct shared_request requests[] = {
		{.client = &f->clients[1], .reply = &reply, .request = {.argc = 3, .argv = push}},
		{.client = &f->clients[1], .reply = &reply, .request = {.argc = 2, .argv = pop}}};
	for (int i = 0; i < 2; i++)
		requests[i].request.foreseen = h->foresee(h->arg, f->reactor, &f->clients[1],
							  requests[i].request.argc, requests[i].request.argv);
	h->fetch(h->arg, f->reactor);
	for (int i = 0; i < 2; i++)
		cr_assert(h->may_share(h->arg, f->reactor, &f->clients[1], &requests[i].request, i == 0));
	cr_assert(!h->execute_shared(h->arg, f->reactor, requests, 2));
	cr_assert_eq(reply.size, 0);
	EXPECT(f, 1, "RPUSH k x", ":1");
	EXPECT(f, 1, "LPOP k", "$-1");
	expect_told(f, 0, "*2\r\n$1\r\nk\r\n$1\r\nx\r\n");
	/* With nobody there it is taken. */
	cr_assert(h->execute_shared(h->arg, f->reactor, requests, 2));
	resp_writer_free(&reply);
	close_both(f);
}

static void
leave_while_served(void *arg)
{
	struct step *s = arg;
	s->ran++;
	cr_assert(!s->f->handler.end_wait(s->f->handler.arg, &s->f->clients[0], WAIT_TIMED_OUT));
}

Test(waiting, nothing_is_taken_for_who_is_gone)
{
	struct fixture *f = open_both();
	struct step leave = {.f = f};
	begin_wait(f, 0, "BLPOP k 0");
	begin_wait(f, 1, "BZPOPMIN k 0");
	sync_point_arm(
		&(struct sync_point){.name = "serve: begins", .run = leave_while_served, .arg = &leave});
	EXPECT(f, 3, "RPUSH k x", ":1");
	cr_assert_eq(leave.ran, 1);
	expect_told(f, 0, "*-1\r\n");
	EXPECT(f, 3, "LRANGE k 0 -1", "*1\r\n$1\r\nx");
	expect_waiting(f, 1);
	close_both(f);
}

/* Another thread touches a key of a client that is just being served, and others wait for that key. */
Test(waiting, a_key_touched_while_its_first_waiter_is_served_is_served_after)
{
	struct fixture *f = open_both();
	struct step push = {.f = f, .line = "RPUSH b y", .expected = ":1\r\n"};
	begin_wait(f, 0, "BLPOP a b 0");
	begin_wait(f, 1, "BLPOP b 0");
	sync_point_arm(&(struct sync_point){.name = "serve: begins", .run = run_step, .arg = &push});
	EXPECT(f, 2, "RPUSH a x", ":1");
	cr_assert_eq(push.ran, 1);
	expect_told(f, 0, "*2\r\n$1\r\na\r\n$1\r\nx\r\n");
	expect_told(f, 1, "*2\r\n$1\r\nb\r\n$1\r\ny\r\n");
	close_both(f);
}

struct begin_count {
	struct sync_point point;
	unsigned served;
};

static void
count_served(void *arg)
{
	struct begin_count *c = arg;
	c->served++;
	sync_point_arm(&c->point);
}

static void
count_all_served(struct begin_count *c)
{
	*c = (struct begin_count){.point = {.name = "serve: begins", .run = count_served, .arg = c}};
	sync_point_arm(&c->point);
}

/* Who takes the last element leaves nothing to the others: their commands are not run to find that out. */
Test(waiting, of_a_key_that_is_gone_nobody_else_is_served)
{
	struct fixture *f = open_both();
	struct begin_count c;
	begin_wait(f, 0, "BLPOP k 0");
	begin_wait(f, 1, "BLPOP k 0");
	begin_wait(f, 2, "BZPOPMIN k 0");
	count_all_served(&c);
	EXPECT(f, 3, "RPUSH k x", ":1");
	expect_told(f, 0, "*2\r\n$1\r\nk\r\n$1\r\nx\r\n");
	cr_assert_eq(c.served, 1);
	EXPECT(f, 3, "ZADD k 1 x", ":1");
	expect_told(f, 2, "*3\r\n$1\r\nk\r\n$1\r\nx\r\n$1\r\n1\r\n");
	cr_assert_eq(c.served, 3); /* the first was not to know the type */
	EXPECT(f, 3, "RPUSH k y", ":1");
	expect_told(f, 1, "*2\r\n$1\r\nk\r\n$1\r\ny\r\n");
	cr_assert_eq(c.served, 4);
	sync_point_arm(NULL);
	close_both(f);
}

/* But a group that has gone tells its consumers, though somebody has taken what was in its place. */
Test(waiting, of_a_key_that_is_gone_consumers_are_told)
{
	struct fixture *f = open_both();
	begin_wait(f, 1, "BLPOP s 0");
	EXPECT(f, 3, "XGROUP CREATE s g $ MKSTREAM", "+OK");
	begin_wait(f, 0, "XREADGROUP GROUP g one BLOCK 0 STREAMS s >");
	EXPECT(f, 3, "RPUSH list x", ":1");
	EXPECT(f, 3, "RENAME list s", "+OK");
	expect_told(f, 1, "*2\r\n$1\r\ns\r\n$1\r\nx\r\n");
	expect_told(f, 0, "-UNBLOCKED the stream key no longer exists\r\n");
	close_both(f);
}

/* What a waiter puts back into its own key is for those behind it. */
Test(waiting, who_moves_within_a_key_serves_the_next)
{
	struct fixture *f = open_both();
	begin_wait(f, 0, "BLMOVE k k LEFT RIGHT 0");
	begin_wait(f, 1, "BLPOP k 0");
	begin_wait(f, 2, "BLPOP k 0");
	EXPECT(f, 3, "RPUSH k x", ":1");
	expect_told(f, 0, "$1\r\nx\r\n");
	expect_told(f, 1, "*2\r\n$1\r\nk\r\n$1\r\nx\r\n");
	expect_waiting(f, 2);
	close_both(f);
}

Test(waiting, an_administrator_ends_a_wait)
{
	struct fixture *f = open_both();
	begin_wait(f, 0, "BLPOP k 0");
	EXPECT(f, 3, "CLIENT UNBLOCK 1", ":1");
	expect_told(f, 0, "*-1\r\n");
	EXPECT(f, 3, "CLIENT UNBLOCK 1", ":0");
	begin_wait(f, 0, "BLPOP k 0");
	EXPECT(f, 3, "CLIENT UNBLOCK 1 ERROR", ":1");
	expect_told(f, 0, "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
	close_both(f);
}

Test(waiting, databases_that_are_swapped_serve_their_waiters)
{
	struct fixture *f = open_both();
	EXPECT(f, 2, "SELECT 1", "+OK");
	EXPECT(f, 2, "RPUSH k x", ":1");
	begin_wait(f, 0, "BLPOP k 0");
	EXPECT(f, 3, "SWAPDB 0 1", "+OK");
	expect_told(f, 0, "*2\r\n$1\r\nk\r\n$1\r\nx\r\n");
	close_both(f);
}

Test(waiting, what_a_block_pushes_and_takes_is_gone_before_anybody_is_served)
{
	struct fixture *f = open_both();
	begin_wait(f, 0, "BLPOP k 0");
	EXPECT(f, 3, "MULTI", "+OK");
	EXPECT(f, 3, "RPUSH k x", "+QUEUED");
	EXPECT(f, 3, "LPOP k", "+QUEUED");
	EXPECT(f, 3, "EXEC", "*2\r\n:1\r\n$1\r\nx");
	EXPECT(f, 3, "RENAME nokey k", "-ERR no such key");
	EXPECT(f, 3, "RPUSH other y z", ":2");
	EXPECT(f, 3, "RENAME other k", "+OK");
	expect_told(f, 0, "*2\r\n$1\r\nk\r\n$1\r\ny\r\n");
	close_both(f);
}

/* Each reader waits for entries of its own: one that finds nothing does not keep those behind it waiting, and all of them
 * get the same entry. */
Test(waiting, readers_of_a_stream_wait_side_by_side)
{
	struct fixture *f = open_both();
	EXPECT(f, 3, "XADD s 5-1 a b", "$3\r\n5-1");
	begin_wait(f, 0, "XREAD BLOCK 0 STREAMS s 9-9");
	begin_wait(f, 1, "XREAD BLOCK 0 STREAMS other s 0 $");
	begin_wait(f, 2, "XREAD BLOCK 0 STREAMS s 5-1");
	EXPECT(f, 3, "XREAD BLOCK 0 STREAMS s 0",
	       "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\na\r\n$1\r\nb");
	EXPECT(f, 3, "XADD s 6-1 c d", "$3\r\n6-1");
	for (int reader = 1; reader < 3; reader++)
		expect_told(f, reader,
			    "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n6-1\r\n*2\r\n$1\r\nc\r\n$1\r\nd\r\n");
	expect_waiting(f, 0);
	close_both(f);
}

Test(waiting, an_entry_between_the_look_and_the_wait_is_after_the_last_one)
{
	struct fixture *f = open_both();
	struct step add = {.f = f, .line = "XADD s 1-1 a b", .expected = "$3\r\n1-1\r\n"};
	sync_point_arm(&(struct sync_point){.name = "wait: nothing was found", .run = run_step, .arg = &add});
	/* The command begins after that entry, as it ran again. */
	begin_wait(f, 0, "XREAD BLOCK 0 STREAMS s $");
	cr_assert_eq(add.ran, 1);
	EXPECT(f, 3, "XADD s 1-2 a b", "$3\r\n1-2");
	expect_told(f, 0, "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-2\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n");
	close_both(f);
}

Test(waiting, a_reader_is_not_woken_by_another_type)
{
	struct fixture *f = open_both();
	begin_wait(f, 0, "XREAD BLOCK 0 STREAMS s $");
	EXPECT(f, 3, "SET s x", "+OK");
	EXPECT(f, 3, "DEL s", ":1");
	EXPECT(f, 3, "XADD s 1-2 a b", "$3\r\n1-2");
	expect_told(f, 0, "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-2\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n");
	close_both(f);
}

/* A group hands each entry to one of those who wait, in turn. */
Test(waiting, consumers_of_a_group_are_served_in_turn)
{
	struct fixture *f = open_both();
	EXPECT(f, 3, "XGROUP CREATE s g $ MKSTREAM", "+OK");
	begin_wait(f, 0, "XREADGROUP GROUP g one BLOCK 0 STREAMS s >");
	begin_wait(f, 1, "XREADGROUP GROUP g two BLOCK 0 STREAMS s >");
	EXPECT(f, 3, "XADD s 1-1 a b", "$3\r\n1-1");
	expect_told(f, 0, "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n");
	EXPECT(f, 3, "XADD s 1-2 a b", "$3\r\n1-2");
	expect_told(f, 1, "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-2\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n");
	EXPECT(f, 3, "XACK s g 1-1 1-2", ":2");
	close_both(f);
}

/* As in Redis. */
Test(waiting, a_group_that_is_to_read_again_does_so_with_the_next_entry)
{
	struct fixture *f = open_both();
	EXPECT(f, 3, "XADD s 1-1 a b", "$3\r\n1-1");
	EXPECT(f, 3, "XGROUP CREATE s g $", "+OK");
	begin_wait(f, 0, "XREADGROUP GROUP g one BLOCK 0 STREAMS s >");
	EXPECT(f, 3, "XGROUP SETID s g 0", "+OK");
	cr_assert_eq(fixture_waits_over[f->clients[0].id], 0);
	EXPECT(f, 3, "XADD s 1-2 a b", "$3\r\n1-2");
	expect_told(f, 0,
		    "*1\r\n*2\r\n$1\r\ns\r\n*2\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
		    "*2\r\n$3\r\n1-2\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n");
	close_both(f);
}

Test(waiting, a_group_that_goes_tells_its_consumers)
{
	static const char *const ends[][2] = {
		{"DEL s", "-UNBLOCKED the stream key no longer exists\r\n"},
		{"SET s x", "-UNBLOCKED the stream key no longer exists\r\n"},
		{"FLUSHALL", "-UNBLOCKED the stream key no longer exists\r\n"},
		{"XGROUP DESTROY s g",
		 "-NOGROUP the consumer group this client was blocked on no longer exists\r\n"}};
	struct fixture *f = open_both();
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		fixture_run_line(f, 3, "DEL s");
		EXPECT(f, 3, "XGROUP CREATE s g $ MKSTREAM", "+OK");
		begin_wait(f, 0, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
		fixture_run_line(f, 3, ends[i][0]);
		expect_told(f, 0, ends[i][1]);
	}
	close_both(f);
}

/* The waiter's news, of a wait that goes on: when it is to be woken. */
static uint64_t
expect_to_be_woken(struct fixture *f, int client)
{
	uint64_t wake_ns;
	struct client *c = &f->clients[client];
	cr_assert_eq(fixture_waits_over[c->id], 1, "client %d has no news", client);
	fixture_waits_over[c->id] = 0;
	cr_assert(!f->handler.wait_news(f->handler.arg, c, &wake_ns));
	c->wait_wake_ns = wake_ns;
	return wake_ns;
}

/* What its reactor does at that moment. */
static void
wake(struct fixture *f, int client)
{
	f->handler.wake_wait(f->handler.arg, f->reactor, &f->clients[client]);
}

/* The moment was `ms` away at some time since `since_ns`; the monotonic clock is the system's. */
static void
expect_in_ms(struct fixture *f, uint64_t moment_ns, uint64_t since_ns, uint64_t ms)
{
	cr_assert_geq(moment_ns, since_ns + ms * 1000000);
	cr_assert_leq(moment_ns, clock_monotonic_ns(&f->clock) + ms * 1000000);
}

static void
begin_claims(struct fixture *f)
{
	EXPECT(f, 3, "XADD s 1-1 a b", "$3\r\n1-1");
	EXPECT(f, 3, "XGROUP CREATE s g 0", "+OK");
	EXPECT(f, 3, "XREADGROUP GROUP g one STREAMS s >",
	       "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb");
}

#define CLAIMED(idle, count)                                                                               \
	"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*4\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n:" idle "\r\n:" count \
	"\r\n"

/* Two that wait for the same one: who came first gets it, and the other waits for it from then on. */
Test(waiting, who_claims_is_woken_by_age)
{
	struct fixture *f = open_both();
	uint64_t began = clock_monotonic_ns(&f->clock);
	begin_claims(f);
	begin_wait(f, 0, "XREADGROUP GROUP g two CLAIM 20 BLOCK 0 STREAMS s >");
	begin_wait(f, 1, "XREADGROUP GROUP g three CLAIM 20 BLOCK 0 STREAMS s >");
	for (int i = 0; i < 2; i++)
		expect_in_ms(f, f->clients[i].wait_wake_ns, began, 20);
	fixture_advance(f, 20);
	wake(f, 1);
	expect_told(f, 0, CLAIMED("20", "1"));
	expect_in_ms(f, expect_to_be_woken(f, 1), began, 20);
	fixture_advance(f, 20);
	wake(f, 1);
	expect_told(f, 1, CLAIMED("20", "2"));
	cr_assert(waiting_is_empty(f->server.waiting));
	close_both(f);
}

/* Somebody who does not claim waits before one who does, and is given a new entry: so there is something to wait for. */
static void
begin_delivered_later(struct fixture *f, const char *claimer)
{
	EXPECT(f, 3, "XGROUP CREATE s g 0 MKSTREAM", "+OK");
	EXPECT(f, 3, "XGROUP CREATE other g 0 MKSTREAM", "+OK");
	begin_wait(f, 0, "XREADGROUP GROUP g one BLOCK 0 STREAMS s >");
	begin_wait(f, 1, claimer);
	cr_assert_eq(f->clients[1].wait_wake_ns, 0);
	EXPECT(f, 3, "XADD s 1-1 a b", "$3\r\n1-1");
	expect_told(f, 0, "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n");
}

Test(waiting, who_claims_is_woken_for_what_is_delivered_later)
{
	struct fixture *f = open_both();
	uint64_t began = clock_monotonic_ns(&f->clock);
	begin_delivered_later(f, "XREADGROUP GROUP g two CLAIM 20 BLOCK 0 STREAMS other s > >");
	uint64_t first = expect_to_be_woken(f, 1);
	expect_in_ms(f, first, began, 20);
	fixture_advance(f, 5);
	EXPECT(f, 3, "XCLAIM s g one 0 1-1 JUSTID", "*1\r\n$3\r\n1-1");
	fixture_advance(f, 5);
	EXPECT(f, 3, "XCLAIM s g one 0 1-1 JUSTID", "*1\r\n$3\r\n1-1");
	/* It knows of an earlier moment, and finds nothing then. */
	fixture_advance(f, 10);
	wake(f, 1);
	uint64_t second = expect_to_be_woken(f, 1);
	expect_in_ms(f, second, began, 10);
	/* At a moment that was its own before nothing happens. */
	f->clients[1].wait_wake_ns = second - 1;
	wake(f, 1);
	cr_assert_eq(fixture_waits_over[f->clients[1].id], 0);
	fixture_advance(f, 10);
	f->clients[1].wait_wake_ns = second;
	wake(f, 1);
	expect_told(f, 1, CLAIMED("20", "1"));
	close_both(f);
}

/* Its time is over while the news of another moment are under way. */
Test(waiting, a_wait_that_ends_with_news_under_way_is_over_when_they_have_come)
{
	struct fixture *f = open_both();
	uint64_t wake_ns;
	begin_delivered_later(f, "XREADGROUP GROUP g two CLAIM 20 BLOCK 5 STREAMS s >");
	cr_assert(!f->handler.end_wait(f->handler.arg, &f->clients[1], WAIT_TIMED_OUT));
	cr_assert(f->handler.wait_news(f->handler.arg, &f->clients[1], &wake_ns));
	expect_told(f, 1, "*-1\r\n");
	close_both(f);
}

/* A run that found nothing lost to a commit, and the next one found an entry. Of the lost run nothing is left that could
 * wake a later wait: its keys are those of a request that is gone. */
Test(waiting, a_run_that_lost_leaves_no_moment_behind)
{
	static const char *const waits[] = {"WAIT 1 0", "WAITAOF 0 1 0"};
	struct fixture *f = open_both();
	struct step add = {.f = f, .line = "XADD s 2-1 c d", .expected = "$3\r\n2-1\r\n"};
	begin_claims(f);
	sync_point_arm(&(struct sync_point){.name = "wait: nothing was found", .run = run_step, .arg = &add});
	EXPECT(f, 0, "XREADGROUP GROUP g two CLAIM 20000 BLOCK 0 STREAMS s >",
	       "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*4\r\n$3\r\n2-1\r\n*2\r\n$1\r\nc\r\n$1\r\nd\r\n:0\r\n:0");
	cr_assert_eq(add.ran, 1);
	cr_assert_null(f->clients[0].waiter);
	for (int i = 0; i < 2; i++) {
		begin_wait(f, 0, waits[i]);
		cr_assert_eq(f->clients[0].wait_wake_ns, 0);
		cr_assert(f->handler.end_wait(f->handler.arg, &f->clients[0], WAIT_TIMED_OUT));
		fixture_waits_over[f->clients[0].id]++;
		expect_told(f, 0, i == 0 ? ":0\r\n" : "*2\r\n:0\r\n:0\r\n");
	}
	close_both(f);
}

/* Each wait sets both of its moments. */
Test(waiting, a_wait_for_replicas_is_not_woken)
{
	struct fixture *f = open_both();
	f->clients[0].wait_wake_ns = 1;
	begin_wait(f, 0, "WAIT 1 0");
	cr_assert_eq(f->clients[0].wait_wake_ns, 0);
	cr_assert_eq(f->clients[0].wait_until_ns, 0);
	cr_assert(f->handler.end_wait(f->handler.arg, &f->clients[0], WAIT_TIMED_OUT));
	close_both(f);
}

/* Of what was deleted nothing is claimed, and it keeps nobody from what is as old. */
Test(waiting, who_claims_passes_over_what_was_deleted)
{
	struct fixture *f = open_both();
	EXPECT(f, 3, "XADD s 0-1 x y", "$3\r\n0-1");
	EXPECT(f, 3, "XGROUP CREATE s g 0", "+OK");
	EXPECT(f, 3, "XADD s 1-1 a b", "$3\r\n1-1");
	fixture_run_line(f, 3, "XREADGROUP GROUP g one STREAMS s >");
	EXPECT(f, 3, "XDEL s 0-1", ":1");
	begin_wait(f, 0, "XREADGROUP GROUP g two COUNT 1 CLAIM 20 BLOCK 0 STREAMS s >");
	fixture_advance(f, 20);
	wake(f, 0);
	expect_told(f, 0, CLAIMED("20", "1"));
	EXPECT(f, 3, "XPENDING s g",
	       "*4\r\n:1\r\n$3\r\n1-1\r\n$3\r\n1-1\r\n*1\r\n*2\r\n$3\r\ntwo\r\n$1\r\n1");
	close_both(f);
}

/* With any age, too, where nobody waits: else the reply would say that there is nothing. */
Test(waiting, who_claims_whatever_its_age_passes_over_what_was_deleted)
{
	struct fixture *f = open_both();
	for (int i = 1; i < 4; i++) {
		char line[32], id[16];
		snprintf(line, sizeof(line), "XADD s 0-%d x y", i);
		snprintf(id, sizeof(id), "$3\r\n0-%d\r\n", i);
		fixture_run_line(f, 3, line);
		cr_assert_eq(memcmp(f->reply.data, id, f->reply.size), 0);
	}
	EXPECT(f, 3, "XGROUP CREATE s g 0", "+OK");
	EXPECT(f, 3, "XADD s 1-1 a b", "$3\r\n1-1");
	fixture_run_line(f, 3, "XREADGROUP GROUP g one STREAMS s >");
	EXPECT(f, 3, "XDEL s 0-1 0-2 0-3", ":3");
	EXPECT(f, 3, "XREADGROUP GROUP g two COUNT 2 CLAIM 0 STREAMS s >",
	       "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*4\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n:0\r\n:1");
	EXPECT(f, 3, "XPENDING s g",
	       "*4\r\n:1\r\n$3\r\n1-1\r\n$3\r\n1-1\r\n*1\r\n*2\r\n$3\r\ntwo\r\n$1\r\n1");
	close_both(f);
}

#define PENDING_OF(consumer) "*4\r\n:1\r\n$3\r\n1-1\r\n$3\r\n1-1\r\n*1\r\n*2\r\n$3\r\n" consumer "\r\n$1\r\n1"

/* A consumer has read 10,001 entries, and all but the last are deleted. */
static void
begin_deleted(struct fixture *f)
{
	EXPECT(f, 3, "XGROUP CREATE s g 0 MKSTREAM", "+OK");
	for (unsigned i = 0; i < 10000; i++)
		fixture_run_line(f, 3, "XADD s 0-* x y");
	EXPECT(f, 3, "XADD s 1-1 a b", "$3\r\n1-1");
	fixture_run_line(f, 3, "XREADGROUP GROUP g one STREAMS s >");
	EXPECT(f, 3, "XTRIM s MINID 1-1", ":10000");
}

/* A reactor leaves it to the pool's lane for what takes long. */
static void
expect_long(struct fixture *f, const struct bytes *argv, size_t argc)
{
	struct request request = {.argc = argc, .argv = argv};
	cr_assert_eq(f->handler.execute(f->handler.arg, f->reactor, &f->clients[0], &request, &f->reply,
					&f->release),
		     REQUEST_MUST_WAIT_LONG);
}

/* What was deleted is removed by so many at a time, so that the transaction is not too large; never on a reactor. Who waits
 * goes on at once. */
Test(waiting, who_claims_removes_a_limited_number_of_deleted_ones_at_a_time)
{
	const struct bytes claim[] = {
		BYTES_LITERAL("XREADGROUP"), BYTES_LITERAL("GROUP"), BYTES_LITERAL("g"),
		BYTES_LITERAL("two"),        BYTES_LITERAL("COUNT"), BYTES_LITERAL("1"),
		BYTES_LITERAL("CLAIM"),      BYTES_LITERAL("20"),    BYTES_LITERAL("STREAMS"),
		BYTES_LITERAL("s"),          BYTES_LITERAL(">"),
	};
	struct fixture *f = open_both();
	begin_deleted(f);
	fixture_run_line(f, 3, "XREADGROUP GROUP g one COUNT 1 CLAIM 20000 STREAMS s >"); /* ages */
	fixture_advance(f, 20);
	expect_long(f, claim, sizeof(claim) / sizeof(claim[0]));
	begin_wait(f, 0, "XREADGROUP GROUP g two COUNT 1 CLAIM 20 BLOCK 0 STREAMS s >");
	EXPECT(f, 3, "XPENDING s g", PENDING_OF("one"));
	cr_assert_neq(f->clients[0].wait_wake_ns, 0);
	wake(f, 0);
	expect_told(f, 0, CLAIMED("20", "1"));
	EXPECT(f, 3, "XPENDING s g", PENDING_OF("two"));
	close_both(f);
}

/* The same of one that is woken: the run that has removed so many is followed by another. */
Test(waiting, who_is_woken_to_remove_deleted_ones_goes_on_at_once)
{
	struct fixture *f = open_both();
	begin_deleted(f);
	begin_wait(f, 0, "XREADGROUP GROUP g two COUNT 1 CLAIM 20 BLOCK 0 STREAMS s >");
	fixture_advance(f, 20);
	f->handler.wake_wait(f->handler.arg, f->thread, &f->clients[0]); /* as a thread of the pool would */
	expect_told(f, 0, CLAIMED("20", "1"));
	EXPECT(f, 3, "XPENDING s g", PENDING_OF("two"));
	close_both(f);
}

/* What is deleted while it waits is removed when it is woken, once for all: it is not woken for that again. */
Test(waiting, who_claims_removes_what_was_deleted_while_it_waits)
{
	struct fixture *f = open_both();
	begin_claims(f);
	begin_wait(f, 0, "XREADGROUP GROUP g two CLAIM 20 BLOCK 0 STREAMS s >");
	EXPECT(f, 3, "XDEL s 1-1", ":1");
	EXPECT(f, 3, "XPENDING s g", PENDING_OF("one"));
	fixture_advance(f, 20);
	wake(f, 0);
	EXPECT(f, 3, "XPENDING s g", "*4\r\n:0\r\n$-1\r\n$-1\r\n*-1");
	expect_waiting(f, 0);
	close_both(f);
}

/* Time claims nothing while writes are held back, by CLIENT PAUSE or by the server; the client is woken again later. */
Test(waiting, who_claims_is_not_served_while_writes_are_paused)
{
	struct fixture *f = open_both();
	begin_claims(f);
	begin_wait(f, 0, "XREADGROUP GROUP g two CLAIM 20 BLOCK 0 STREAMS s >");
	fixture_advance(f, 20);
	for (int held = 0; held < 2; held++) {
		if (held)
			pause_hold(f->server.pause);
		else
			pause_set(f->server.pause, PAUSE_WRITE, f->now_ms, f->now_ms + 60000);
		uint64_t moment = f->clients[0].wait_wake_ns;
		wake(f, 0);
		cr_assert_eq(fixture_waits_over[f->clients[0].id], 0);
		cr_assert_gt(f->clients[0].wait_wake_ns, moment);
		if (held)
			pause_release(f->server.pause);
		else
			pause_clear(f->server.pause);
	}
	EXPECT(f, 3, "XPENDING s g", PENDING_OF("one"));
	wake(f, 0);
	expect_told(f, 0, CLAIMED("20", "1"));
	close_both(f);
}

static void
hold_writes(void *arg)
{
	pause_hold(((struct fixture *)arg)->server.pause);
}

/* The hold comes once it is being served already. */
Test(waiting, who_claims_asks_again_whether_writes_are_paused_when_it_runs)
{
	struct fixture *f = open_both();
	begin_claims(f);
	begin_wait(f, 0, "XREADGROUP GROUP g two CLAIM 20 BLOCK 0 STREAMS s >");
	fixture_advance(f, 20);
	sync_point_arm(&(struct sync_point){.name = "serve: begins", .run = hold_writes, .arg = f});
	wake(f, 0);
	(void)expect_to_be_woken(f, 0);
	pause_release(f->server.pause);
	wake(f, 0);
	expect_told(f, 0, CLAIMED("20", "1"));
	close_both(f);
}

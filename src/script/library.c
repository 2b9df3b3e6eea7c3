/* The library of scripts: see script.h.
 *
 * Its one lock guards the texts, the list of interpreters and the list of long runs. It is taken when a script is compiled,
 * when one has run for some milliseconds, and by SCRIPT: never by a script that is known to its thread. No other lock is
 * taken under it. */
#include <assert.h>

#include "config/config.h"
#include "script/private.h"
#include "storage/base/hash.h"
#include "storage/base/thread.h"

enum { FIRST_BUCKETS = 64, NANOSECONDS_PER_MS = 1000000 };

struct script_library {
	struct server *server;
	struct mutex lock;
	struct script_text **buckets;
	size_t bucket_count; /* a power of two */
	uint64_t count, bytes;
	struct script_text *oldest, **newest; /* in the order in which they came */
	uint64_t generation; /* atomic: written under the lock (release), read by threads (acquire) */
	struct script_vm *vms;
	struct script_run *runs;
	uint64_t last_run;
	uint64_t shared_memory; /* atomic (relaxed): of running scripts */
};

static const struct {
	unsigned flag;
	const char *name;
} flag_names[] = {
	{SCRIPT_NO_WRITES, "no-writes"},
	{SCRIPT_ALLOW_OOM, "allow-oom"},
	{SCRIPT_ALLOW_STALE, "allow-stale"},
	{SCRIPT_NO_CLUSTER, "no-cluster"},
	{SCRIPT_ALLOW_CROSS_SLOT_KEYS, "allow-cross-slot-keys"},
};
enum { FLAG_NAMES = sizeof(flag_names) / sizeof(flag_names[0]) };

unsigned
script_flag_of(struct bytes name)
{
	for (size_t i = 0; i < FLAG_NAMES; i++)
		if (bytes_equal(name, bytes_of_string(flag_names[i].name)))
			return flag_names[i].flag;
	return 0;
}

const char *
script_flag_name(enum script_flag flag)
{
	for (size_t i = 0; i < FLAG_NAMES; i++)
		if (flag_names[i].flag == flag)
			return flag_names[i].name;
	return "";
}

/* ---- life ---- */

int
script_library_create(struct server *server, struct script_library **ret)
{
	struct script_library *l = calloc(1, sizeof(*l));
	struct script_text **buckets = calloc(FIRST_BUCKETS, sizeof(struct script_text *));
	if (l == NULL || buckets == NULL) {
		free(l);
		free(buckets);
		return SETT_NO_MEMORY;
	}
	mutex_init(&l->lock);
	l->server = server;
	l->buckets = buckets;
	l->bucket_count = FIRST_BUCKETS;
	l->generation = 1;
	l->newest = &l->oldest;
	server->listeners.script_thread_ends = script_vm_free;
	server->listeners.declared_flags = script_declared_flags;
	*ret = l;
	return SETT_OK;
}

static void
forget_all(struct script_library *l) REQUIRES(&l->lock)
{
	assert(mutex_is_mine(&l->lock));
	for (size_t i = 0; i < l->bucket_count; i++)
		while (l->buckets[i] != NULL) {
			struct script_text *t = l->buckets[i];
			l->buckets[i] = t->next;
			if (--t->references == 0)
				free(t);
		}
	l->count = l->bytes = 0;
	l->oldest = NULL;
	l->newest = &l->oldest;
}

void
script_library_destroy(struct script_library *l)
{
	if (l == NULL)
		return;
	assert(l->vms == NULL && l->runs == NULL);
	mutex_lock(&l->lock);
	forget_all(l);
	mutex_unlock(&l->lock);
	mutex_destroy(&l->lock);
	free(l->buckets);
	free(l);
}

/* ---- texts ---- */

/* The first eight digits are as good as a hash. */
static struct script_text **
bucket_of(struct script_text **buckets, size_t count, const char *sha)
{
	uint64_t hash;
	memcpy(&hash, sha, sizeof(hash));
	return &buckets[hash * 0x9e3779b97f4a7c15u >> 32 & (count - 1)];
}

static struct script_text *
find(struct script_library *l, const char *sha) REQUIRES(&l->lock)
{
	assert(mutex_is_mine(&l->lock));
	struct script_text *t = *bucket_of(l->buckets, l->bucket_count, sha);
	while (t != NULL && memcmp(t->sha, sha, SHA1_HEX_SIZE) != 0)
		t = t->next;
	return t;
}

/* Without memory for more buckets it stays as it is. */
static void
grow(struct script_library *l) REQUIRES(&l->lock)
{
	assert(mutex_is_mine(&l->lock));
	size_t count = l->bucket_count * 2;
	struct script_text **buckets = calloc(count, sizeof(struct script_text *));
	if (buckets == NULL)
		return;
	for (size_t i = 0; i < l->bucket_count; i++)
		while (l->buckets[i] != NULL) {
			struct script_text *t = l->buckets[i];
			struct script_text **bucket = bucket_of(buckets, count, t->sha);
			l->buckets[i] = t->next;
			t->next = *bucket;
			*bucket = t;
		}
	free(l->buckets);
	l->buckets = buckets;
	l->bucket_count = count;
}

/* Clients may send any number of scripts: those that came first give way, as if they had never been loaded. */
static void
forget_oldest(struct script_library *l, uint64_t limit) REQUIRES(&l->lock)
{
	assert(mutex_is_mine(&l->lock));
	while (l->bytes > limit && l->count > 1) {
		struct script_text *t = l->oldest, **at = bucket_of(l->buckets, l->bucket_count, t->sha);
		while (*at != t)
			at = &(*at)->next;
		*at = t->next;
		l->oldest = t->newer;
		l->count--;
		l->bytes -= sizeof(*t) + t->text.size;
		if (--t->references == 0)
			free(t);
	}
}

bool
script_library_take_memory(struct script_library *l, size_t size)
{
	enum { RUNS = 2 };
	/* relaxed: a count */
	uint64_t taken = __atomic_add_fetch(&l->shared_memory, size, __ATOMIC_RELAXED);
	if (taken <= RUNS * (uint64_t)script_run_memory(l->server))
		return true;
	script_library_return_memory(l, size);
	return false;
}

void
script_library_return_memory(struct script_library *l, size_t size)
{
	__atomic_sub_fetch(&l->shared_memory, size, __ATOMIC_RELAXED);
}

/* Bytes of texts that may be kept. */
static uint64_t
texts_limit(const struct script_library *l)
{
	enum { SHARE = 2, LEAST = 4 << 20 };
	/* relaxed: the number stands for itself */
	uint64_t limit = __atomic_load_n(&l->server->transaction_memory, __ATOMIC_RELAXED) / SHARE;
	return limit == 0 ? UINT64_MAX : limit > LEAST ? limit : LEAST;
}

int
script_library_add(struct script_library *l, const char sha[SHA1_HEX_SIZE + 1], struct bytes text)
{
	mutex_lock(&l->lock);
	bool is_known = find(l, sha) != NULL;
	mutex_unlock(&l->lock);
	if (is_known)
		return SETT_OK;
	struct script_text *t = malloc(sizeof(*t) + text.size);
	if (t == NULL)
		return SETT_NO_MEMORY;
	uint8_t *copy = (uint8_t *)(t + 1);
	*t = (struct script_text){.references = 1, .text = bytes_of(copy, text.size)};
	memcpy(t->sha, sha, sizeof(t->sha));
	if (text.size > 0)
		memcpy(copy, text.data, text.size);
	mutex_lock(&l->lock);
	if (find(l, sha) == NULL) {
		if (l->count >= l->bucket_count)
			grow(l);
		struct script_text **bucket = bucket_of(l->buckets, l->bucket_count, sha);
		t->next = *bucket;
		*bucket = t;
		*l->newest = t;
		l->newest = &t->newer;
		l->count++;
		l->bytes += sizeof(*t) + text.size;
		forget_oldest(l, texts_limit(l));
		t = NULL;
	}
	mutex_unlock(&l->lock);
	free(t);
	return SETT_OK;
}

struct script_text *
script_library_find(struct script_library *l, const char sha[SHA1_HEX_SIZE + 1])
{
	mutex_lock(&l->lock);
	struct script_text *t = find(l, sha);
	if (t != NULL)
		t->references++;
	mutex_unlock(&l->lock);
	return t;
}

void
script_text_release(struct script_library *l, struct script_text *t)
{
	mutex_lock(&l->lock);
	assert(t->references > 0);
	bool is_last = --t->references == 0;
	mutex_unlock(&l->lock);
	if (is_last)
		free(t);
}

bool
script_library_has(struct script_library *l, struct bytes sha)
{
	char lower[SHA1_HEX_SIZE];
	if (sha.size != SHA1_HEX_SIZE)
		return false;
	for (size_t i = 0; i < SHA1_HEX_SIZE; i++)
		lower[i] = (char)(sha.data[i] >= 'A' && sha.data[i] <= 'Z' ? sha.data[i] + 32 : sha.data[i]);
	mutex_lock(&l->lock);
	bool has = find(l, lower) != NULL;
	mutex_unlock(&l->lock);
	return has;
}

void
script_library_flush(struct script_library *l)
{
	mutex_lock(&l->lock);
	forget_all(l);
	__atomic_store_n(&l->generation, l->generation + 1, __ATOMIC_RELEASE);
	mutex_unlock(&l->lock);
}

uint64_t
script_library_generation(const struct script_library *l)
{
	return __atomic_load_n(&l->generation, __ATOMIC_ACQUIRE);
}

/* ---- interpreters ---- */

void
script_library_enter_vm(struct script_library *l, struct script_vm *vm)
{
	mutex_lock(&l->lock);
	vm->next = l->vms;
	if (l->vms != NULL)
		l->vms->previous = vm;
	l->vms = vm;
	mutex_unlock(&l->lock);
}

void
script_library_leave_vm(struct script_library *l, struct script_vm *vm)
{
	mutex_lock(&l->lock);
	if (vm->next != NULL)
		vm->next->previous = vm->previous;
	if (vm->previous != NULL)
		vm->previous->next = vm->next;
	else
		l->vms = vm->next;
	mutex_unlock(&l->lock);
}

void
script_library_stats(struct script_library *l, struct script_stats *ret)
{
	mutex_lock(&l->lock);
	*ret = (struct script_stats){.scripts = l->count, .script_bytes = l->bytes};
	for (const struct script_vm *vm = l->vms; vm != NULL; vm = vm->next) {
		ret->vm_bytes += __atomic_load_n(&vm->memory, __ATOMIC_RELAXED);
		ret->function_bytes += __atomic_load_n(&vm->function_bytes, __ATOMIC_RELAXED);
	}
	mutex_unlock(&l->lock);
}

/* ---- long runs ---- */

void
script_library_enter_run(struct script_library *l, struct script_run *run)
{
	mutex_lock(&l->lock);
	run->id = ++l->last_run;
	run->next = l->runs;
	l->runs = run;
	mutex_unlock(&l->lock);
}

void
script_library_leave_run(struct script_library *l, struct script_run *run)
{
	mutex_lock(&l->lock);
	struct script_run **p = &l->runs;
	while (*p != run)
		p = &(*p)->next;
	*p = run->next;
	mutex_unlock(&l->lock);
}

static bool
is_of_kind(const struct script_run *run, enum script_kind kind)
{
	return kind == SCRIPT_ANY || run->call->is_eval == (kind == SCRIPT_EVAL);
}

bool
script_longest_running(struct script_library *l, enum script_kind kind, struct running_script *ret)
{
	const struct script_run *longest = NULL;
	uint64_t now_ns = clock_monotonic_ns(l->server->clock);
	mutex_lock(&l->lock);
	for (const struct script_run *run = l->runs; run != NULL; run = run->next)
		if (is_of_kind(run, kind) && (longest == NULL || run->started_ns < longest->started_ns))
			longest = run;
	if (longest != NULL) {
		*ret = (struct running_script){
			.id = longest->id,
			.is_eval = longest->call->is_eval,
			.has_written = __atomic_load_n(&longest->has_written, __ATOMIC_RELAXED),
			.duration_ms = (now_ns - longest->started_ns) / NANOSECONDS_PER_MS};
		snprintf(ret->name, sizeof(ret->name), "%s", longest->call->name);
	}
	mutex_unlock(&l->lock);
	return longest != NULL;
}

static struct bytes *
copy_arguments(struct arena *arena, size_t argc, const struct bytes *argv)
{
	struct bytes *copy = arena_allocate(arena, argc * sizeof(*copy), _Alignof(struct bytes));
	for (size_t i = 0; i < argc && copy != NULL; i++) {
		copy[i] = bytes_of(arena_copy(arena, argv[i].data, argv[i].size), argv[i].size);
		if (copy[i].data == NULL)
			return NULL;
	}
	return copy;
}

int
script_running_command(struct script_library *l, uint64_t id, struct arena *arena, size_t *ret_argc,
		       struct bytes **ret_argv)
{
	int status = SETT_OK;
	*ret_argc = 0;
	mutex_lock(&l->lock);
	for (const struct script_run *run = l->runs; run != NULL; run = run->next) {
		if (run->id != id)
			continue;
		*ret_argc = run->argc;
		*ret_argv = copy_arguments(arena, run->argc, run->argv);
		if (*ret_argv == NULL)
			status = SETT_NO_MEMORY;
	}
	mutex_unlock(&l->lock);
	return status;
}

/* ---- SCRIPT KILL ---- */

static void
end_run(struct server *server, struct client *client, void *data)
{
	(void)client;
	const uint64_t *id = data;
	struct script_library *l = server->scripts;
	mutex_lock(&l->lock);
	for (struct script_run *run = l->runs; run != NULL; run = run->next)
		if (run->id == *id)
			__atomic_store_n(&run->is_killed, true, __ATOMIC_RELAXED);
	mutex_unlock(&l->lock);
}

/* What there is to kill. */
struct victims {
	uint64_t id;         /* the longest run that may be killed; 0: none */
	bool has_unkillable; /* one that has written */
	bool has_other;      /* one of the other kind */
};

static struct victims
find_victims(struct script_library *l, enum script_kind kind, bool may_have_written)
{
	uint64_t threshold_ms =
		(uint64_t)__atomic_load_n(&l->server->config->busy_reply_threshold, __ATOMIC_RELAXED);
	uint64_t now_ns = clock_monotonic_ns(l->server->clock), oldest = UINT64_MAX;
	struct victims v = {0};
	mutex_lock(&l->lock);
	for (const struct script_run *run = l->runs; run != NULL; run = run->next) {
		if ((now_ns - run->started_ns) / NANOSECONDS_PER_MS < threshold_ms)
			continue;
		if (!is_of_kind(run, kind)) {
			v.has_other = true;
		} else if (!may_have_written && __atomic_load_n(&run->has_written, __ATOMIC_RELAXED)) {
			v.has_unkillable = true;
		} else if (run->started_ns < oldest && !__atomic_load_n(&run->is_killed, __ATOMIC_RELAXED)) {
			oldest = run->started_ns;
			v.id = run->id;
		}
	}
	mutex_unlock(&l->lock);
	return v;
}

int
script_kill(struct command_context *c, enum script_kind kind)
{
	bool rolls_back = c->argc == 3 && argument_is(c->argv[2], "ROLLBACK");
	if (c->argc > 2 && !rolls_back)
		return context_wrong_arity(c);
	struct victims v = find_victims(c->server->scripts, kind, rolls_back);
	if (v.id != 0) {
		const uint64_t *id = arena_copy(c->arena, &v.id, sizeof(v.id));
		if (id == NULL)
			return SETT_NO_MEMORY;
		resp_status(c->reply, "OK");
		return context_defer(c, end_run, (void *)id);
	}
	if (v.has_unkillable)
		return context_error(
			c,
			"UNKILLABLE Sorry the script already executed write commands against the "
			"dataset. You can either wait the script termination or kill the server in "
			"a hard way using the SHUTDOWN NOSAVE command.");
	if (v.has_other)
		return context_error(
			c,
			kind == SCRIPT_EVAL
				? "BUSY Redis is busy running a script. You can only call FUNCTION KILL "
				  "or SHUTDOWN NOSAVE."
				: "BUSY Redis is busy running a script. You can only call SCRIPT KILL or "
				  "SHUTDOWN NOSAVE.");
	return context_error(c, "NOTBUSY No scripts in execution right now.");
}

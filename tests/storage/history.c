/* Histories of concurrent transactions, checked for strict serializability. A plain program: it also runs
 * under the thread sanitizer.
 *
 *     history [--seed N] [--transactions COUNT] [--edn FILE]
 *
 * Threads append unique numbers to a few lists, and read them, several operations a transaction, with flushes
 * and compactions in between. As in Elle (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from
 * Experimental Observations", VLDB 2020), a list tells the order of its writers, so the dependency graph of
 * the committed transactions is known:
 *
 *     ww  one appended right behind another's element      wr  one read a list that ends in another's element
 *     rw  one read a list to which another then appended   rt  one had ended before another began
 *
 * The history is strictly serializable if the graph has no cycle. Besides: every read is a prefix of the
 * list's last state with the reader's own appends behind it; what aborted transactions appended is nowhere.
 * The checker is itself checked against hand-made histories of each anomaly. --edn writes the history as Elle
 * reads it. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/base/random.h"
#include "storage/engine.h"

enum { KEYS = 5, THREADS = 4, MAX_OPS = 5, MAX_LIST = 4000, PAD = 700 };

struct operation {
	int key;
	bool append;
	uint32_t element;            /* appended */
	uint32_t *list, list_length; /* read */
};

struct transaction {
	unsigned thread;
	uint64_t began, ended; /* nanoseconds */
	bool committed;
	unsigned count;
	struct operation operations[MAX_OPS];
};

struct history {
	struct transaction *transactions;
	size_t count;
	const uint32_t *final[KEYS]; /* the lists' last state */
	uint32_t final_length[KEYS];
};

/* ---- the checker ---- */

struct graph {
	size_t nodes; /* transactions, then one barrier for each by order of end */
	size_t *from, *to;
	size_t edges, capacity;
	size_t *appender; /* [element]: transaction + 1, 0 = nobody */
	size_t elements;
};

static const char *
add_edge(struct graph *g, size_t from, size_t to)
{
	if (from == to)
		return NULL;
	if (g->edges == g->capacity) {
		size_t capacity = g->capacity ? 2 * g->capacity : 1024;
		size_t *f = realloc(g->from, capacity * sizeof(*f));
		if (f)
			g->from = f;
		size_t *t = realloc(g->to, capacity * sizeof(*t));
		if (t)
			g->to = t;
		if (!f || !t)
			return "out of memory";
		g->capacity = capacity;
	}
	g->from[g->edges] = from;
	g->to[g->edges++] = to;
	return NULL;
}

static const char *
find_appenders(const struct history *h, struct graph *g)
{
	for (size_t t = 0; t < h->count; t++)
		for (unsigned o = 0; o < h->transactions[t].count; o++)
			if (h->transactions[t].operations[o].append &&
			    h->transactions[t].operations[o].element >= g->elements)
				g->elements = h->transactions[t].operations[o].element + 1u;
	g->appender = calloc(g->elements + 1, sizeof(*g->appender));
	if (!g->appender)
		return "out of memory";
	for (size_t t = 0; t < h->count; t++)
		for (unsigned o = 0; o < h->transactions[t].count; o++) {
			const struct operation *op = &h->transactions[t].operations[o];
			if (op->append && h->transactions[t].committed)
				g->appender[op->element] = t + 1;
		}
	return NULL;
}

static const char *
order_writers(const struct history *h, struct graph *g)
{
	const char *why = NULL;
	size_t present = 0, expected = 0;
	for (size_t e = 0; e < g->elements; e++)
		expected += g->appender[e] != 0;
	for (int k = 0; k < KEYS; k++) {
		present += h->final_length[k];
		for (uint32_t i = 0; !why && i < h->final_length[k]; i++) {
			uint32_t e = h->final[k][i];
			if (e >= g->elements || g->appender[e] == 0)
				return "an element that nobody committed";
			if (i > 0)
				why = add_edge(g, g->appender[h->final[k][i - 1]] - 1, g->appender[e] - 1);
		}
	}
	return why ? why : present == expected ? NULL : "a committed element is lost, or there twice";
}

/* A read: own appends so far are its end, the rest is a prefix of the final list. */
static const char *
place_read(const struct history *h, struct graph *g, size_t t, unsigned at)
{
	const struct transaction *txn = &h->transactions[t];
	const struct operation *read = &txn->operations[at];
	uint32_t own = 0, n = read->list_length;
	for (unsigned o = at; o-- > 0;)
		if (txn->operations[o].append && txn->operations[o].key == read->key) {
			if (own == n || read->list[n - 1 - own] != txn->operations[o].element)
				return "a transaction does not see its own append";
			own++;
		}
	n -= own;
	if (n > h->final_length[read->key] ||
	    (n && memcmp(read->list, h->final[read->key], n * sizeof(uint32_t)) != 0))
		return "a read that is no prefix of the list";
	const char *why = NULL;
	if (n > 0)
		why = add_edge(g, g->appender[read->list[n - 1]] - 1, t);
	if (!why && n < h->final_length[read->key])
		why = add_edge(g, t, g->appender[h->final[read->key][n]] - 1);
	return why;
}

struct ending {
	uint64_t at;
	size_t transaction;
};

static int
compare_endings(const void *a, const void *b)
{
	const struct ending *x = a, *y = b;
	return x->at < y->at ? -1 : x->at > y->at;
}

/* Real time with few edges: transaction -> its barrier -> the next barrier ...; barrier -> those that began
 * after it. */
static const char *
order_time(const struct history *h, struct graph *g)
{
	struct ending *endings = calloc(h->count + 1, sizeof(*endings));
	size_t n = 0;
	const char *why = endings ? NULL : "out of memory";
	for (size_t t = 0; !why && t < h->count; t++)
		if (h->transactions[t].committed)
			endings[n++] = (struct ending){h->transactions[t].ended, t};
	if (n > 0)
		qsort(endings, n, sizeof(*endings), compare_endings);
	for (size_t i = 0; !why && i < n; i++) {
		why = add_edge(g, endings[i].transaction, h->count + i);
		if (!why && i > 0)
			why = add_edge(g, h->count + i - 1, h->count + i);
	}
	for (size_t t = 0; !why && t < h->count; t++) {
		size_t low = 0, high = n; /* endings before it began */
		while (h->transactions[t].committed && low < high) {
			size_t middle = (low + high) / 2;
			if (endings[middle].at < h->transactions[t].began)
				low = middle + 1;
			else
				high = middle;
		}
		if (low > 0)
			why = add_edge(g, h->count + low - 1, t);
	}
	free(endings);
	return why;
}

/* Takes away nodes that nothing points to until none is left, or only cycles. */
static const char *
find_cycle(struct graph *g)
{
	const char *why = "out of memory";
	size_t *degree = calloc(g->nodes + 1, sizeof(size_t)), *first = calloc(g->nodes + 2, sizeof(size_t));
	size_t *next = calloc(g->edges + 1, sizeof(size_t)), *queue = calloc(g->nodes + 1, sizeof(size_t));
	if (!degree || !first || !next || !queue)
		goto out;
	for (size_t e = 0; e < g->edges; e++) {
		degree[g->to[e]]++;
		next[e] = first[g->from[e]];
		first[g->from[e]] = e + 1;
	}
	size_t head = 0, tail = 0;
	for (size_t n = 0; n < g->nodes; n++)
		if (degree[n] == 0)
			queue[tail++] = n;
	while (head < tail)
		for (size_t e = first[queue[head++]]; e != 0; e = next[e - 1])
			if (--degree[g->to[e - 1]] == 0)
				queue[tail++] = g->to[e - 1];
	why = tail == g->nodes ? NULL : "a cycle";
out:
	free(degree);
	free(first);
	free(next);
	free(queue);
	return why;
}

/* NULL, or what is wrong with it. */
static const char *
check(const struct history *h)
{
	struct graph g = {.nodes = 2 * h->count};
	const char *why = find_appenders(h, &g);
	if (!why)
		why = order_writers(h, &g);
	for (size_t t = 0; !why && t < h->count; t++)
		for (unsigned o = 0; !why && h->transactions[t].committed && o < h->transactions[t].count;
		     o++)
			if (!h->transactions[t].operations[o].append)
				why = place_read(h, &g, t, o);
	if (!why)
		why = order_time(h, &g);
	if (!why)
		why = find_cycle(&g);
	free(g.from);
	free(g.to);
	free(g.appender);
	return why;
}

/* ---- the checker's own test ---- */

#define READ(k, n, ...)                                                           \
	{                                                                         \
		.key = (k), .list = (uint32_t[]){__VA_ARGS__}, .list_length = (n) \
	}
#define APPEND(k, e)                                       \
	{                                                  \
		.key = (k), .append = true, .element = (e) \
	}

static bool
check_checker(void)
{
	struct {
		const char *name;
		bool good;
		struct transaction t[3];
		uint32_t final[2][3], length[2];
	} cases[] = {
		{"one after the other",
		 true,
		 {{.began = 1, .ended = 2, .committed = true, .count = 1, .operations = {APPEND(0, 1)}},
		  {.began = 3,
		   .ended = 4,
		   .committed = true,
		   .count = 2,
		   .operations = {READ(0, 1, 1), APPEND(0, 2)}}},
		 {{1, 2}},
		 {2}},
		{"a lost update",
		 false,
		 {{.began = 1,
		   .ended = 4,
		   .committed = true,
		   .count = 2,
		   .operations = {READ(0, 0, 0), APPEND(0, 1)}},
		  {.began = 1,
		   .ended = 4,
		   .committed = true,
		   .count = 2,
		   .operations = {READ(0, 0, 0), APPEND(0, 2)}}},
		 {{1, 2}},
		 {2}},
		{"write skew",
		 false,
		 {{.began = 1,
		   .ended = 4,
		   .committed = true,
		   .count = 2,
		   .operations = {READ(0, 0, 0), APPEND(1, 1)}},
		  {.began = 1,
		   .ended = 4,
		   .committed = true,
		   .count = 2,
		   .operations = {READ(1, 0, 0), APPEND(0, 2)}}},
		 {{2}, {1}},
		 {1, 1}},
		{"a stale read",
		 false,
		 {{.began = 1, .ended = 2, .committed = true, .count = 1, .operations = {APPEND(0, 1)}},
		  {.began = 3, .ended = 4, .committed = true, .count = 1, .operations = {READ(0, 0, 0)}}},
		 {{1}},
		 {1}},
		{"the same read while both ran",
		 true,
		 {{.began = 1, .ended = 3, .committed = true, .count = 1, .operations = {APPEND(0, 1)}},
		  {.began = 2, .ended = 4, .committed = true, .count = 1, .operations = {READ(0, 0, 0)}}},
		 {{1}},
		 {1}},
		{"a fractured read",
		 false,
		 {{.began = 1,
		   .ended = 9,
		   .committed = true,
		   .count = 2,
		   .operations = {APPEND(0, 1), APPEND(1, 2)}},
		  {.began = 1,
		   .ended = 9,
		   .committed = true,
		   .count = 2,
		   .operations = {READ(0, 1, 1), READ(1, 0, 0)}}},
		 {{1}, {2}},
		 {1, 1}},
		{"an aborted append that stays",
		 false,
		 {{.began = 1, .ended = 2, .count = 1, .operations = {APPEND(0, 1)}}},
		 {{1}},
		 {1}},
		{"a lost append",
		 false,
		 {{.began = 1, .ended = 2, .committed = true, .count = 1, .operations = {APPEND(0, 1)}}},
		 {{0}},
		 {0}},
	};
	bool good = true;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct history h = {.transactions = cases[i].t,
				    .count = 3,
				    .final = {cases[i].final[0], cases[i].final[1]},
				    .final_length = {cases[i].length[0], cases[i].length[1]}};
		const char *why = check(&h);
		if ((why == NULL) != cases[i].good) {
			fprintf(stderr, "the checker is wrong about %s: %s\n", cases[i].name,
				why ? why : "fine");
			good = false;
		}
	}
	return good;
}

/* ---- the workload ---- */

struct shared {
	struct sett_engine *engine;
	uint32_t next_element; /* atomic (relaxed): only has to be unique */
	unsigned failures;     /* atomic (relaxed): read after the threads were joined */
};

struct worker {
	struct shared *shared;
	unsigned number;
	uint64_t seed;
	struct transaction *transactions;
	size_t count;
	uint8_t body[MAX_LIST * 4 + PAD];
};

static uint64_t
now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct bytes
key_name(int key, char name[16])
{
	int n = snprintf(name, 16, "list%d", key);
	return bytes_of(name, (size_t)n);
}

/* The list as it is, in `body`; PAD bytes behind the elements make some bodies cross the value threshold. */
static int
read_list(struct sett_txn *txn, int key, uint8_t *body, uint32_t *ret_length)
{
	char name[16];
	struct sett_record record;
	struct bytes b;
	int r = sett_txn_get(txn, key_name(key, name), &record);
	*ret_length = 0;
	if (r == SETT_NOT_FOUND)
		return SETT_OK;
	if (r == SETT_OK)
		r = sett_txn_body(txn, &record, &b);
	if (r != SETT_OK)
		return r;
	uint32_t pad = b.data[0] % 2 ? PAD : 4;
	*ret_length = (uint32_t)(b.size - pad) / 4;
	memcpy(body, b.data + pad, b.size - pad);
	return SETT_OK;
}

static int
run_operation(struct worker *w, struct sett_txn *txn, struct operation *op)
{
	char name[16];
	uint8_t *list = w->body + PAD;
	uint32_t length;
	int r = read_list(txn, op->key, list, &length);
	if (r != SETT_OK)
		return r;
	if (!op->append) {
		op->list = malloc(4 * (length ? length : 1));
		if (!op->list)
			return SETT_NO_MEMORY;
		op->list_length = length;
		memcpy(op->list, list, 4 * length);
		return SETT_OK;
	}
	if (length == MAX_LIST)
		return SETT_TOO_LARGE;
	memcpy(list + 4 * length, &op->element, 4);
	uint32_t pad = op->element % 2 ? PAD : 4;
	memset(list - pad, 0, pad);
	*(list - pad) = op->element % 2;
	return sett_txn_put(txn, key_name(op->key, name),
			    &(struct sett_put){.body = bytes_of(list - pad, pad + 4 * (length + 1))});
}

static void
plan(struct worker *w, struct random *random, struct transaction *t)
{
	t->thread = w->number;
	t->count = 1 + (unsigned)random_below(random, MAX_OPS);
	bool reads_only = random_below(random, 4) == 0;
	for (unsigned o = 0; o < t->count; o++) {
		struct operation *op = &t->operations[o];
		op->key = (int)random_below(random, KEYS);
		op->append = !reads_only && random_below(random, 2);
		if (op->append)
			op->element = __atomic_add_fetch(&w->shared->next_element, 1, __ATOMIC_RELAXED);
	}
}

static void *
work(void *arg)
{
	struct worker *w = arg;
	struct sett_engine *engine = w->shared->engine;
	struct sett_txn *txn;
	struct sett_error error;
	struct random random;
	unsigned losses = 0;
	random_seed(&random, w->seed);
	if (sett_txn_create(engine, &txn) != SETT_OK)
		abort();
	for (size_t i = 0; i < w->count; i++) {
		struct transaction *t = &w->transactions[i];
		plan(w, &random, t);
		t->began = now_ns();
		int r = sett_txn_begin(txn, 0);
		for (unsigned o = 0; r == SETT_OK && o < t->count; o++) {
			r = run_operation(w, txn, &t->operations[o]);
			if (random_below(&random, 64) == 0)
				sched_yield();
		}
		if (r == SETT_OK)
			r = sett_txn_commit(txn, NULL, NULL);
		t->ended = now_ns();
		t->committed = r == SETT_OK;
		if (r != SETT_OK && r != SETT_CONFLICT) {
			fprintf(stderr, "a transaction failed: %d\n", r);
			__atomic_add_fetch(&w->shared->failures, 1, __ATOMIC_RELAXED);
			break;
		}
		losses = r == SETT_CONFLICT ? losses + 1 : 0;
		if (losses >= 3)
			sett_txn_claim(txn);
		uint64_t what = random_below(&random, 400);
		if (what == 0)
			r = sett_engine_flush(engine, &error);
		else if (what == 1)
			r = sett_engine_compact(engine, &error);
		else
			r = what % 4 == 0 ? sett_engine_write(engine) : SETT_OK;
		if (r != SETT_OK)
			__atomic_add_fetch(&w->shared->failures, 1, __ATOMIC_RELAXED);
	}
	sett_txn_destroy(txn);
	return NULL;
}

static int
write_edn(const struct history *h, const char *path)
{
	FILE *f = fopen(path, "w");
	if (!f)
		return -1;
	for (size_t t = 0; t < h->count; t++) {
		const struct transaction *x = &h->transactions[t];
		fprintf(f, "{:type %s, :process %u, :start %llu, :time %llu, :value [",
			x->committed ? ":ok" : ":fail", x->thread, (unsigned long long)x->began,
			(unsigned long long)x->ended);
		for (unsigned o = 0; o < x->count; o++) {
			const struct operation *op = &x->operations[o];
			if (op->append) {
				fprintf(f, "[:append %d %u]", op->key, op->element);
				continue;
			}
			fprintf(f, "[:r %d [", op->key);
			for (uint32_t i = 0; i < op->list_length; i++)
				fprintf(f, "%s%u", i ? " " : "", op->list[i]);
			fputs("]]", f);
		}
		fputs("]}\n", f);
	}
	return fclose(f);
}

/* Reads the final lists, from a reopened database, into `lists`. */
static int
read_final(struct sett_engine *engine, uint32_t lists[KEYS][MAX_LIST], struct history *h)
{
	struct sett_txn *txn;
	int r = sett_txn_create(engine, &txn);
	if (r != SETT_OK)
		return r;
	r = sett_txn_begin(txn, 0);
	for (int k = 0; r == SETT_OK && k < KEYS; k++) {
		r = read_list(txn, k, (uint8_t *)lists[k], &h->final_length[k]);
		h->final[k] = lists[k];
	}
	sett_txn_destroy(txn);
	return r;
}

static int
run_threads(struct shared *shared, struct history *h, uint64_t seed)
{
	struct worker *workers = calloc(THREADS, sizeof(*workers));
	pthread_t threads[THREADS];
	size_t each = h->count / THREADS;
	if (!workers)
		return -1;
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i].shared = shared;
		workers[i].number = i;
		workers[i].seed = seed * THREADS + i;
		workers[i].transactions = h->transactions + i * each;
		workers[i].count = each;
		if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	free(workers);
	return shared->failures ? -1 : 0;
}

static const char *
run(uint64_t seed, size_t count, const char *edn)
{
	static uint32_t lists[KEYS][MAX_LIST];
	struct history h = {.count = count};
	struct shared shared = {0};
	struct sett_error error = {0};
	const char *why = "the engine failed";
	size_t committed = 0;
	struct vfs *vfs = vfs_memory_create();
	struct sett_options options = {.vfs = vfs,
				       .seed = seed,
				       .memory_budget = 2 << 20,
				       .value_threshold = 512,
				       .value_log_file_size = 256 << 10,
				       .large_commit = seed % 2 ? 2 : 0};
	h.transactions = calloc(count, sizeof(*h.transactions));
	if (!vfs || !h.transactions || sett_engine_open("db", &options, &shared.engine, &error) != SETT_OK)
		return error.message[0] ? "the database does not open" : "out of memory";
	int r = run_threads(&shared, &h, seed);
	if (sett_engine_close(shared.engine, &error) != SETT_OK)
		r = -1;
	if (r == 0 && sett_engine_open("db", &options, &shared.engine, &error) == SETT_OK) {
		if (read_final(shared.engine, lists, &h) == SETT_OK)
			why = check(&h);
		sett_engine_close(shared.engine, &error);
	}
	for (size_t t = 0; t < count; t++)
		committed += h.transactions[t].committed;
	printf("seed %llu: %zu transactions, %zu committed\n", (unsigned long long)seed, count, committed);
	if (!why && committed < count / 10)
		why = "hardly anything was committed";
	if (edn && write_edn(&h, edn) != 0)
		why = "cannot write the history";
	for (size_t t = 0; t < count; t++)
		for (unsigned o = 0; o < h.transactions[t].count; o++)
			free(h.transactions[t].operations[o].list);
	free(h.transactions);
	vfs->operations->destroy(vfs);
	return why;
}

int
main(int argc, char **argv)
{
	unsigned long long seed = 1, count = 6000;
	const char *edn = NULL;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--transactions") == 0)
			count = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--edn") == 0)
			edn = argv[i + 1];
	}
	if (argc % 2 == 0 || count < THREADS || count > KEYS * MAX_LIST / 2) {
		fputs("usage: history [--seed N] [--transactions COUNT (up to 10000)] [--edn FILE]\n",
		      stderr);
		return 2;
	}
	if (!check_checker())
		return 1;
	const char *why = run(seed, count, edn);
	if (why)
		printf("not strictly serializable: %s\n", why);
	return why ? 1 : 0;
}

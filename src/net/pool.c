/* The blocking pool.
 *
 * One mutex over two queues; each lane has its own condition. A quarter of the threads (at least one) belong
 * to the long lane; they take short jobs too when no long one waits. The rest never touch the long lane, so
 * however many KEYS are running, a cold GET finds a thread. A short job wakes a long thread only if more
 * short jobs wait than short threads sleep.
 *
 * A long job may never end: a script runs until it is killed. So when long jobs wait and none has been taken for a while,
 * the lane gets a thread more, POOL_SPARES at most. It stays.
 *
 * Lock order: the pool's mutex is a leaf; jobs run without it. */
#include "net/pool.h"

#include <assert.h>

#include "storage/base/thread.h"

enum {
	POOL_SPARES = 16, /* threads that the long lane may get beside its own */
	STUCK_MS = 300,   /* so long no long job was taken while some waited */
};

struct pool_queue {
	struct pool_job *first, *last;
	uint64_t count;
};

struct pool_worker {
	struct pool *pool;
	pthread_t thread;
	enum pool_lane lane;
};

struct pool {
	struct request_handler handler;
	const char *name;
	struct mutex mutex;
	struct condition work[POOL_LANES]; /* the lane's threads sleep on it */
	struct condition started;
	/* under the mutex */
	struct pool_queue queues[POOL_LANES];
	unsigned sleeping[POOL_LANES];
	unsigned ready; /* threads that have tried thread_start */
	int start_status;
	bool stopping;
	uint64_t long_taken, long_taken_before; /* long jobs: by now, when pool_relieve looked last */
	uint64_t stuck_since_ms;
	unsigned running; /* of `workers` */
	/* set once */
	unsigned worker_count;        /* spare ones apart */
	struct pool_worker workers[]; /* worker_count + POOL_SPARES */
};

int
pool_create(const struct request_handler *handler, const char *name, unsigned threads, struct pool **ret)
{
	if (threads < 2)
		threads = 2; /* one a lane */
	struct pool *pool = calloc(1, sizeof(*pool) + (threads + POOL_SPARES) * sizeof(pool->workers[0]));
	if (pool == NULL)
		return SETT_NO_MEMORY;
	pool->handler = *handler;
	pool->name = name;
	pool->worker_count = threads;
	unsigned long_threads = threads / 4 > 0 ? threads / 4 : 1;
	for (unsigned i = 0; i < threads + POOL_SPARES; i++) {
		pool->workers[i].pool = pool;
		pool->workers[i].lane = i < long_threads || i >= threads ? POOL_LONG : POOL_SHORT;
	}
	mutex_init(&pool->mutex);
	condition_init(&pool->work[POOL_SHORT]);
	condition_init(&pool->work[POOL_LONG]);
	condition_init(&pool->started);
	*ret = pool;
	return SETT_OK;
}

static struct pool_job *
take_from(struct pool *pool, enum pool_lane lane)
{
	struct pool_queue *queue = &pool->queues[lane];
	struct pool_job *job = queue->first;
	if (job == NULL)
		return NULL;
	queue->first = job->next;
	if (queue->first == NULL)
		queue->last = NULL;
	assert(queue->count > 0);
	queue->count--;
	pool->long_taken += lane == POOL_LONG;
	return job;
}

static struct pool_job *
take_locked(struct pool *pool, enum pool_lane lane) REQUIRES(&pool->mutex)
{
	assert(mutex_is_mine(&pool->mutex));
	struct pool_job *job = take_from(pool, lane);
	return job == NULL && lane == POOL_LONG ? take_from(pool, POOL_SHORT) : job;
}

/* The next job for a thread of this lane; NULL when the pool stops and nothing is left for it. */
static struct pool_job *
next_job(struct pool *pool, enum pool_lane lane)
{
	mutex_lock(&pool->mutex);
	struct pool_job *job;
	while ((job = take_locked(pool, lane)) == NULL && !pool->stopping) {
		pool->sleeping[lane]++;
		condition_wait(&pool->work[lane], &pool->mutex);
		pool->sleeping[lane]--;
	}
	mutex_unlock(&pool->mutex);
	return job;
}

static void *
worker_main(void *arg)
{
	struct pool_worker *worker = arg;
	struct pool *pool = worker->pool;
	void *thread = NULL;
	int status = pool->handler.thread_start(pool->handler.arg, true, &thread);
	mutex_lock(&pool->mutex);
	pool->ready++;
	if (status != SETT_OK && pool->start_status == SETT_OK)
		pool->start_status = status;
	condition_signal(&pool->started);
	mutex_unlock(&pool->mutex);
	if (status != SETT_OK)
		return NULL;
	struct pool_job *job;
	while ((job = next_job(pool, worker->lane)) != NULL)
		job->run(job, thread);
	pool->handler.thread_stop(pool->handler.arg, thread);
	return NULL;
}

static int
start_worker_locked(struct pool *pool) REQUIRES(&pool->mutex)
{
	assert(pool->running < pool->worker_count + POOL_SPARES);
	assert(mutex_is_mine(&pool->mutex));
	struct pool_worker *worker = &pool->workers[pool->running];
	char name[32];
	snprintf(name, sizeof(name), "%s%s", pool->name, worker->lane == POOL_LONG ? "-long" : "");
	int status = thread_start(&worker->thread, name, worker_main, worker);
	pool->running += status == SETT_OK;
	return status;
}

int
pool_start(struct pool *pool)
{
	int status = SETT_OK;
	mutex_lock(&pool->mutex);
	while (status == SETT_OK && pool->running < pool->worker_count)
		status = start_worker_locked(pool);
	while (pool->ready < pool->running)
		condition_wait(&pool->started, &pool->mutex);
	if (status == SETT_OK)
		status = pool->start_status;
	mutex_unlock(&pool->mutex);
	if (status != SETT_OK)
		pool_stop(pool);
	return status;
}

void
pool_submit(struct pool *pool, enum pool_lane lane, struct pool_job *job)
{
	assert(job->run != NULL);
	job->next = NULL;
	mutex_lock(&pool->mutex);
	struct pool_queue *queue = &pool->queues[lane];
	if (queue->last != NULL)
		queue->last->next = job;
	else
		queue->first = job;
	queue->last = job;
	queue->count++;
	if (lane == POOL_SHORT)
		condition_signal(&pool->work[POOL_SHORT]);
	/* A thread that was signalled counts as sleeping until it has the mutex, so compare, not just look.
	 */
	if (lane == POOL_LONG || queue->count > pool->sleeping[POOL_SHORT])
		condition_signal(&pool->work[POOL_LONG]);
	mutex_unlock(&pool->mutex);
}

void
pool_relieve(struct pool *pool, uint64_t now_ms)
{
	mutex_lock(&pool->mutex);
	if (pool->queues[POOL_LONG].count == 0 || pool->long_taken != pool->long_taken_before ||
	    now_ms < pool->stuck_since_ms) {
		pool->long_taken_before = pool->long_taken;
		pool->stuck_since_ms = now_ms;
	}
	if (now_ms - pool->stuck_since_ms >= STUCK_MS && !pool->stopping &&
	    pool->running < pool->worker_count + POOL_SPARES) {
		(void)start_worker_locked(pool); /* if it can't be, the next call tries again */
		pool->stuck_since_ms = now_ms;
	}
	mutex_unlock(&pool->mutex);
}

uint64_t
pool_queue_length(struct pool *pool)
{
	mutex_lock(&pool->mutex);
	uint64_t waiting = pool->queues[POOL_SHORT].count + pool->queues[POOL_LONG].count;
	mutex_unlock(&pool->mutex);
	return waiting;
}

void
pool_stop(struct pool *pool)
{
	mutex_lock(&pool->mutex);
	pool->stopping = true;
	condition_broadcast(&pool->work[POOL_SHORT]);
	condition_broadcast(&pool->work[POOL_LONG]);
	mutex_unlock(&pool->mutex);
	for (unsigned i = 0; i < pool->running; i++)
		thread_join(pool->workers[i].thread);
	pool->running = 0;
}

void
pool_destroy(struct pool *pool)
{
	if (pool == NULL)
		return;
	condition_destroy(&pool->started);
	condition_destroy(&pool->work[POOL_LONG]);
	condition_destroy(&pool->work[POOL_SHORT]);
	mutex_destroy(&pool->mutex);
	free(pool);
}

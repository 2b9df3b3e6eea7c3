/* The pause is one word, so that commands read deadline and mode together without a lock: the deadline in
 * milliseconds shifted left by two, and the mode in the low bits. Writers take a mutex: they combine the old
 * state with the new one. Holds are a number beside it. The word orders nothing but itself (relaxed). */
#include "txn/pause.h"

#include <assert.h>

#include "storage/base/thread.h"
#include "storage/status.h"

enum { MODE_BITS = 2, MODE_MASK = 3 };

struct pause_state {
	struct mutex lock; /* writers */
	uint64_t word;     /* atomic */
	unsigned holds;    /* atomic: of writes, by the server itself */
};

int
pause_create(struct pause_state **ret)
{
	struct pause_state *p = calloc(1, sizeof(*p));
	if (p == NULL)
		return SETT_NO_MEMORY;
	mutex_init(&p->lock);
	*ret = p;
	return SETT_OK;
}

void
pause_destroy(struct pause_state *p)
{
	if (p == NULL)
		return;
	mutex_destroy(&p->lock);
	free(p);
}

void
pause_set(struct pause_state *p, enum pause_mode mode, uint64_t now_ms, uint64_t until_ms)
{
	mutex_lock(&p->lock);
	uint64_t old = __atomic_load_n(&p->word, __ATOMIC_RELAXED);
	if (now_ms >= old >> MODE_BITS)
		old = 0; /* over, though nobody has said so yet */
	uint64_t old_until = old >> MODE_BITS, old_mode = old & MODE_MASK;
	if (until_ms > UINT64_MAX >> MODE_BITS)
		until_ms = UINT64_MAX >> MODE_BITS;
	if (old_until > until_ms)
		until_ms = old_until;
	if (old_mode > (uint64_t)mode)
		mode = (enum pause_mode)old_mode;
	__atomic_store_n(&p->word, until_ms << MODE_BITS | (uint64_t)mode, __ATOMIC_RELAXED);
	mutex_unlock(&p->lock);
}

void
pause_clear(struct pause_state *p)
{
	mutex_lock(&p->lock);
	__atomic_store_n(&p->word, 0, __ATOMIC_RELAXED);
	mutex_unlock(&p->lock);
}

bool
pause_expire(struct pause_state *p, uint64_t now_ms)
{
	mutex_lock(&p->lock);
	uint64_t word = __atomic_load_n(&p->word, __ATOMIC_RELAXED);
	bool over = word != 0 && now_ms >= word >> MODE_BITS;
	if (over)
		__atomic_store_n(&p->word, 0, __ATOMIC_RELAXED);
	mutex_unlock(&p->lock);
	return over;
}

enum pause_mode
pause_mode_at(const struct pause_state *p, uint64_t now_ms)
{
	uint64_t word = __atomic_load_n(&p->word, __ATOMIC_RELAXED);
	if (word != 0 && now_ms < word >> MODE_BITS)
		return (enum pause_mode)(word & MODE_MASK);
	return __atomic_load_n(&p->holds, __ATOMIC_RELAXED) > 0 ? PAUSE_WRITE : PAUSE_NONE;
}

uint64_t
pause_until(const struct pause_state *p)
{
	if (__atomic_load_n(&p->holds, __ATOMIC_RELAXED) > 0)
		return UINT64_MAX >> MODE_BITS;
	return __atomic_load_n(&p->word, __ATOMIC_RELAXED) >> MODE_BITS;
}

void
pause_hold(struct pause_state *p)
{
	__atomic_add_fetch(&p->holds, 1, __ATOMIC_RELAXED);
}

void
pause_release(struct pause_state *p)
{
	unsigned before = __atomic_fetch_sub(&p->holds, 1, __ATOMIC_RELAXED);
	assert(before > 0);
}

/* See turns.h. One mutex guards the table; it is taken once a tick and hot key, and for a moment. Two words of a turn are read
 * without it: `key`, since a key that is not hot must cost nothing, and `holder`, in which only a holder finds itself. */
#include "txn/turns.h"

#include <assert.h>
#include <stdlib.h>

#include "storage/base/thread.h"
#include "storage/status.h"

enum { TURNS = 256 }; /* hot keys at a time; a power of two */

static const uint64_t HOT_NS = 1000000000; /* since it was last fought for */
static const uint64_t TURN_NS = 1000000;   /* then those who wait go first */
static const uint64_t KEPT_NS = 100000;    /* for the one that was woken */

/* Under the lock, but for what is said. */
struct turn {
	uint64_t key; /* 0: none; atomic (relaxed: it stands for itself), stored under the lock */
	struct turn_holder *holder; /* NULL: nobody; likewise */
	uint64_t waiting;           /* atomic, likewise: bits of reactors */
	uint64_t next;              /* the bit of the reactor for which it is kept, or 0 */
	uint64_t kept_until_ns;
	uint64_t since_ns; /* the holder's own: when it took the turn */
	uint64_t hot_until_ns;
} __attribute__((aligned(64)));

struct turns {
	struct turn turns[TURNS]; /* a key's place follows from it */
	struct mutex lock;
	void (*wake)(void *arg, unsigned reactor);
	void *arg;
	uint64_t hot_until_ns; /* atomic (relaxed: it stands for itself), stored under the lock: of any */
};

int
turns_create(void (*wake)(void *arg, unsigned reactor), void *arg, struct turns **ret)
{
	struct turns *all = aligned_alloc(64, sizeof(*all));
	if (all == NULL)
		return SETT_NO_MEMORY;
	*all = (struct turns){.wake = wake, .arg = arg};
	mutex_init(&all->lock);
	*ret = all;
	return SETT_OK;
}

void
turns_destroy(struct turns *all)
{
	if (all == NULL)
		return;
	mutex_destroy(&all->lock);
	free(all);
}

static struct turn *
place_of(struct turns *all, uint64_t key)
{
	return &all->turns[key % TURNS];
}

uint64_t
turns_hot_until(const struct turns *all)
{
	return __atomic_load_n(&all->hot_until_ns, __ATOMIC_RELAXED);
}

static void
heat_locked(struct turns *all, struct turn *t, uint64_t now_ns) REQUIRES(&all->lock)
{
	assert(mutex_is_mine(&all->lock));
	t->hot_until_ns = now_ns + HOT_NS;
	if (t->hot_until_ns > turns_hot_until(all))
		__atomic_store_n(&all->hot_until_ns, t->hot_until_ns, __ATOMIC_RELAXED);
}

static bool
is_cool(const struct turn *t, uint64_t now_ns)
{
	return t->key == 0 || (t->holder == NULL && t->waiting == 0 && now_ns > t->hot_until_ns);
}

void
turns_heat(struct turns *all, uint64_t key, uint64_t now_ns)
{
	struct turn *t = place_of(all, key);
	if (key == 0)
		return;
	mutex_lock(&all->lock);
	if (t->key != key && is_cool(t, now_ns)) {
		__atomic_store_n(&t->key, key, __ATOMIC_RELAXED);
		t->next = 0;
	}
	/* Else two hot keys have one place: the later one stays as if it were cool. */
	if (t->key == key)
		heat_locked(all, t, now_ns);
	mutex_unlock(&all->lock);
}

static void
set_waiting_locked(struct turn *t, uint64_t bit, bool waits)
{
	assert((bit & (bit - 1)) == 0);
	__atomic_store_n(&t->waiting, waits ? t->waiting | bit : t->waiting & ~bit, __ATOMIC_RELAXED);
}

static bool
take_locked(struct turns *all, struct turn *t, struct turn_holder *h, uint64_t key, uint64_t now_ns)
	REQUIRES(&all->lock)
{
	assert(mutex_is_mine(&all->lock));
	uint64_t own = 1ULL << h->reactor;
	if (t->key != key)
		return true;
	if (is_cool(t, now_ns)) {
		__atomic_store_n(&t->key, 0, __ATOMIC_RELAXED);
		return true;
	}
	bool is_kept = t->next != 0 && t->next != own && now_ns < t->kept_until_ns;
	if (t->holder != NULL || is_kept) {
		set_waiting_locked(t, own, true);
		heat_locked(all, t, now_ns);
		h->refused = key;
		return false;
	}
	set_waiting_locked(t, own, false);
	t->next = 0;
	t->since_ns = now_ns;
	__atomic_store_n(&t->holder, h, __ATOMIC_RELAXED);
	assert(h->count < TURNS_HELD_MAX && t->key == key);
	h->held[h->count++] = t;
	return true;
}

bool
turns_take(struct turns *all, struct turn_holder *h, uint64_t key, uint64_t now_ns)
{
	struct turn *t = place_of(all, key);
	if (__atomic_load_n(&t->key, __ATOMIC_RELAXED) != key || key == 0 ||
	    __atomic_load_n(&t->holder, __ATOMIC_RELAXED) == h || h->count == TURNS_HELD_MAX ||
	    h->reactor >= TURNS_REACTORS_MAX)
		return true;
	mutex_lock(&all->lock);
	bool taken = take_locked(all, t, h, key, now_ns);
	mutex_unlock(&all->lock);
	return taken;
}

/* The bit of the reactor that is to be woken, or 0. */
static uint64_t
give_up_locked(struct turn *t, const struct turn_holder *h, uint64_t now_ns)
{
	assert(t->holder == h);
	__atomic_store_n(&t->holder, NULL, __ATOMIC_RELAXED);
	if (t->waiting == 0)
		return 0;
	/* The next number above its own, or else the first. */
	uint64_t above = t->waiting & ~((2ULL << h->reactor) - 1);
	uint64_t from = above != 0 ? above : t->waiting;
	t->next = from & -from;
	assert(t->next != 0);
	t->kept_until_ns = now_ns + KEPT_NS;
	set_waiting_locked(t, t->next, false); /* it waits anew if it comes too late */
	return t->next;
}

static void
wake(const struct turns *all, uint64_t reactors)
{
	for (; reactors != 0; reactors &= reactors - 1)
		all->wake(all->arg, (unsigned)__builtin_ctzll(reactors));
}

static bool
has_to_yield(const struct turn *t, uint64_t now_ns)
{
	return __atomic_load_n(&t->waiting, __ATOMIC_RELAXED) != 0 && now_ns > t->since_ns + TURN_NS;
}

void
turns_yield(struct turns *all, struct turn_holder *h, uint64_t now_ns)
{
	uint64_t woken = 0;
	for (unsigned i = h->count; i-- > 0;) {
		if (!has_to_yield(h->held[i], now_ns))
			continue;
		mutex_lock(&all->lock);
		woken |= give_up_locked(h->held[i], h, now_ns);
		mutex_unlock(&all->lock);
		h->held[i] = h->held[--h->count];
	}
	wake(all, woken);
}

void
turns_give_up(struct turns *all, struct turn_holder *h, uint64_t now_ns)
{
	uint64_t woken = 0;
	mutex_lock(&all->lock);
	while (h->count > 0)
		woken |= give_up_locked(h->held[--h->count], h, now_ns);
	mutex_unlock(&all->lock);
	wake(all, woken);
}

/* Named moments in the code at which a test may step in: between two steps that are atomic only as long as an
 * invariant is kept, a test runs something of its own, or holds the thread until another one has done so.
 * Without SETT_SYNC_POINTS, which only builds with tests define, a SYNC_POINT is nothing. */
#ifndef SETT_STORAGE_BASE_SYNC_POINT_H
#define SETT_STORAGE_BASE_SYNC_POINT_H

#ifdef SETT_SYNC_POINTS

struct sync_point {
	const char *name;
	void (*run)(void *arg); /* on the thread that came by; may arm again */
	void *arg;
};

/* The next thread that comes to the point runs it, once. One point is armed at a time: the last one; NULL for
 * none. The point must live until it ran or another was armed. Any thread. */
void sync_point_arm(struct sync_point *);
void sync_point_reach(const char *name);

#define SYNC_POINT(name) sync_point_reach(name)
#else
#define SYNC_POINT(name) ((void)0)
#endif

#endif

/* See salvage_check.h. */
#include "salvage_check.h"

#include <stdlib.h>

#include "storage/base/hash.h"
#include "storage/inspect.h"
#include "storage/keyring.h"
#include "storage/salvage.h"
#include "support.h"

enum { KEY_MAX = 64, RANGES_MAX = 64 };

/* A version of a key, without what lies in the value log: that has a checksum seeded with its place, which is part of it. */
struct version {
	size_t key_size;
	uint8_t key[KEY_MAX];
	uint64_t timestamp;
	uint64_t digest; /* of head, deadline, size of the body, and the body if it is inline */
	uint64_t body;   /* of the body, of what a salvage has given */
};
struct versions {
	struct version *list;
	size_t count, capacity;
};

struct salvage_check {
	struct vfs *vfs;       /* that of the keyring, while the undamaged directory is read */
	const uint8_t *master; /* NULL: it is not encrypted */
	struct versions all;   /* in tables and log */
	struct versions given; /* by a salvage */
	uint64_t commits;      /* of the log */
	uint64_t timestamp;    /* of the commit that is being read */
};

static void
add(struct versions *v, struct bytes key, uint64_t timestamp, uint64_t digest, uint64_t body)
{
	if (v->count == v->capacity) {
		v->capacity = v->capacity ? 2 * v->capacity : 256;
		v->list = reallocarray(v->list, v->capacity, sizeof(*v->list));
		cr_assert_not_null(v->list);
	}
	struct version *n = &v->list[v->count++];
	cr_assert_leq(key.size, KEY_MAX);
	*n = (struct version){.key_size = key.size, .timestamp = timestamp, .digest = digest, .body = body};
	memcpy(n->key, key.data, key.size);
}

static uint64_t
digest_of(struct bytes head, uint64_t expires_at, uint64_t body_size, struct bytes inline_body)
{
	uint64_t d = hash64_bytes(head, expires_at + 1);
	d = hash64_bytes(inline_body, d);
	return d ^ hash64(&body_size, sizeof(body_size), d);
}

static struct bytes
key_of(const struct version *v)
{
	return bytes_of(v->key, v->key_size);
}

static int
compare(const void *a, const void *b)
{
	const struct version *x = a, *y = b;
	int c = bytes_compare(key_of(x), key_of(y));
	return c != 0 ? c : x->timestamp < y->timestamp ? -1 : x->timestamp > y->timestamp;
}

static const struct version *
find(const struct versions *v, struct bytes key, uint64_t timestamp)
{
	struct version wanted = {.key_size = key.size, .timestamp = timestamp};
	memcpy(wanted.key, key.data, key.size);
	return bsearch(&wanted, v->list, v->count, sizeof(*v->list), compare);
}

/* ---- undamaged ---- */

static int
on_item(void *arg, const struct sett_item *item)
{
	struct salvage_check *c = arg;
	const struct sett_stored_entry *e = &item->entry;
	if (item->kind == SETT_ITEM_COMMIT)
		c->timestamp = item->timestamp;
	if (item->kind != SETT_ITEM_ENTRY || e->kind == SETT_STORED_TOMBSTONE)
		return SETT_OK;
	uint64_t size = e->kind == SETT_STORED_POINTER ? e->body_size : e->body.size;
	add(&c->all, e->key, item->timestamp ? item->timestamp : c->timestamp,
	    digest_of(e->head, e->expires_at, size, e->body), 0);
	return SETT_OK;
}

static int
read_file(void *arg, const char *name)
{
	struct salvage_check *c = arg;
	enum sett_file_kind kind;
	uint64_t number;
	char path[SETT_TEST_PATH];
	struct sett_error error = {0};
	if (!sett_file_classify(name, &kind, &number) || (kind != SETT_FILE_TABLE && kind != SETT_FILE_LOG))
		return SETT_OK;
	snprintf(path, sizeof(path), "db/%s", name);
	MUST(sett_read_file(c->vfs, path, kind, number, on_item, c, &error), &error);
	return SETT_OK;
}

/* ---- a salvage ---- */

struct range {
	struct buffer from, to;
	bool has_to;
};
struct salvaging {
	struct range ranges[RANGES_MAX];
	size_t count;
	bool any;
	struct versions given;
	struct sett_salvage_figures figures;
};

static void
on_finding(void *arg, const struct sett_salvage_finding *f)
{
	struct salvaging *s = arg;
	bool is_key = f->kind == SETT_SALVAGE_KEY;
	struct bytes from = is_key ? f->key : f->from, to = is_key ? f->key : f->to;
	cr_assert_not_null(strstr(f->text, "db"), "%s", f->text);
	if (f->kind == SETT_SALVAGE_NOTE)
		return;
	if (from.data == NULL || s->count == RANGES_MAX) {
		s->any = true;
		return;
	}
	struct range *r = &s->ranges[s->count++];
	r->has_to = to.data != NULL;
	cr_assert_eq(buffer_append(&r->from, from.data, from.size), SETT_OK);
	if (r->has_to)
		cr_assert_eq(buffer_append(&r->to, to.data, to.size), SETT_OK);
}

static bool
may_be_lost(const struct salvaging *s, struct bytes key)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct range *r = &s->ranges[i];
		if (bytes_compare(key, buffer_bytes(&r->from)) >= 0 &&
		    (!r->has_to || bytes_compare(key, buffer_bytes(&r->to)) <= 0))
			return true;
	}
	return s->any;
}

static void
run(struct vfs *vfs, const char *damage, struct salvaging *s)
{
	struct sett_salvage *salvage;
	struct sett_salvage_entry e;
	struct sett_error error = {0};
	const struct sett_salvage_options options = {.vfs = vfs, .on_finding = on_finding, .arg = s};
	int r = sett_salvage_open("db", &options, &salvage, &error);
	cr_assert_eq(r, SETT_OK, "%s: %s", damage, error.message);
	while ((r = sett_salvage_next(salvage, &e, &error)) == SETT_OK) {
		cr_assert(!e.is_streamed);
		if (s->given.count > 0)
			cr_assert_lt(bytes_compare(key_of(&s->given.list[s->given.count - 1]), e.key), 0,
				     "%s", damage);
		/* Whether the body was inline is not told: both digests are tried. */
		add(&s->given, e.key, e.timestamp, digest_of(e.head, e.expires_at, e.body_size, e.body),
		    digest_of(e.head, e.expires_at, e.body_size, (struct bytes){0}));
	}
	cr_assert_eq(r, SETT_NOT_FOUND, "%s: %s", damage, error.message);
	sett_salvage_figures(salvage, &s->figures);
	sett_salvage_close(salvage);
}

static void
free_salvaging(struct salvaging *s)
{
	for (size_t i = 0; i < s->count; i++) {
		buffer_free(&s->ranges[i].from);
		buffer_free(&s->ranges[i].to);
	}
	free(s->given.list);
}

/* The file system to read it by; `ret` NULL: it is not encrypted. */
static struct vfs *
open_keys(struct vfs *vfs, const uint8_t *master, const char *damage, struct keyring **ret)
{
	struct sett_error error = {0};
	*ret = NULL;
	if (master == NULL)
		return vfs;
	int r = sett_keyring_open(vfs, "db", master, ret, &error);
	cr_assert_eq(r, SETT_OK, "%s: %s", damage, error.message);
	return sett_keyring_vfs(*ret);
}

struct salvage_check *
salvage_check_create(struct vfs *vfs, const uint8_t *master)
{
	struct keyring *keys;
	struct salvage_check *c = calloc(1, sizeof(*c));
	struct sett_error error = {0};
	struct salvaging s = {0};
	cr_assert_not_null(c);
	c->master = master;
	c->vfs = open_keys(vfs, master, "nothing", &keys);
	MUST(vfs_list(vfs, "db", read_file, c, &error), &error);
	cr_assert_gt(c->all.count, 0);
	qsort(c->all.list, c->all.count, sizeof(*c->all.list), compare);
	run(c->vfs, "nothing", &s);
	c->vfs = NULL;
	sett_keyring_close(keys);
	cr_assert_eq(s.figures.lost + s.figures.lost_keys, 0);
	cr_assert(s.figures.has_manifest);
	c->given = s.given;
	c->commits = s.figures.commits;
	s.given = (struct versions){0};
	free_salvaging(&s);
	return c;
}

void
salvage_check_destroy(struct salvage_check *c)
{
	free(c->all.list);
	free(c->given.list);
	free(c);
}

bool
salvage_check_run(const struct salvage_check *c, struct vfs *damaged, const char *damage)
{
	struct salvaging s = {0};
	struct keyring *keys;
	uint64_t operations = vfs_memory_operation_count(damaged);
	run(open_keys(damaged, c->master, damage, &keys), damage, &s);
	sett_keyring_close(keys);
	cr_assert_eq(vfs_memory_operation_count(damaged), operations, "%s: something was changed", damage);
	for (size_t i = 0; i < s.given.count; i++) {
		const struct version *v = &s.given.list[i], *there = find(&c->all, key_of(v), v->timestamp);
		cr_assert_not_null(there, "%s: a version that never was", damage);
		cr_assert(there->digest == v->digest || there->digest == v->body,
			  "%s: a version that was another", damage);
	}
	/* A log that ends earlier between two records is a shorter log. */
	bool is_shorter = s.figures.commits < c->commits;
	for (size_t i = 0; i < c->given.count && !is_shorter; i++) {
		const struct version *v = &c->given.list[i];
		const struct version *now = find(&s.given, key_of(v), v->timestamp);
		cr_assert(may_be_lost(&s, key_of(v)) || (now != NULL && now->digest == v->digest),
			  "%s: a key is lost, and no word of it", damage);
	}
	for (size_t i = 0; i < s.given.count && !is_shorter; i++) {
		const struct version *v = &s.given.list[i];
		cr_assert(may_be_lost(&s, key_of(v)) || find(&c->given, key_of(v), v->timestamp) != NULL,
			  "%s: a key came back, and no word of it", damage);
	}
	bool is_lost = s.figures.lost + s.figures.lost_keys > 0 || is_shorter;
	free_salvaging(&s);
	return is_lost;
}

#include "acl/denials.h"

#include <stdlib.h>

#include "loop/list.h"
#include "storage/base/thread.h"
#include "storage/status.h"

enum {
	ALIKE_WITHIN_MS = 60000,
	LOOKED_AT = 10,  /* of the newest, for one that is alike */
	TEXT_MAX = 4096, /* bytes kept of an object, or of a name */
};

struct entry {
	struct list_link link;
	struct acl_denial denial; /* its texts are in `text`, but for the client's */
	struct buffer client;
	uint8_t text[];
};

struct acl_denials {
	struct mutex lock;
	struct list_link entries; /* newest last; under the lock, as the next one */
	size_t count;
};

int
acl_denials_create(struct acl_denials **ret)
{
	struct acl_denials *denials = calloc(1, sizeof(*denials));
	if (denials == NULL)
		return SETT_NO_MEMORY;
	mutex_init(&denials->lock);
	list_init(&denials->entries);
	*ret = denials;
	return SETT_OK;
}

static void
remove_entry(struct acl_denials *denials, struct entry *e)
{
	list_remove(&e->link);
	denials->count--;
	buffer_free(&e->client);
	free(e);
}

/* Keeps so many of the newest. */
static void
trim(struct acl_denials *denials, uint64_t most)
{
	while (denials->count > most)
		remove_entry(denials, list_entry(denials->entries.next, struct entry, link));
}

void
acl_denials_destroy(struct acl_denials *denials)
{
	if (denials == NULL)
		return;
	trim(denials, 0);
	mutex_destroy(&denials->lock);
	free(denials);
}

static bool
are_alike(const struct acl_denial *a, const struct acl_denial *b)
{
	uint64_t apart = a->time_ms > b->time_ms ? a->time_ms - b->time_ms : b->time_ms - a->time_ms;
	return a->reason == b->reason && a->context == b->context && apart <= ALIKE_WITHIN_MS &&
		bytes_equal(a->object, b->object) && bytes_equal(a->username, b->username);
}

static struct entry *
find_alike(struct acl_denials *denials, const struct acl_denial *what)
{
	int looked_at = 0;
	for (struct list_link *l = denials->entries.previous; l != &denials->entries && looked_at < LOOKED_AT;
	     l = l->previous, looked_at++) {
		struct entry *e = list_entry(l, struct entry, link);
		if (are_alike(&e->denial, what))
			return e;
	}
	return NULL;
}

static struct entry *
make_entry(const struct acl_denial *what)
{
	struct entry *e = calloc(1, sizeof(*e) + what->object.size + what->username.size);
	if (e == NULL)
		return NULL;
	uint8_t *username = e->text + what->object.size;
	if (what->object.size > 0)
		memcpy(e->text, what->object.data, what->object.size);
	if (what->username.size > 0)
		memcpy(username, what->username.data, what->username.size);
	e->denial = *what;
	e->denial.object = bytes_of(e->text, what->object.size);
	e->denial.username = bytes_of(username, what->username.size);
	e->denial.count = 0;
	return e;
}

static int
add_locked(struct acl_denials *denials, const struct acl_denial *what, struct buffer *client)
{
	struct entry *e = find_alike(denials, what);
	if (e == NULL) {
		e = make_entry(what);
		if (e == NULL)
			return SETT_NO_MEMORY;
		denials->count++;
	}
	struct buffer before = e->client;
	e->client = *client;
	*client = before;
	e->denial.client = buffer_bytes(&e->client);
	e->denial.time_ms = what->time_ms;
	e->denial.count++;
	list_remove(&e->link);
	list_append(&denials->entries, &e->link);
	return SETT_OK;
}

static struct bytes
cut(struct bytes text)
{
	return bytes_of(text.data, text.size < TEXT_MAX ? text.size : TEXT_MAX);
}

int
acl_denials_add(struct acl_denials *denials, const struct acl_denial *what, uint64_t most)
{
	struct acl_denial kept = *what;
	struct buffer client = {0};
	kept.object = cut(what->object);
	kept.username = cut(what->username);
	int status = buffer_append(&client, what->client.data, what->client.size);
	if (status != SETT_OK)
		return status;
	mutex_lock(&denials->lock);
	status = add_locked(denials, &kept, &client);
	trim(denials, most);
	mutex_unlock(&denials->lock);
	buffer_free(&client); /* of the entry that it replaces */
	return status;
}

void
acl_denials_reset(struct acl_denials *denials)
{
	mutex_lock(&denials->lock);
	trim(denials, 0);
	mutex_unlock(&denials->lock);
}

void
acl_denials_each(struct acl_denials *denials, uint64_t most, void (*begin)(void *arg, size_t count),
		 void (*each)(void *arg, const struct acl_denial *), void *arg)
{
	mutex_lock(&denials->lock);
	size_t count = denials->count < most ? denials->count : (size_t)most;
	begin(arg, count);
	struct list_link *l = denials->entries.previous;
	for (size_t i = 0; i < count; i++, l = l->previous)
		each(arg, &list_entry(l, struct entry, link)->denial);
	mutex_unlock(&denials->lock);
}

/* Nodes, their two states and the changes between them.
 *
 * Invariants
 *  - current = durable with all remembered changes applied in order; likewise for a directory's entries.
 *  - `last_change` points at the NULL that ends the list. */
#include "memory_node.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "storage/status.h"

struct memory_node *
memory_node_new(bool is_directory, uint64_t id)
{
	struct memory_node *n = calloc(1, sizeof *n);
	if (n == NULL)
		return NULL;
	n->references = 1;
	n->is_directory = is_directory;
	n->id = id;
	n->last_change = &n->first_change;
	n->last_entry_change = &n->first_entry_change;
	return n;
}

struct memory_node *
memory_node_ref(struct memory_node *n)
{
	n->references++;
	return n;
}

static void
directory_change_free(struct memory_directory_change *c)
{
	free(c->from);
	free(c->to);
	memory_node_unref(c->node);
	free(c);
}

static void
forget_entry_changes(struct memory_node *n)
{
	for (struct memory_directory_change *c = n->first_entry_change, *next; c != NULL; c = next) {
		next = c->next;
		directory_change_free(c);
	}
	n->first_entry_change = NULL;
	n->last_entry_change = &n->first_entry_change;
}

void
memory_node_unref(struct memory_node *n)
{
	if (n == NULL)
		return;
	assert(n->references > 0);
	if (--n->references > 0)
		return;
	for (struct memory_file_change *c = n->first_change, *next; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	memory_content_free(&n->current);
	memory_content_free(&n->durable);
	forget_entry_changes(n);
	memory_entries_free(&n->entries);
	memory_entries_free(&n->durable_entries);
	free(n);
}

/* ---- files ---- */

int
memory_change_apply(const struct memory_file_change *c, struct memory_content *content)
{
	switch (c->kind) {
	case MEMORY_WRITE:
		return memory_content_write(content, c->data, (size_t)c->size, c->offset);
	case MEMORY_ALLOCATE:
		return c->size <= content->size ? SETT_OK : memory_content_resize(content, c->size);
	case MEMORY_TRUNCATE:
		return memory_content_resize(content, c->size);
	}
	abort();
}

/* Applies a new change to the current content and remembers it; takes `c`. */
static int
add_change(struct memory_node *n, struct memory_file_change *c)
{
	int status = memory_change_apply(c, &n->current);
	if (status != SETT_OK) {
		free(c);
		return status;
	}
	assert(!n->is_volatile);
	c->next = NULL;
	c->number = ++n->changes;
	*n->last_change = c;
	n->last_change = &c->next;
	return SETT_OK;
}

static int
write_through(struct memory_node *n, const struct iovec *iov, int count, uint64_t offset)
{
	int status = SETT_OK;
	for (int i = 0; status == SETT_OK && i < count; i++) {
		if (iov[i].iov_len > 0)
			status = memory_content_write(&n->current, iov[i].iov_base, iov[i].iov_len, offset);
		offset += iov[i].iov_len;
	}
	return status;
}

int
memory_file_write(struct memory_node *n, const struct iovec *iov, int count, uint64_t offset)
{
	size_t size = 0;
	for (int i = 0; i < count; i++) {
		if (iov[i].iov_len > MEMORY_CONTENT_MAX - size)
			return SETT_NO_SPACE;
		size += iov[i].iov_len;
	}
	if (size == 0)
		return SETT_OK;
	if (n->is_volatile)
		return write_through(n, iov, count, offset);
	struct memory_file_change *c = malloc(sizeof *c + size);
	if (c == NULL)
		return SETT_NO_MEMORY;
	c->kind = MEMORY_WRITE;
	c->offset = offset;
	c->size = size;
	size_t at = 0;
	for (int i = 0; i < count; i++) {
		if (iov[i].iov_len > 0)
			memcpy(c->data + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	return add_change(n, c);
}

int
memory_file_resize(struct memory_node *n, enum memory_change_kind kind, uint64_t size)
{
	if (n->is_volatile)
		return memory_change_apply(&(struct memory_file_change){.kind = kind, .size = size},
					   &n->current);
	struct memory_file_change *c = malloc(sizeof *c);
	if (c == NULL)
		return SETT_NO_MEMORY;
	c->kind = kind;
	c->offset = 0;
	c->size = size;
	return add_change(n, c);
}

int
memory_file_sync(struct memory_node *n, uint64_t until)
{
	while (n->first_change != NULL && n->first_change->number <= until) {
		struct memory_file_change *c = n->first_change;
		int status = memory_change_apply(c, &n->durable);
		if (status != SETT_OK)
			return status;
		n->first_change = c->next;
		if (n->first_change == NULL)
			n->last_change = &n->first_change;
		free(c);
	}
	return SETT_OK;
}

/* ---- directories ---- */

/* The first entry not before `name`. */
static size_t
lower_bound(const struct memory_entries *e, const char *name)
{
	size_t low = 0, high = e->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(e->list[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool
stands_at(const struct memory_entries *e, size_t i, const char *name)
{
	return i < e->count && strcmp(e->list[i].name, name) == 0;
}

struct memory_node *
memory_entries_find(const struct memory_entries *e, const char *name)
{
	size_t i = lower_bound(e, name);
	return stands_at(e, i, name) ? e->list[i].node : NULL;
}

static int
entries_reserve(struct memory_entries *e, size_t count)
{
	if (count <= e->capacity)
		return SETT_OK;
	size_t capacity = count > 2 * e->capacity ? count : 2 * e->capacity;
	struct memory_entry *list = realloc(e->list, capacity * sizeof *list);
	if (list == NULL)
		return SETT_NO_MEMORY;
	e->list = list;
	e->capacity = capacity;
	return SETT_OK;
}

int
memory_entries_set(struct memory_entries *e, const char *name, struct memory_node *node)
{
	size_t i = lower_bound(e, name);
	if (stands_at(e, i, name)) {
		struct memory_node *old = e->list[i].node;
		e->list[i].node = memory_node_ref(node);
		memory_node_unref(old);
		return SETT_OK;
	}
	int status = entries_reserve(e, e->count + 1);
	if (status != SETT_OK)
		return status;
	char *copy = strdup(name);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	memmove(e->list + i + 1, e->list + i, (e->count - i) * sizeof *e->list);
	e->list[i] = (struct memory_entry){copy, memory_node_ref(node)};
	e->count++;
	return SETT_OK;
}

void
memory_entries_remove(struct memory_entries *e, const char *name)
{
	size_t i = lower_bound(e, name);
	if (!stands_at(e, i, name))
		return;
	struct memory_entry gone = e->list[i];
	e->count--;
	memmove(e->list + i, e->list + i + 1, (e->count - i) * sizeof *e->list);
	free(gone.name);
	memory_node_unref(gone.node);
}

int
memory_entries_copy(struct memory_entries *to, const struct memory_entries *from)
{
	struct memory_entries copy = {0};
	int status = SETT_OK;
	for (size_t i = 0; status == SETT_OK && i < from->count; i++)
		status = memory_entries_set(&copy, from->list[i].name, from->list[i].node);
	if (status != SETT_OK) {
		memory_entries_free(&copy);
		return status;
	}
	*to = copy;
	return SETT_OK;
}

void
memory_entries_free(struct memory_entries *e)
{
	for (size_t i = 0; i < e->count; i++) {
		free(e->list[i].name);
		memory_node_unref(e->list[i].node);
	}
	free(e->list);
	*e = (struct memory_entries){0};
}

int
memory_directory_change_apply(const struct memory_directory_change *c, struct memory_entries *e)
{
	if (c->to != NULL) {
		int status = memory_entries_set(e, c->to, c->node);
		if (status != SETT_OK)
			return status;
	}
	if (c->from != NULL)
		memory_entries_remove(e, c->from);
	return SETT_OK;
}

int
memory_directory_change(struct memory_node *directory, const char *from, const char *to,
			struct memory_node *node)
{
	struct memory_directory_change *c = calloc(1, sizeof *c);
	if (c == NULL)
		return SETT_NO_MEMORY;
	if ((from != NULL && (c->from = strdup(from)) == NULL) ||
	    (to != NULL && (c->to = strdup(to)) == NULL))
		goto no_memory;
	if (node != NULL)
		c->node = memory_node_ref(node);
	if (memory_directory_change_apply(c, &directory->entries) != SETT_OK)
		goto no_memory;
	if (directory->is_volatile) {
		directory_change_free(c);
		return SETT_OK;
	}
	*directory->last_entry_change = c;
	directory->last_entry_change = &c->next;
	return SETT_OK;
no_memory:
	directory_change_free(c);
	return SETT_NO_MEMORY;
}

int
memory_directory_sync(struct memory_node *directory)
{
	if (directory->is_volatile)
		return SETT_OK;
	struct memory_entries copy;
	int status = memory_entries_copy(&copy, &directory->entries);
	if (status != SETT_OK)
		return status;
	memory_entries_free(&directory->durable_entries);
	directory->durable_entries = copy;
	forget_entry_changes(directory);
	return SETT_OK;
}

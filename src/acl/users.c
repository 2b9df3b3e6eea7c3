/* See users.h. */
#include "acl/users.h"

#include <assert.h>
#include <stdlib.h>

#include "storage/base/thread.h"
#include "storage/status.h"

struct acl_users {
	const struct command_table *commands;
	const int *channels_are_open;
	struct log_sink sink;
	uint64_t next_id; /* atomic (relaxed): numbers that differ */
	struct mutex lock;
	struct acl_set *published; /* under the lock */
	/* Atomic: released when a set is published, acquired by who asks whether what it knows still holds. */
	uint64_t number;
	unsigned default_flags; /* atomic (relaxed): of the default user */
};

static const struct bytes default_name = {(const uint8_t *)"default", 7};

struct acl_terms
acl_terms_of(const struct acl_users *users)
{
	/* relaxed: the directive stands for itself */
	bool open = __atomic_load_n(users->channels_are_open, __ATOMIC_RELAXED) != 0;
	return (struct acl_terms){
		.commands = users->commands, .channels_are_open = open, .sink = &users->sink};
}

/* ---- sets ---- */

struct acl_set *
acl_set_create(void)
{
	struct acl_set *set = calloc(1, sizeof(*set));
	if (set != NULL)
		set->references = 1;
	return set;
}

struct acl_set *
acl_set_copy(const struct acl_set *from)
{
	struct acl_set *set = acl_set_create();
	if (set == NULL)
		return NULL;
	set->capacity = from->count + 1;
	set->users = calloc(set->capacity, sizeof(*set->users));
	if (set->users == NULL) {
		free(set);
		return NULL;
	}
	for (size_t i = 0; i < from->count; i++) {
		acl_user_hold(from->users[i]);
		set->users[i] = from->users[i];
	}
	set->count = from->count;
	return set;
}

void
acl_set_share(struct acl_set *set)
{
	/* relaxed: who adds a reference has one */
	__atomic_add_fetch(&set->references, 1, __ATOMIC_RELAXED);
}

void
acl_set_release(struct acl_set *set)
{
	/* The last one sees what the others did with it: acquire and release, with themselves. */
	if (set == NULL || __atomic_sub_fetch(&set->references, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (size_t i = 0; i < set->count; i++)
		acl_user_release(set->users[i]);
	free(set->users);
	free(set);
}

/* Where the user is, or would be. */
static size_t
place_of(const struct acl_set *set, struct bytes name, bool *ret_found)
{
	size_t low = 0, high = set->count;
	*ret_found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = bytes_compare(set->users[middle]->name, name);
		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct acl_user *
acl_set_find(const struct acl_set *set, struct bytes name)
{
	bool found;
	size_t at = place_of(set, name, &found);
	return found ? set->users[at] : NULL;
}

struct acl_user *
acl_set_present(const struct acl_set *set, const struct acl_user *user)
{
	struct acl_user *found = acl_set_find(set, user->name);
	return found != NULL && found->id == user->id ? found : NULL;
}

int
acl_set_put(struct acl_set *set, struct acl_user *user)
{
	bool found;
	size_t at = place_of(set, user->name, &found);
	if (found) {
		acl_user_release(set->users[at]);
		set->users[at] = user;
		return SETT_OK;
	}
	if (set->count == set->capacity) {
		size_t capacity = set->capacity > 0 ? 2 * set->capacity : 8;
		struct acl_user **grown = reallocarray(set->users, capacity, sizeof(*grown));
		if (grown == NULL) {
			acl_user_release(user);
			return SETT_NO_MEMORY;
		}
		set->users = grown;
		set->capacity = capacity;
	}
	memmove(&set->users[at + 1], &set->users[at], (set->count - at) * sizeof(*set->users));
	set->users[at] = user;
	set->count++;
	return SETT_OK;
}

bool
acl_set_remove(struct acl_set *set, struct bytes name)
{
	bool found;
	size_t at = place_of(set, name, &found);
	if (!found)
		return false;
	acl_user_release(set->users[at]);
	memmove(&set->users[at], &set->users[at + 1], (--set->count - at) * sizeof(*set->users));
	return true;
}

/* ---- the users ---- */

int
acl_users_create(const struct command_table *commands, const int *channels_are_open, struct log_sink sink,
		 struct acl_users **ret)
{
	struct acl_users *users = calloc(1, sizeof(*users));
	struct acl_set *set = acl_set_create();
	assert(commands->row_count <= ACL_COMMANDS_MAX);
	if (users == NULL || set == NULL) {
		free(users);
		free(set);
		return SETT_NO_MEMORY;
	}
	users->commands = commands;
	users->channels_are_open = channels_are_open;
	users->sink = sink;
	mutex_init(&users->lock);
	struct acl_user *user = acl_new_default_user(users);
	if (user == NULL || acl_set_put(set, user) != SETT_OK) {
		acl_set_release(set);
		acl_users_destroy(users);
		return SETT_NO_MEMORY;
	}
	acl_publish(users, set);
	*ret = users;
	return SETT_OK;
}

void
acl_users_destroy(struct acl_users *users)
{
	if (users == NULL)
		return;
	acl_set_release(users->published);
	mutex_destroy(&users->lock);
	free(users);
}

uint64_t
acl_number(const struct acl_users *users)
{
	return __atomic_load_n(&users->number, __ATOMIC_ACQUIRE);
}

bool
acl_has_no_password(const struct acl_users *users)
{
	return (__atomic_load_n(&users->default_flags, __ATOMIC_RELAXED) & ACL_USER_NO_PASSWORD) != 0;
}

bool
acl_asks_for_login(const struct acl_users *users)
{
	unsigned flags = __atomic_load_n(&users->default_flags, __ATOMIC_RELAXED);
	return (flags & ACL_USER_NO_PASSWORD) == 0 || (flags & ACL_USER_OFF) != 0;
}

struct acl_set *
acl_set_hold(struct acl_users *users)
{
	mutex_lock(&users->lock);
	struct acl_set *set = users->published;
	acl_set_share(set);
	mutex_unlock(&users->lock);
	return set;
}

struct acl_user *
acl_default_user(struct acl_users *users)
{
	struct acl_set *set = acl_set_hold(users);
	struct acl_user *user = acl_set_find(set, default_name);
	acl_user_hold(user);
	acl_set_release(set);
	return user;
}

void
acl_publish(struct acl_users *users, struct acl_set *set)
{
	const struct acl_user *user = acl_set_find(set, default_name);
	assert(user != NULL);
	mutex_lock(&users->lock);
	struct acl_set *before = users->published;
	set->number = users->number + 1;
	users->published = set;
	__atomic_store_n(&users->default_flags, user->flags, __ATOMIC_RELAXED);
	__atomic_store_n(&users->number, set->number, __ATOMIC_RELEASE);
	mutex_unlock(&users->lock);
	acl_set_release(before);
}

struct acl_user *
acl_new_user(struct acl_users *users, struct bytes name)
{
	struct acl_terms terms = acl_terms_of(users);
	return acl_user_create(name, __atomic_add_fetch(&users->next_id, 1, __ATOMIC_RELAXED), &terms);
}

struct acl_user *
acl_new_default_user(struct acl_users *users)
{
	static const char *const rules[] = {"+@all", "~*", "&*", "on", "nopass"};
	struct acl_terms terms = acl_terms_of(users);
	struct acl_user *user = acl_new_user(users, default_name);
	for (size_t i = 0; user != NULL && i < sizeof(rules) / sizeof(*rules); i++)
		if (acl_user_apply(user, &terms, bytes_of_string(rules[i])) != ACL_FINE) {
			acl_user_release(user);
			return NULL;
		}
	return user;
}

/* ---- changes ---- */

static int
complain(void *arg, enum acl_fault fault, struct bytes rule)
{
	*(struct acl_complaint *)arg = (struct acl_complaint){.fault = fault, .rule = rule};
	return SETT_INVALID;
}

/* Applies the rules to a user of the caller's own, who goes into the set, or is thrown away. */
static int
apply_and_put(struct acl_users *users, struct acl_set *set, struct acl_user *user, const struct bytes *rules,
	      size_t count, struct arena *arena, struct acl_complaint *ret)
{
	struct acl_terms terms = acl_terms_of(users);
	if (user == NULL)
		return SETT_NO_MEMORY;
	int status = acl_user_apply_all(user, &terms, arena, rules, count, complain, ret);
	if (status == SETT_OK)
		return acl_set_put(set, user);
	acl_user_release(user);
	return status;
}

int
acl_set_modify(struct acl_users *users, struct acl_set *set, struct bytes name, const struct bytes *rules,
	       size_t count, struct arena *arena, struct acl_complaint *ret)
{
	const struct acl_user *before = acl_set_find(set, name);
	struct acl_user *user = before != NULL ? acl_user_copy(before) : acl_new_user(users, name);
	return apply_and_put(users, set, user, rules, count, arena, ret);
}

int
acl_set_define(struct acl_users *users, struct acl_set *set, struct bytes name, const struct bytes *rules,
	       size_t count, struct arena *arena, struct acl_complaint *ret)
{
	struct acl_terms terms = acl_terms_of(users);
	const struct acl_user *before = acl_set_find(set, name);
	struct acl_user *user = before != NULL ? acl_user_copy(before) : acl_new_user(users, name);
	if (user != NULL && before != NULL &&
	    acl_user_apply(user, &terms, BYTES_LITERAL("reset")) != ACL_FINE) {
		acl_user_release(user);
		return SETT_NO_MEMORY;
	}
	return apply_and_put(users, set, user, rules, count, arena, ret);
}

int
acl_set_password(struct acl_users *users, struct acl_set *set, struct bytes password)
{
	struct acl_terms terms = acl_terms_of(users);
	struct acl_user *user = acl_user_copy(acl_set_find(set, default_name));
	struct buffer rule = {0};
	if (user == NULL)
		return SETT_NO_MEMORY;
	int status = buffer_append(&rule, ">", 1);
	if (status == SETT_OK)
		status = buffer_append(&rule, password.data, password.size);
	struct bytes last = password.size > 0 ? buffer_bytes(&rule) : BYTES_LITERAL("nopass");
	if (status == SETT_OK &&
	    (acl_user_apply(user, &terms, BYTES_LITERAL("resetpass")) != ACL_FINE ||
	     acl_user_apply(user, &terms, last) != ACL_FINE))
		status = SETT_NO_MEMORY;
	buffer_free(&rule);
	if (status == SETT_OK)
		return acl_set_put(set, user);
	acl_user_release(user);
	return status;
}

int
acl_describe_set(struct acl_users *users, const struct acl_set *set, struct buffer *ret)
{
	struct acl_terms terms = acl_terms_of(users);
	int status = SETT_OK;
	for (size_t i = 0; i < set->count && status == SETT_OK; i++) {
		status = acl_describe_line(set->users[i], &terms, ret);
		if (status == SETT_OK)
			status = buffer_append(ret, "\n", 1);
	}
	return status;
}

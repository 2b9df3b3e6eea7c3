/* See messages.h. */
#include "pubsub/messages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pubsub/topics.h"
#include "pubsub/tracked_keys.h"
#include "storage/status.h"

void
message_list_add(struct message_list *list, struct message *m)
{
	if (list->last != NULL)
		list->last->next = m;
	else
		list->first = m;
	list->last = m;
}

/* A message whose channel is `prefix` and `channel`. */
static struct message *
create(enum message_kind kind, struct bytes prefix, struct bytes channel, struct bytes text)
{
	size_t channel_size = prefix.size + channel.size;
	struct message *m = malloc(sizeof(*m) + channel_size + text.size);
	if (m == NULL)
		return NULL;
	*m = (struct message){.kind = kind, .channel_size = channel_size, .size = text.size};
	if (prefix.size > 0)
		memcpy(m->bytes, prefix.data, prefix.size);
	if (channel.size > 0)
		memcpy(m->bytes + prefix.size, channel.data, channel.size);
	if (text.size > 0)
		memcpy(m->bytes + channel_size, text.data, text.size);
	m->hash = topic_hash(message_channel(m));
	return m;
}

struct message *
message_create(enum message_kind kind, struct bytes channel, struct bytes text)
{
	return create(kind, (struct bytes){0}, channel, text);
}

static int
make(struct message_list *list, enum message_kind kind, struct bytes prefix, struct bytes channel,
     struct bytes text)
{
	struct message *m = create(kind, prefix, channel, text);
	if (m == NULL)
		return SETT_NO_MEMORY;
	message_list_add(list, m);
	return SETT_OK;
}

static int
make_event(struct message_list *list, const struct effect *e, unsigned events)
{
	char prefix[40];
	struct bytes name = bytes_of_string(e->event);
	int status = SETT_OK;
	if ((events & EVENT_BY_KEY) != 0) {
		int size = snprintf(prefix, sizeof(prefix), "__keyspace@%u__:", e->db);
		status = make(list, MESSAGE_CHANNEL, bytes_of(prefix, (size_t)size), e->channel, name);
	}
	if (status == SETT_OK && (events & EVENT_BY_NAME) != 0) {
		int size = snprintf(prefix, sizeof(prefix), "__keyevent@%u__:", e->db);
		status = make(list, MESSAGE_CHANNEL, bytes_of(prefix, (size_t)size), name, e->channel);
	}
	return status;
}

int
messages_create(const struct effect *first, unsigned events, struct message_list *ret)
{
	static const enum message_kind kinds[] = {[EFFECT_MESSAGE] = MESSAGE_CHANNEL,
						  [EFFECT_SHARD_MESSAGE] = MESSAGE_SHARD,
						  [EFFECT_LINE] = MESSAGE_LINE};
	int status = SETT_OK;
	*ret = (struct message_list){0};
	for (const struct effect *e = first; e != NULL && status == SETT_OK; e = e->next) {
		if (e->kind == EFFECT_EVENT)
			status = make_event(ret, e, events);
		else if (e->kind != EFFECT_COMMAND)
			status = make(ret, kinds[e->kind], (struct bytes){0}, e->channel, e->message);
	}
	if (status != SETT_OK)
		messages_free(ret);
	return status;
}

uint64_t
messages_count(const struct effect *first, const struct effect *last, unsigned events)
{
	unsigned per_event = ((events & EVENT_BY_KEY) != 0) + ((events & EVENT_BY_NAME) != 0);
	uint64_t count = 0;
	for (const struct effect *e = first; last != NULL && e != NULL; e = e == last ? NULL : e->next)
		count += e->kind == EFFECT_EVENT ? per_event : e->kind != EFFECT_COMMAND;
	return count;
}

void
messages_free(struct message_list *list)
{
	while (list->first != NULL) {
		struct message *m = list->first;
		list->first = m->next;
		if (m->kind == MESSAGE_KEY)
			tracked_key_free(m->detail);
		else
			free(m->detail);
		free(m);
	}
	list->last = NULL;
}

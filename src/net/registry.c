/* The registry of clients: see registry.h. */
#include "net/registry.h"

#include "acl/user.h"
#include "net/net_private.h"

void
registry_init(struct registry *g)
{
	list_init(&g->clients);
	mutex_init(&g->mutex);
	g->next_id = 1;
}

void
registry_destroy(struct registry *g)
{
	mutex_destroy(&g->mutex);
}

void
registry_add(struct net *net, struct connection *c)
{
	mutex_lock(&net->registry.mutex);
	c->client.id = net->registry.next_id++;
	list_append(&net->registry.clients, &c->registry_link);
	mutex_unlock(&net->registry.mutex);
}

void
registry_remove(struct net *net, struct connection *c)
{
	mutex_lock(&net->registry.mutex);
	list_remove(&c->registry_link);
	mutex_unlock(&net->registry.mutex);
}

uint64_t
net_take_client_id(struct net *net)
{
	mutex_lock(&net->registry.mutex);
	uint64_t id = net->registry.next_id++;
	mutex_unlock(&net->registry.mutex);
	return id;
}

static int
each(struct net *net, bool killed_too, int (*call)(void *arg, struct client *), void *arg)
{
	int result = 0;
	mutex_lock(&net->registry.mutex);
	for (struct list_link *l = net->registry.clients.next; l != &net->registry.clients && result == 0;
	     l = l->next) {
		struct connection *c = list_entry(l, struct connection, registry_link);
		/* relaxed: set under the same lock */
		if (killed_too || !__atomic_load_n(&c->killed, __ATOMIC_RELAXED))
			result = call(arg, &c->client);
	}
	mutex_unlock(&net->registry.mutex);
	return result;
}

int
registry_each(struct net *net, int (*call)(void *arg, struct client *), void *arg)
{
	return each(net, true, call, arg);
}

int
net_each_client(struct net *net, int (*call)(void *arg, struct client *), void *arg)
{
	return each(net, false, call, arg);
}

void
net_with_clients(struct net *net, void (*run)(void *arg), void *arg)
{
	mutex_lock(&net->registry.mutex);
	run(arg);
	mutex_unlock(&net->registry.mutex);
}

void
net_set_client_user(struct net *net, struct client *client, struct acl_user *user)
{
	mutex_lock(&net->registry.mutex);
	struct acl_user *before = client->user;
	client->user = user;
	mutex_unlock(&net->registry.mutex);
	acl_user_release(before);
}

int
net_set_client_name(struct net *net, struct client *client, struct bytes name)
{
	struct buffer fresh = {0};
	int status = buffer_append(&fresh, name.data, name.size);
	if (status != SETT_OK)
		return status;
	mutex_lock(&net->registry.mutex);
	struct buffer old = client->name;
	client->name = fresh;
	client_keeps(client, KEPT_NAME, fresh.capacity);
	mutex_unlock(&net->registry.mutex);
	buffer_free(&old);
	return SETT_OK;
}

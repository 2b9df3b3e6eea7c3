/* The registry of clients: see registry.h. */
#include "net/registry.h"

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

int
net_each_client(struct net *net, int (*each)(void *arg, struct client *), void *arg)
{
	int result = 0;
	mutex_lock(&net->registry.mutex);
	for (struct list_link *l = net->registry.clients.next; l != &net->registry.clients && result == 0;
	     l = l->next)
		result = each(arg, &list_entry(l, struct connection, registry_link)->client);
	mutex_unlock(&net->registry.mutex);
	return result;
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
	mutex_unlock(&net->registry.mutex);
	buffer_free(&old);
	return SETT_OK;
}

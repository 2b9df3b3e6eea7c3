/* See held_writes.h. */
#include "moving/held_writes.h"

#include "net/net.h"
#include "repl/replication.h"
#include "txn/pause.h"

void
writes_hold(struct server *server)
{
	pause_hold(server->pause);
	replication_hold(server->replication);
}

void
writes_release(struct server *server)
{
	replication_release(server->replication);
	pause_release(server->pause);
	net_resume_paused(server->net);
}

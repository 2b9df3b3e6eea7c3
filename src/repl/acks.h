/* WAIT and WAITAOF: clients that wait until replicas have acknowledged what they wrote; and SHUTDOWN, which waits for the same.
 *
 * Such a wait belongs to its client, whose request is blocked (net/blocked.h). It ends when enough replicas have said so, or
 * by its time, or with the client, or when the server becomes a replica; an acknowledgement that ends it posts the client's
 * message. */
#ifndef SETT_REPL_ACKS_H
#define SETT_REPL_ACKS_H

#include "net/net.h"
#include "repl/replication.h"
#include "resp/writer.h"

struct ack_wait;

struct ack_wish {
	uint64_t offset;   /* of the stream; 0: nothing was written */
	uint64_t replicas; /* at least so many */
	bool durable;      /* WAITAOF: on their disks */
	bool here;         /* WAITAOF: and on this server's, for which `timestamp` must be durable */
	uint64_t timestamp;
	bool shutdown; /* SHUTDOWN: until it comes to nothing */
};
struct ack_count {
	bool here;
	uint64_t replicas;
};
/* How many have it now. True: it is enough. */
bool acks_count(struct replication *, const struct ack_wish *, struct ack_count *ret);
/* Makes the client a waiter until that time (monotonic; 0: for ever), and asks replicas; its request then answers that it is
 * blocked. SETT_NO_MEMORY. */
int acks_wait(struct replication *, struct client *, const struct ack_wish *, uint64_t until_ns);
/* Ends the client's wait, if nobody else has: else its message follows, or was posted. On its reactor. */
bool acks_end(struct client *);
/* The server has become a replica: ends all, with an error, and closes the connections, as Redis does. */
void acks_end_all(struct replication *);
/* A shutdown has come to nothing. */
void acks_end_shutdown(struct replication *);
/* The reply of a wait that is over; forgets the wait. */
void acks_reply(struct client *, struct resp_writer *reply);
/* The client goes. */
void acks_forget(struct client *);

#endif

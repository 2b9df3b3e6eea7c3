/* What a client wants to be sure of when it reads a reply. */
#ifndef SETT_NET_DURABILITY_H
#define SETT_NET_DURABILITY_H

/* Where a commit must have got to before a reply that depends on it may leave. */
enum durability {
	DURABILITY_DEFAULT, /* where `appendfsync` says */
	DURABILITY_WRITTEN, /* in the log's file */
	DURABILITY_SYNC,    /* on the disk */
	DURABILITIES
};

#endif

/* A reactor's cron: every CRON_MS it checks a share of the connections for time-outs, output limits and buffers to be
 * shrunk. On the reactor's thread. */
#ifndef SETT_NET_CRON_H
#define SETT_NET_CRON_H

struct reactor;

/* connections_arm_cron starts it; it goes on while there are connections. */
void cron_init(struct reactor *);

#endif

/* base/rcu.c: to be written. */

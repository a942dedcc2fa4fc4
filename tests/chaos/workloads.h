/* workloads.h - the workloads, for the list in main.c. */
#ifndef SKUA_TESTS_CHAOS_WORKLOADS_H
#define SKUA_TESTS_CHAOS_WORKLOADS_H

struct chaos;

/* tasks.c */
void chaos_trees(struct chaos *chaos);
void chaos_ping_pong(struct chaos *chaos);
void chaos_timers(struct chaos *chaos);
void chaos_blocking(struct chaos *chaos);
void chaos_outsiders(struct chaos *chaos);

/* net.c */
void chaos_echo(struct chaos *chaos);
void chaos_closing(struct chaos *chaos);

/* runtimes.c */
void chaos_runtimes(struct chaos *chaos);
void chaos_lifecycle(struct chaos *chaos);

#endif /* SKUA_TESTS_CHAOS_WORKLOADS_H */

/*
 * cpus.h - which CPUs this process may use, how many of them are worth a worker, and lists of CPUs
 * as text.
 */
#ifndef SKUA_RUNTIME_CPUS_H
#define SKUA_RUNTIME_CPUS_H

/* No runtime has more workers than this. */
#define SK_CPUS_MAX 512

/*
 * How many CPUs this process can keep busy: those in its affinity mask, or fewer if the quota of
 * its control groups says so; 1 to SK_CPUS_MAX. Any thread; reads a few small files on Linux.
 */
int sk_cpus_available(void);

/* The same with the control groups of a made-up tree: see sk_cgroup_quota. */
int sk_cpus_available_in(const char *root);

/*
 * Reads a list such as "0-3,6" into `cpus`, in the order of the text; at most `capacity` are
 * stored. Any thread.
 *
 * Returns how many the list has, at least 1; -EINVAL if it is not such a list; -EEXIST if a CPU is
 * in it twice, -ENODEV if this process may not use one (`culprit` gets its number in both cases);
 * -ENOTSUP where threads cannot be kept on CPUs.
 */
int sk_cpus_parse(const char *text, int *cpus, int capacity, int *culprit);

#endif /* SKUA_RUNTIME_CPUS_H */

/*
 * cgroup.h - how much CPU time the control groups of Linux allow this process.
 */
#ifndef SKUA_RUNTIME_CGROUP_H
#define SKUA_RUNTIME_CGROUP_H

/*
 * The CPU quota of this process in whole CPUs, rounded up, at most SK_CPUS_MAX; 0 = no limit that
 * can be read. `root` goes before every path that is opened: "" for the real files, the directory
 * of a made-up tree in tests. Any thread; reads a few small files of the kernel.
 */
int sk_cgroup_quota(const char *root);

#endif /* SKUA_RUNTIME_CGROUP_H */

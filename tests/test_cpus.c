/*
 * test_cpus.c - the CPUs of this process: quotas of made-up control group trees, lists of CPUs,
 * the count that "auto" stands for.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity, nftw */
#endif

#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "runtime/cgroup.h"
#include "runtime/cpus.h"

/* ---- A made-up tree ---- */

static char tree[64];

static void tree_begin(void)
{
	snprintf(tree, sizeof tree, "/tmp/skua-cgroup-XXXXXX");
	T_ASSERT(mkdtemp(tree) != NULL);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return remove(path);
}

/* The quota of the tree, which is gone after this. */
static int tree_quota(void)
{
	int quota = sk_cgroup_quota(tree);

	nftw(tree, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return quota;
}

/* Writes a file of the tree, and makes the directories above it. */
static void tree_file(const char *name, const char *content)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof path, "%s%s", tree, name);
	for (char *slash = path + strlen(tree) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		T_ASSERT(mkdir(path, 0700) == 0 || errno == EEXIST);
		*slash = '/';
	}
	file = fopen(path, "w");
	T_ASSERT(file != NULL);
	T_ASSERT(fputs(content, file) >= 0);
	T_EQ(fclose(file), 0);
}

#define ROOT_LINE "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"

/* Our group is `group`, and the mount at /sys/fs/cgroup shows `top`. */
static void tree_version2(const char *group, const char *top)
{
	char text[512];

	tree_begin();
	snprintf(text, sizeof text, "0::%s\n", group);
	tree_file("/proc/self/cgroup", text);
	snprintf(text, sizeof text,
		 ROOT_LINE "30 22 0:26 %s /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n",
		 top);
	tree_file("/proc/self/mountinfo", text);
}

static void tree_version1(const char *group, const char *top)
{
	char text[512];

	tree_begin();
	snprintf(text, sizeof text, "5:memory:/other\n4:cpu,cpuacct:%s\n1:name=systemd:/\n", group);
	tree_file("/proc/self/cgroup", text);
	snprintf(text, sizeof text,
		 ROOT_LINE
		 "33 22 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
		 "34 22 0:32 %s /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
		 top);
	tree_file("/proc/self/mountinfo", text);
}

/* ---- Version 2 ---- */

T_TEST(cgroup2, whole_cpus)
{
	tree_version2("/a", "/");
	tree_file("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
	T_EQ(tree_quota(), 3);
}

T_TEST(cgroup2, fraction_is_rounded_up)
{
	tree_version2("/a", "/");
	tree_file("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
	T_EQ(tree_quota(), 2);
}

T_TEST(cgroup2, less_than_one_cpu_is_one)
{
	tree_version2("/a", "/");
	tree_file("/sys/fs/cgroup/a/cpu.max", "1000 100000\n");
	T_EQ(tree_quota(), 1);
}

T_TEST(cgroup2, period_counts)
{
	tree_version2("/a", "/");
	tree_file("/sys/fs/cgroup/a/cpu.max", "100000 20000\n");
	T_EQ(tree_quota(), 5);
}

T_TEST(cgroup2, max_is_no_limit)
{
	tree_version2("/a", "/");
	tree_file("/sys/fs/cgroup/a/cpu.max", "max 100000\n");
	T_EQ(tree_quota(), 0);
}

T_TEST(cgroup2, parent_is_smaller)
{
	tree_version2("/a/b/c", "/");
	tree_file("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
	tree_file("/sys/fs/cgroup/a/b/cpu.max", "800000 100000\n");
	tree_file("/sys/fs/cgroup/a/cpu.max", "200000 100000\n");
	T_EQ(tree_quota(), 2);
}

T_TEST(cgroup2, child_is_smaller)
{
	tree_version2("/a/b", "/");
	tree_file("/sys/fs/cgroup/a/b/cpu.max", "100000 100000\n");
	tree_file("/sys/fs/cgroup/a/cpu.max", "400000 100000\n");
	T_EQ(tree_quota(), 1);
}

T_TEST(cgroup2, sibling_does_not_matter)
{
	tree_version2("/a/b", "/");
	tree_file("/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
	tree_file("/sys/fs/cgroup/a/x/cpu.max", "100000 100000\n");
	T_EQ(tree_quota(), 4);
}

T_TEST(cgroup2, nothing_above_the_mount_is_read)
{
	tree_version2("/a", "/");
	tree_file("/sys/fs/cgroup/a/cpu.max", "400000 100000\n");
	tree_file("/sys/fs/cpu.max", "100000 100000\n");
	T_EQ(tree_quota(), 4);
}

T_TEST(cgroup2, namespace_shows_the_own_group_as_root)
{
	tree_version2("/", "/");
	tree_file("/sys/fs/cgroup/cpu.max", "250000 100000\n");
	T_EQ(tree_quota(), 3);
}

T_TEST(cgroup2, mount_of_a_subtree)
{
	tree_version2("/docker/abc/inner", "/docker/abc");
	tree_file("/sys/fs/cgroup/inner/cpu.max", "600000 100000\n");
	tree_file("/sys/fs/cgroup/cpu.max", "500000 100000\n");
	T_EQ(tree_quota(), 5);
}

T_TEST(cgroup2, mount_top_is_the_own_group)
{
	tree_version2("/docker/abc", "/docker/abc");
	tree_file("/sys/fs/cgroup/cpu.max", "500000 100000\n");
	T_EQ(tree_quota(), 5);
}

T_TEST(cgroup2, similar_name_is_another_group)
{
	tree_version2("/docker/abcdef", "/docker/abc");
	tree_file("/sys/fs/cgroup/cpu.max", "100000 100000\n");
	tree_file("/sys/fs/cgroup/def/cpu.max", "100000 100000\n");
	T_EQ(tree_quota(), 0);
}

T_TEST(cgroup2, group_outside_the_namespace_is_not_visible)
{
	tree_version2("/../x", "/");
	tree_file("/sys/fs/cgroup/cpu.max", "100000 100000\n");
	tree_file("/sys/fs/x/cpu.max", "100000 100000\n");
	T_EQ(tree_quota(), 0);
}

T_TEST(cgroup2, mount_from_above_the_namespace_limits_us)
{
	tree_version2("/", "/..");
	tree_file("/sys/fs/cgroup/cpu.max", "200000 100000\n");
	T_EQ(tree_quota(), 2);
}

T_TEST(cgroup2, group_and_mount_outside_the_namespace)
{
	tree_version2("/../x/y", "/../x");
	tree_file("/sys/fs/cgroup/y/cpu.max", "700000 100000\n");
	T_EQ(tree_quota(), 7);
}

T_TEST(cgroup2, malformed_limits_are_none)
{
	static const char *const contents[] = {
		"",
		"\n",
		"100000\n",
		"-5 100000\n",
		"100000 0\n",
		"0 100000\n",
		"1e5 100000\n",
		"100000 100k\n",
		" 100000 100000\n",
		"99999999999999999999999 100000\n",
	};

	for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
		tree_version2("/a", "/");
		tree_file("/sys/fs/cgroup/a/cpu.max", contents[i]);
		T_EQ(tree_quota(), 0);
	}
}

T_TEST(cgroup2, malformed_child_does_not_hide_the_parent)
{
	tree_version2("/a/b", "/");
	tree_file("/sys/fs/cgroup/a/b/cpu.max", "nonsense\n");
	tree_file("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
	T_EQ(tree_quota(), 3);
}

T_TEST(cgroup2, huge_quota_is_cut_to_the_most_workers)
{
	tree_version2("/a", "/");
	tree_file("/sys/fs/cgroup/a/cpu.max", "9000000000000000000 1\n");
	T_EQ(tree_quota(), SK_CPUS_MAX);
}

T_TEST(cgroup2, missing_newline_is_no_problem)
{
	tree_version2("/a", "/");
	tree_file("/sys/fs/cgroup/a/cpu.max", "200000 100000");
	tree_file("/proc/self/cgroup", "0::/a");
	T_EQ(tree_quota(), 2);
}

T_TEST(cgroup2, group_name_with_a_colon)
{
	tree_version2("/a:b:c", "/");
	tree_file("/sys/fs/cgroup/a:b:c/cpu.max", "200000 100000\n");
	T_EQ(tree_quota(), 2);
}

T_TEST(cgroup2, escaped_blank_in_the_mount_point)
{
	tree_begin();
	tree_file("/proc/self/cgroup", "0::/a\n");
	tree_file("/proc/self/mountinfo", "30 22 0:26 / /my\\040groups rw - cgroup2 none rw\n");
	tree_file("/my groups/a/cpu.max", "400000 100000\n");
	T_EQ(tree_quota(), 4);
}

/* ---- Version 1, and both ---- */

T_TEST(cgroup1, whole_cpus)
{
	tree_version1("/a", "/");
	tree_file("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "400000\n");
	tree_file("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
	T_EQ(tree_quota(), 4);
}

T_TEST(cgroup1, fraction_is_rounded_up)
{
	tree_version1("/", "/");
	tree_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "110000\n");
	tree_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
	T_EQ(tree_quota(), 2);
}

T_TEST(cgroup1, minus_one_is_no_limit)
{
	tree_version1("/a", "/");
	tree_file("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n");
	tree_file("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
	T_EQ(tree_quota(), 0);
}

T_TEST(cgroup1, parent_is_smaller)
{
	tree_version1("/a/b", "/");
	tree_file("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n");
	tree_file("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
	tree_file("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "50000\n");
	tree_file("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "50000\n");
	T_EQ(tree_quota(), 1);
}

T_TEST(cgroup1, mount_of_the_container)
{
	tree_version1("/docker/abc", "/docker/abc");
	tree_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "300000\n");
	tree_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
	T_EQ(tree_quota(), 3);
}

T_TEST(cgroup1, missing_period_is_no_limit)
{
	tree_version1("/a", "/");
	tree_file("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "100000\n");
	T_EQ(tree_quota(), 0);
}

T_TEST(cgroup1, cpuset_and_cpuacct_are_not_cpu)
{
	tree_begin();
	tree_file("/proc/self/cgroup", "4:cpuset:/a\n3:cpuacct:/a\n");
	tree_file("/proc/self/mountinfo",
		  "33 22 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
		  "34 22 0:32 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n");
	tree_file("/sys/fs/cgroup/cpuset/a/cpu.cfs_quota_us", "100000\n");
	tree_file("/sys/fs/cgroup/cpuset/a/cpu.cfs_period_us", "100000\n");
	T_EQ(tree_quota(), 0);
}

static void tree_hybrid(void)
{
	tree_begin();
	tree_file("/proc/self/cgroup", "2:cpu:/one\n1:name=systemd:/two\n0::/two\n");
	tree_file("/proc/self/mountinfo",
		  ROOT_LINE "32 22 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
			    "38 22 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
}

T_TEST(cgroup1, hybrid_with_the_controller_in_version_1)
{
	tree_hybrid();
	tree_file("/sys/fs/cgroup/cpu/one/cpu.cfs_quota_us", "200000\n");
	tree_file("/sys/fs/cgroup/cpu/one/cpu.cfs_period_us", "100000\n");
	tree_file("/sys/fs/cgroup/unified/two/cgroup.procs", "1\n");
	T_EQ(tree_quota(), 2);
}

T_TEST(cgroup1, hybrid_takes_the_smaller)
{
	tree_hybrid();
	tree_file("/sys/fs/cgroup/cpu/one/cpu.cfs_quota_us", "500000\n");
	tree_file("/sys/fs/cgroup/cpu/one/cpu.cfs_period_us", "100000\n");
	tree_file("/sys/fs/cgroup/unified/two/cpu.max", "300000 100000\n");
	T_EQ(tree_quota(), 3);
}

/* ---- Broken surroundings ---- */

T_TEST(cgroup, missing_files_are_no_limit)
{
	tree_begin();
	T_EQ(tree_quota(), 0);
	tree_begin();
	tree_file("/proc/self/cgroup", "0::/a\n");
	T_EQ(tree_quota(), 0);
	tree_version2("/a", "/");
	T_EQ(tree_quota(), 0);
}

T_TEST(cgroup, malformed_files_are_no_limit)
{
	static const char *const groups[] = {"", "\n\n", "0", "0:", "0::", "0::a\n", ":::\n"};
	static const char *const mounts[] = {
		"",
		"\n",
		"a b c\n",
		" - \n",
		" - cgroup2\n",
		"1 2 3 - cgroup2 x rw\n",
		"1 2 3 / \\0 - cgroup2 x rw\n",
	};

	for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
		tree_version2("/", "/");
		tree_file("/sys/fs/cgroup/cpu.max", "200000 100000\n");
		tree_file("/proc/self/cgroup", groups[i]);
		T_EQ(tree_quota(), 0);
	}
	for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
		tree_version2("/", "/");
		tree_file("/sys/fs/cgroup/cpu.max", "200000 100000\n");
		tree_file("/proc/self/mountinfo", mounts[i]);
		T_EQ(tree_quota(), 0);
	}
}

/* Container hosts have hundreds of mounts, and overlay mounts have very long lines. */
T_TEST(cgroup, long_mountinfo)
{
	static char text[200000];
	size_t length = 0;

	tree_version2("/a", "/");
	for (int i = 0; i < 300; i++)
		length += (size_t)snprintf(text + length, sizeof text - length,
					   "%d 22 0:%d / /mnt/%d rw - tmpfs tmpfs rw\n", i, i, i);
	length += (size_t)snprintf(text + length, sizeof text - length,
				   "900 22 0:90 / /merged rw - overlay overlay rw,lowerdir=");
	memset(text + length, 'x', 100000);
	length += 100000;
	snprintf(text + length, sizeof text - length,
		 "\n901 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
	tree_file("/proc/self/mountinfo", text);
	tree_file("/sys/fs/cgroup/a/cpu.max", "600000 100000\n");
	T_EQ(tree_quota(), 6);
}

/* Whatever length a line has, and wherever the reads cut it, it is read or passed over whole. */
T_TEST(cgroup, line_of_every_length_around_the_buffer)
{
	static char text[20000];

	for (int filler = 8100; filler < 8300; filler += 3) {
		int length = snprintf(text, sizeof text, "9 22 0:9 / /x rw - tmpfs tmpfs rw,");

		memset(text + length, 'x', (size_t)filler);
		snprintf(text + length + filler, sizeof text - (size_t)(length + filler),
			 "\n30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
		tree_version2("/a", "/");
		tree_file("/proc/self/mountinfo", text);
		tree_file("/sys/fs/cgroup/a/cpu.max", "200000 100000\n");
		T_EQ(tree_quota(), 2);
	}
}

T_TEST(cgroup, end_of_a_long_line_is_no_line)
{
	static char text[9000];

	memset(text, 'x', 8192);
	snprintf(text + 8192, sizeof text - 8192,
		 "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
	tree_version2("/a", "/");
	tree_file("/proc/self/mountinfo", text);
	tree_file("/sys/fs/cgroup/a/cpu.max", "200000 100000\n");
	T_EQ(tree_quota(), 0);
}

T_TEST(cgroup, path_that_is_too_long)
{
	static char group[6000];

	tree_version2("/a", "/");
	snprintf(group, sizeof group, "0::/");
	memset(group + 4, 'g', 5000);
	tree_file("/proc/self/cgroup", group);
	T_EQ(tree_quota(), 0);
}

/* ---- Counts and lists on this machine ---- */

#ifdef __linux__
static int allowed_cpus(int *cpus, int capacity)
{
	cpu_set_t set;
	int count = 0;

	T_EQ(sched_getaffinity(0, sizeof set, &set), 0);
	for (size_t cpu = 0; cpu < CPU_SETSIZE && count < capacity; cpu++) {
		if (CPU_ISSET(cpu, &set))
			cpus[count++] = (int)cpu;
	}
	return count;
}

/* Leaves this process one CPU only. */
static void confine_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	T_EQ(sched_setaffinity(0, sizeof set, &set), 0);
}

static int parse(int *cpus, const char *format, ...)
{
	char list[256];
	va_list arguments;
	int culprit = -1;

	va_start(arguments, format);
	vsnprintf(list, sizeof list, format, arguments);
	va_end(arguments);
	return sk_cpus_parse(list, cpus, 4, &culprit);
}

T_TEST(cpus, available_is_within_the_affinity_mask)
{
	int allowed[512];

	T_ASSERT(sk_cpus_available() >= 1);
	T_ASSERT(sk_cpus_available() <= allowed_cpus(allowed, 512));
}

T_TEST(cpus, available_follows_the_affinity_mask)
{
	int allowed[1];

	T_EQ(allowed_cpus(allowed, 1), 1);
	confine_to(allowed[0]);
	T_EQ(sk_cpus_available(), 1);
}

T_TEST(cpus, available_is_the_smaller_of_mask_and_quota)
{
	int allowed[512];
	int count = allowed_cpus(allowed, 512);

	tree_version2("/a", "/");
	tree_file("/sys/fs/cgroup/a/cpu.max", "90000 100000\n");
	T_EQ(sk_cpus_available_in(tree), 1);
	tree_file("/sys/fs/cgroup/a/cpu.max", "60000000 100000\n");
	T_EQ(sk_cpus_available_in(tree), count);
	tree_file("/sys/fs/cgroup/a/cpu.max", "max 100000\n");
	T_EQ(sk_cpus_available_in(tree), count);
	tree_quota();
}

T_TEST(cpus, list_of_one)
{
	int allowed[1], cpus[4];

	allowed_cpus(allowed, 1);
	T_EQ(parse(cpus, "%d", allowed[0]), 1);
	T_EQ(cpus[0], allowed[0]);
	T_EQ(parse(cpus, "%d-%d", allowed[0], allowed[0]), 1);
	T_EQ(cpus[0], allowed[0]);
}

T_TEST(cpus, list_keeps_the_order_of_the_text)
{
	int allowed[2], cpus[4];

	if (allowed_cpus(allowed, 2) < 2)
		T_SKIP("needs two CPUs");
	T_EQ(parse(cpus, "%d,%d", allowed[1], allowed[0]), 2);
	T_EQ(cpus[0], allowed[1]);
	T_EQ(cpus[1], allowed[0]);
}

T_TEST(cpus, list_of_a_range)
{
	int allowed[2], cpus[4];

	if (allowed_cpus(allowed, 2) < 2 || allowed[1] != allowed[0] + 1)
		T_SKIP("needs two neighbouring CPUs");
	T_EQ(parse(cpus, "%d-%d", allowed[0], allowed[1]), 2);
	T_EQ(cpus[0], allowed[0]);
	T_EQ(cpus[1], allowed[1]);
}

T_TEST(cpus, list_longer_than_the_capacity_is_counted)
{
	int allowed[2], cpu = -1, culprit;
	char list[64];

	if (allowed_cpus(allowed, 2) < 2)
		T_SKIP("needs two CPUs");
	snprintf(list, sizeof list, "%d,%d", allowed[0], allowed[1]);
	T_EQ(sk_cpus_parse(list, &cpu, 1, &culprit), 2);
	T_EQ(cpu, allowed[0]);
	T_EQ(sk_cpus_parse(list, NULL, 0, &culprit), 2);
}

T_TEST(cpus, malformed_lists)
{
	/* clang-format off */
	static const char *const lists[] = {
		"", ",", "0,", ",0", "0,,0", "-", "0-",
		"-0", "a", "0x0", " 0", "0 ", "0, 1", "0--1",
		"0-1-2", "+0", "0;1", "1-0", "0-1:2", "65536", "0-65536",
		"99999999999", "18446744073709551616",
	};
	/* clang-format on */
	int cpus[4];

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		int count = parse(cpus, "%s", lists[i]);

		T_ASSERT_MSG(count == -EINVAL, "\"%s\" gives %d", lists[i], count);
	}
}

T_TEST(cpus, twice_in_a_list)
{
	int allowed[1], culprit = -1;
	char list[64];

	allowed_cpus(allowed, 1);
	snprintf(list, sizeof list, "%d,%d", allowed[0], allowed[0]);
	T_EQ(sk_cpus_parse(list, NULL, 0, &culprit), -EEXIST);
	T_EQ(culprit, allowed[0]);
}

T_TEST(cpus, outside_the_affinity_mask)
{
	int allowed[2], culprit = -1;
	char list[64];

	T_EQ(sk_cpus_parse("65535", NULL, 0, &culprit), -ENODEV);
	T_EQ(culprit, 65535);
	if (allowed_cpus(allowed, 2) < 2)
		return;
	confine_to(allowed[1]);
	snprintf(list, sizeof list, "%d,%d", allowed[1], allowed[0]);
	T_EQ(sk_cpus_parse(list, NULL, 0, &culprit), -ENODEV);
	T_EQ(culprit, allowed[0]);
}
#endif

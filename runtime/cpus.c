/*
 * cpus.c - which CPUs this process may use, how many of them are worth a worker, and lists of CPUs
 * as text.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity and its sets */
#endif

#include "runtime/cpus.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "runtime/cgroup.h"
#include "runtime/number.h"

#ifdef __linux__
#include <sched.h>

/*
 * A cpu_set_t ends at 1024 CPUs, and the kernel refuses (EINVAL) to fill a mask that is smaller
 * than its own. This one is large enough for eight times as many CPUs as any kernel is built for,
 * and 8 KiB of stack are cheaper than a loop that allocates.
 */
#define CPU_NUMBERS 65536
struct cpu_mask {
	cpu_set_t sets[CPU_NUMBERS / CPU_SETSIZE];
};

static void mask_clear(struct cpu_mask *mask)
{
	CPU_ZERO_S(sizeof mask->sets, mask->sets);
}

static bool mask_has(const struct cpu_mask *mask, int cpu)
{
	return CPU_ISSET_S((size_t)cpu, sizeof mask->sets, mask->sets) != 0;
}

static void mask_add(struct cpu_mask *mask, int cpu)
{
	CPU_SET_S((size_t)cpu, sizeof mask->sets, mask->sets);
}

/* The CPUs of the calling thread, which those that it starts inherit. */
static bool mask_allowed(struct cpu_mask *mask)
{
	mask_clear(mask);
	return sched_getaffinity(0, sizeof mask->sets, mask->sets) == 0;
}

static long allowed_count(void)
{
	struct cpu_mask allowed;

	if (mask_allowed(&allowed))
		return CPU_COUNT_S(sizeof allowed.sets, allowed.sets);
	return sysconf(_SC_NPROCESSORS_ONLN);
}

/* Reads "6" or "0-3". */
static bool parse_range(const char *text, size_t length, uint64_t *first, uint64_t *last)
{
	const char *dash = memchr(text, '-', length);
	size_t first_length = dash != NULL ? (size_t)(dash - text) : length;

	if (!sk_number_read(text, first_length, CPU_NUMBERS - 1, first))
		return false;
	*last = *first;
	return dash == NULL ||
	       (sk_number_read(dash + 1, length - first_length - 1, CPU_NUMBERS - 1, last) &&
		*first <= *last);
}

int sk_cpus_parse(const char *text, int *cpus, int capacity, int *culprit)
{
	struct cpu_mask allowed, seen;
	uint64_t first, last;
	int count = 0;

	if (!mask_allowed(&allowed))
		return -ENOTSUP;
	mask_clear(&seen);
	for (;;) {
		size_t length = strcspn(text, ",");

		if (!parse_range(text, length, &first, &last))
			return -EINVAL;
		for (int cpu = (int)first; cpu <= (int)last; cpu++) {
			*culprit = cpu;
			if (!mask_has(&allowed, cpu))
				return -ENODEV;
			if (mask_has(&seen, cpu))
				return -EEXIST;
			mask_add(&seen, cpu);
			if (count < capacity)
				cpus[count] = cpu;
			count++;
		}
		if (text[length] == '\0')
			return count;
		text += length + 1;
	}
}

#else /* !__linux__ */

static long allowed_count(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

int sk_cpus_parse(const char *text, int *cpus, int capacity, int *culprit)
{
	(void)text;
	(void)cpus;
	(void)capacity;
	(void)culprit;
	return -ENOTSUP;
}

#endif

int sk_cpus_available(void)
{
	return sk_cpus_available_in("");
}

int sk_cpus_available_in(const char *root)
{
	long count = allowed_count();
	int quota = sk_cgroup_quota(root);

	if (quota > 0 && quota < count)
		count = quota;
	if (count < 1)
		return 1;
	return count < SK_CPUS_MAX ? (int)count : SK_CPUS_MAX;
}

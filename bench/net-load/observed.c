/* observed.c - the server as /proc shows it, and the speed of this processor. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "load.h"

/* The sum of the numbers in the lines of a file that start with `key`. 0 if it is not there. */
static uint64_t sum_of_lines(const char *path, const char *key)
{
	FILE *file = fopen(path, "re");
	char line[256];
	uint64_t sum = 0;

	if (file == NULL)
		return 0;
	while (fgets(line, sizeof line, file))
		if (strncmp(line, key, strlen(key)) == 0)
			sum += strtoull(line + strlen(key), NULL, 10);
	fclose(file);
	return sum;
}

static uint64_t switches_of(int64_t pid)
{
	char path[320];
	struct dirent *entry;
	uint64_t sum = 0;
	DIR *folder;

	snprintf(path, sizeof path, "/proc/%lld/task", (long long)pid);
	folder = opendir(path);
	if (folder == NULL)
		die(1, "%s: %s", path, strerror(errno));
	while ((entry = readdir(folder)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		/* A thread that has ended meanwhile has no file, and counts as zero. */
		snprintf(path, sizeof path, "/proc/%lld/task/%s/status", (long long)pid,
			 entry->d_name);
		sum += sum_of_lines(path, "voluntary_ctxt_switches:");
		sum += sum_of_lines(path, "nonvoluntary_ctxt_switches:");
	}
	closedir(folder);
	return sum;
}

struct usage observe_usage(int64_t pid)
{
	struct usage usage = {.switches = switches_of(pid)};
	clockid_t clock;
	int error = clock_getcpuclockid((pid_t)pid, &clock);

	if (error != 0)
		die(1, "the CPU time of process %lld: %s", (long long)pid, strerror(error));
	usage.cpu_ns = clock_ns(clock);
	return usage;
}

uint64_t observe_memory(int64_t pid)
{
	char path[64];
	uint64_t kib;

	snprintf(path, sizeof path, "/proc/%lld/smaps_rollup", (long long)pid);
	kib = sum_of_lines(path, "Pss_Anon:");
	if (kib == 0)
		die(1, "%s has no Pss_Anon", path);
	return kib * 1024;
}

double observe_spin(void)
{
	enum { ROUNDS = 2000000, TRIES = 8 };
	volatile uint64_t result;
	uint64_t best = UINT64_MAX;

	/* The best of some: what else runs can only make it slower. */
	for (int i = 0; i < TRIES; i++) {
		uint64_t start = now_ns(), x = 88172645463325252, took;

		for (int k = 0; k < ROUNDS; k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		result = x;
		took = now_ns() - start;
		if (took < best)
			best = took;
	}
	(void)result;
	return ROUNDS * 1000.0 / (double)best;
}

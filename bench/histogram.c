/* histogram.c - what is done once for a run; counting is in histogram.h. */
#include <stdio.h>

#include "histogram.h"

void histogram_add(struct histogram *sum, const struct histogram *part)
{
	sum->count += part->count;
	if (part->longest > sum->longest)
		sum->longest = part->longest;
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
		sum->buckets[i] += part->buckets[i];
}

/* The middle of the values that a bucket stands for. */
static double middle_of(int bucket)
{
	int shift = bucket < (2 << HISTOGRAM_BITS) ? 0 : (bucket >> HISTOGRAM_BITS) - 1;
	uint64_t lowest = (uint64_t)(bucket - (shift << HISTOGRAM_BITS)) << shift;

	return (double)lowest + (double)((UINT64_C(1) << shift) - 1) / 2;
}

double histogram_quantile(const struct histogram *histogram, double share)
{
	uint64_t wanted = (uint64_t)(share * (double)histogram->count + 0.5);
	double longest = (double)histogram->longest;
	uint64_t seen = 0;

	for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		double value = middle_of(i);

		seen += histogram->buckets[i];
		if (seen > 0 && seen >= wanted)
			return value < longest ? value : longest;
	}
	return 0;
}

void histogram_print_json(const struct histogram *histogram, double unit)
{
	static const struct {
		const char *name;
		double share;
	} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};

	for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++)
		printf("\"%s\": %.1f, ", quantiles[i].name,
		       histogram_quantile(histogram, quantiles[i].share) / unit);
	printf("\"max\": %.1f", (double)histogram->longest / unit);
}

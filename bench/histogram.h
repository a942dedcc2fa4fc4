/* histogram.h - latencies with a bounded relative error, for the load generators. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

/*
 * After HdrHistogram: each power of two is divided into 32 equal buckets, so that a value is known
 * to 3 percent, from 1 ns to 2 minutes.
 */
enum {
	HISTOGRAM_BITS = 5,
	HISTOGRAM_TOP = 37, /* powers of two; longer times are counted in the last bucket */
	HISTOGRAM_BUCKETS = (HISTOGRAM_TOP - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS,
};

/* All zero: empty. */
struct histogram {
	uint64_t count;
	uint64_t longest; /* exact */
	uint32_t buckets[HISTOGRAM_BUCKETS];
};

static inline int histogram_bucket(uint64_t value)
{
	int shift = 0;

	if (value >> HISTOGRAM_TOP)
		return HISTOGRAM_BUCKETS - 1;
	if (value >> (HISTOGRAM_BITS + 1))
		shift = 63 - __builtin_clzll(value) - HISTOGRAM_BITS;
	return (shift << HISTOGRAM_BITS) + (int)(value >> shift);
}

static inline void histogram_count(struct histogram *histogram, uint64_t value)
{
	histogram->count++;
	histogram->buckets[histogram_bucket(value)]++;
	if (value > histogram->longest)
		histogram->longest = value;
}

void histogram_add(struct histogram *sum, const struct histogram *part);

/* What a share (0 to 1) of the values does not exceed; 0 if there are none. */
double histogram_quantile(const struct histogram *histogram, double share);

/* Prints "p50": X, "p90": X, "p99": X, "p99.9": X, "max": X, each divided by `unit`. */
void histogram_print_json(const struct histogram *histogram, double unit);

#endif /* BENCH_HISTOGRAM_H */

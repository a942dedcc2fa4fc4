/* choice.c - every choice of an execution; see state.h. */
#include "tests/model/state.h"

uint32_t mc_random(void)
{
	mc->random ^= mc->random << 13;
	mc->random ^= mc->random >> 7;
	mc->random ^= mc->random << 17;
	return (uint32_t)(mc->random >> 16);
}

/* What a new choice of an execution is. */
static unsigned pick(enum about about, unsigned n, const int *threads)
{
	unsigned best = 0;

	if (mc->mode != RANDOM && mc->mode != PCT)
		return 0;
	switch (about) {
	case A_STORE:
		return mc_random() % 2 == 0 ? 0 : 1 + mc_random() % (n - 1);
	case A_SPURIOUS:
		return mc_random() % 8 == 0;
	case A_THREAD:
		if (mc->mode == RANDOM)
			break;
		for (unsigned i = 1; i < n; i++)
			if (mc->threads[threads[i]].priority > mc->threads[threads[best]].priority)
				best = i;
		return best;
	default:
		break;
	}
	return mc_random() % n;
}

unsigned mc_choose_about(enum about about, unsigned n, const int *threads)
{
	struct choice *choice;

	if (n < 2)
		return 0;
	if (mc->depth >= CHOICES)
		mc_fail("too many choices in one execution: make the scenario smaller");
	choice = &mc->choices[mc->depth];
	if (mc->depth >= mc->known) {
		choice->options = (uint16_t)n;
		choice->chosen = (uint16_t)pick(about, n, threads);
	} else if (mc->mode == REPLAY && choice->options == 0) {
		choice->options = (uint16_t)n;
		if (choice->chosen >= n)
			mc_fail("this token does not fit: %u of %u choices", choice->chosen, n);
	} else if (choice->options != n) {
		mc_fail("not deterministic: %u choices where there were %u", n, choice->options);
	}
	mc->depth++;
	return choice->chosen;
}

unsigned mc_choose(unsigned n)
{
	return mc_choose_about(ANYTHING, n, NULL);
}

unsigned mc_choose_bounded(enum about about, unsigned n, const int *threads, int *used, int bound)
{
	unsigned chosen;

	if (*used >= bound)
		return 0;
	chosen = mc_choose_about(about, n, threads);
	if (chosen != 0)
		++*used;
	return chosen;
}

bool mc_spurious(void)
{
	return mc_choose_bounded(A_SPURIOUS, 2, NULL, &mc->spurious, mc->spurious_bound) != 0;
}

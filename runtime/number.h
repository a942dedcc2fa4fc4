/*
 * number.h - reads a decimal number strictly: digits and nothing else. strtoul is no help here: it
 * takes blanks, signs ("-1" becomes a huge number) and whatever follows the digits.
 */
#ifndef SKUA_RUNTIME_NUMBER_H
#define SKUA_RUNTIME_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the `length` bytes at `text` as one number of at most `highest`. */
static inline bool sk_number_read(const char *text, size_t length, uint64_t highest,
				  uint64_t *number)
{
	uint64_t value = 0;

	if (length == 0)
		return false;
	for (size_t i = 0; i < length; i++) {
		uint64_t digit = (uint64_t)(text[i] - '0');

		if (text[i] < '0' || text[i] > '9' || digit > highest ||
		    value > (highest - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*number = value;
	return true;
}

#endif /* SKUA_RUNTIME_NUMBER_H */

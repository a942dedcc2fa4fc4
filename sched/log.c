/*
 * log.c - the lines that the library writes to standard error; see log.h.
 */
#include "sched/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sched/sync.h"

#define LINE_SIZE 512

/* Relaxed everywhere: a thread may go by the old level for a moment. */
static SK_ATOMIC(int) log_level = {SK_LOG_WARN};

void sk_log_set_level(int level)
{
	sk_store(&log_level, level, SK_RELAXED);
}

bool sk_log_passes(int level)
{
	return level <= sk_load(&log_level, SK_RELAXED);
}

static const char *name_of(int level)
{
	switch (level) {
	case SK_LOG_ERROR:
		return "error";
	case SK_LOG_WARN:
		return "warning";
	default:
		return "info";
	}
}

static void write_line(int level, const char *format, va_list arguments)
{
	char line[LINE_SIZE];
	size_t start = (size_t)snprintf(line, sizeof line, "skua: %s: ", name_of(level));
	size_t room = sizeof line - start - 1; /* the last byte is kept for the newline */
	int length = vsnprintf(line + start, room, format, arguments);
	size_t end;
	ssize_t written;

	if (length < 0)
		return;
	end = start + (size_t)length;
	if ((size_t)length >= room) {
		end = start + room - 1;
		memset(line + end - 3, '.', 3);
	}
	for (size_t i = start; i < end; i++) {
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	}
	line[end++] = '\n';
	written = write(STDERR_FILENO, line, end);
	(void)written; /* there is nowhere to complain */
}

void sk_log(int level, const char *format, ...)
{
	va_list arguments;

	if (!sk_log_passes(level))
		return;
	va_start(arguments, format);
	write_line(level, format, arguments);
	va_end(arguments);
}

void sk_log_always(int level, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_line(level, format, arguments);
	va_end(arguments);
}

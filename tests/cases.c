/* cases.c - see cases.h. */
#include "tests/cases.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/harness.h"

enum { CASE_SECONDS = 20 };

/* ---- Notes ---- */

static struct {
	char text[1 << 16];
	volatile size_t length; /* read by on_signal */
	unsigned lost;          /* lines */
} notes;

void cases_note(const char *line)
{
	size_t room = sizeof notes.text - notes.length;
	int length = snprintf(notes.text + notes.length, room, "#   %s\n", line);

	if (notes.lost == 0 && length > 0 && (size_t)length < room)
		notes.length += (size_t)length;
	else
		notes.lost++;
}

void cases_print_notes(void)
{
	fwrite(notes.text, 1, notes.length, stdout);
	if (notes.lost > 0)
		printf("#   and %u lines more\n", notes.lost);
	notes.length = 0;
	notes.lost = 0;
}

void cases_fail(void (*note)(const char *line), _Atomic unsigned *failures, const char *name,
		const char *format, va_list arguments)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	char line[300];

	vsnprintf(line, sizeof line, format, arguments);
	pthread_mutex_lock(&lock);
	if (atomic_fetch_add(failures, 1) == 0)
		note(name);
	note(line);
	pthread_mutex_unlock(&lock);
}

/* ---- When a case does not end, or ends the process ---- */

char cases_current[200];

static const char *program_name = "";

static bool say(const char *text)
{
	return write(STDOUT_FILENO, text, strlen(text)) >= 0;
}

static void say_current(void)
{
	if (cases_current[0] != '\0' && write(STDOUT_FILENO, notes.text, notes.length) >= 0)
		(void)(say("\n# ") && say(program_name) && say(": in the middle of: ") &&
		       say(cases_current) && say("\n"));
}

static void on_signal(int number)
{
	say_current();
	signal(number, SIG_DFL);
	raise(number);
}

extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

void cases_watch(const char *program)
{
	static const int numbers[] = {SIGABRT, SIGALRM, SIGSEGV, SIGBUS};

	program_name = program;
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (!T_SANITIZED || numbers[i] == SIGABRT || numbers[i] == SIGALRM)
			signal(numbers[i], on_signal);
	if (__sanitizer_set_death_callback != NULL)
		__sanitizer_set_death_callback(say_current);
}

unsigned cases_seconds(void)
{
	const char *slow = getenv("SKUA_TEST_SLOW");
	unsigned factor = slow != NULL && atoi(slow) > 1 ? (unsigned)atoi(slow) : 1;

	return CASE_SECONDS * factor * (T_SANITIZED ? 5 : 1);
}

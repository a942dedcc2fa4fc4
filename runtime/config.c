/*
 * config.c - the knobs of a runtime: their defaults, fields and environment variables.
 *
 * One table says everything about a knob; init, resolve and describe all walk it. A value comes
 * from the default, then from the field, then from the environment unless the program pinned the
 * knob. A field that is out of range is an error even where the environment has another value: it
 * is a mistake in the program, and whether it shows must not depend on the operator.
 *
 * Values are never replaced by others silently. Text is read strictly (number.h), an empty variable
 * is an error rather than "unset", and a variable that begins with SKUA_ but is none of ours is
 * warned about (environment.h).
 */
#include "runtime/config.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cpus.h"
#include "runtime/environment.h"
#include "runtime/number.h"
#include "sched/log.h"

static_assert((int)SK_LOG_OFF == (int)SKUA_LOG_OFF && (int)SK_LOG_ERROR == (int)SKUA_LOG_ERROR &&
		      (int)SK_LOG_WARN == (int)SKUA_LOG_WARN &&
		      (int)SK_LOG_INFO == (int)SKUA_LOG_INFO,
	      "levels of sched/log.h are those of the public header");

/* ---- The table ---- */

enum kind {
	NUMBER, /* a uint32_t from lowest to highest; or 0, whose name is `words[0]`, if it has words */
	CHOICE, /* a uint32_t, the index of one of `words`; those that are NULL are not accepted */
	CPUS,   /* a list of CPUs as text */
};

struct knob {
	const char *variable;
	const char *field;
	size_t offset; /* of the field */
	enum kind kind;
	uint32_t initial; /* the default */
	uint32_t lowest, highest;
	const char *const *words;
	const char *unit; /* with the blank before it; "" if it is a plain number */
	const char *help;
};

static const char *const zero_words[] = {"auto"};
#ifdef __linux__
#define BEST_IO_BACKEND SKUA_IO_BACKEND_EPOLL
static const char *const io_backend_words[] = {"auto", "epoll", "uv"};
#else
#define BEST_IO_BACKEND SKUA_IO_BACKEND_UV
static const char *const io_backend_words[] = {"auto", NULL, "uv"};
#endif
static const char *const io_poll_words[] = {"auto", "driver", "assist"};
static const char *const log_words[] = {"off", "error", "warn", "info"};

#define FIELD(name) #name, offsetof(skua_config, name)

/* In the order of the SKUA_KNOB_* bits. */
static const struct knob knobs[] = {
	{"SKUA_WORKERS", FIELD(workers), NUMBER, 0, 1, SK_CPUS_MAX, zero_words, "",
	 "threads that run tasks"},
	{"SKUA_CPUS", FIELD(cpus), CPUS, 0, 0, 0, NULL, "", "worker i runs on the i-th of these"},
	{"SKUA_IO_THREADS", FIELD(io_threads), NUMBER, 1, 1, 64, NULL, "", "driver threads"},
	{"SKUA_IO_BACKEND", FIELD(io_backend), CHOICE, SKUA_IO_BACKEND_AUTO, 0, 2, io_backend_words,
	 "", "what tells that a socket is ready"},
	{"SKUA_IO_POLL", FIELD(io_poll), CHOICE, SKUA_IO_POLL_AUTO, 0, 2, io_poll_words, "",
	 "who waits for events"},
	{"SKUA_MAX_BLOCKING", FIELD(max_blocking), NUMBER, 512, 1, 10000, NULL, "",
	 "threads for calls that block, at most"},
	{"SKUA_BLOCKING_KEEPALIVE_MS", FIELD(blocking_keepalive_ms), NUMBER, 10000, 0, UINT32_MAX,
	 NULL, " ms", "how long an idle one of these lives"},
	{"SKUA_BLOCKING_QUEUE", FIELD(blocking_queue), NUMBER, 65536, 1, UINT32_MAX, NULL, "",
	 "jobs of each kind that may wait for one of these"},
	{"SKUA_BLOCKING_FILES", FIELD(blocking_files), NUMBER, 0, 1, 10000, zero_words, "",
	 "jobs on files that run at once, at most"},
	{"SKUA_BLOCKING_NAMES", FIELD(blocking_names), NUMBER, 0, 1, 10000, zero_words, "",
	 "lookups of names that run at once, at most"},
	{"SKUA_BUDGET", FIELD(budget), NUMBER, 128, 1, 65536, NULL, "",
	 "operations in one poll before a task gives way"},
	{"SKUA_SPIN_US", FIELD(spin_us), NUMBER, 0, 0, 10000, NULL, " us",
	 "how long a worker looks for work before it sleeps"},
	{"SKUA_SHUTDOWN_MS", FIELD(shutdown_ms), NUMBER, 5000, 0, UINT32_MAX, NULL, " ms",
	 "how long a stopping runtime lets tasks end by themselves"},
	{"SKUA_LOG", FIELD(log), CHOICE, SKUA_LOG_WARN, 0, 3, log_words, "",
	 "what is written to standard error"},
	{"SKUA_STALL_MS", FIELD(stall_ms), NUMBER, 100, 0, UINT32_MAX, NULL, " ms",
	 "a poll that takes so long is reported; 0: none is"},
	{"SKUA_SPARE_WORKERS", FIELD(spare_workers), NUMBER, 16, 0, SK_CPUS_MAX - 1, NULL, "",
	 "threads that stand in for stuck workers, at most"},
};

#undef FIELD

static_assert(sizeof knobs / sizeof *knobs == SK_KNOB_COUNT, "SK_KNOB_COUNT is not right");
static_assert(SKUA_KNOB_SPARE_WORKERS == 1u << (SK_KNOB_COUNT - 1), "a knob has no bit");

enum { CPUS_KNOB = 1, IO_POLL_KNOB = 4, LOG_KNOB = 13 };
static_assert(SKUA_KNOB_LOG == 1u << LOG_KNOB, "LOG_KNOB is not right");
static_assert(SKUA_KNOB_CPUS == 1u << CPUS_KNOB, "CPUS_KNOB is not right");
static_assert(SKUA_KNOB_IO_POLL == 1u << IO_POLL_KNOB, "IO_POLL_KNOB is not right");

#define ALL_KNOBS ((1u << SK_KNOB_COUNT) - 1)

static uint32_t bit_of(const struct knob *knob)
{
	return 1u << (knob - knobs);
}

static uint32_t *number_of(skua_config *config, const struct knob *knob)
{
	return (uint32_t *)(void *)((char *)config + knob->offset);
}

static uint32_t number_in(const skua_config *config, const struct knob *knob)
{
	uint32_t number;

	memcpy(&number, (const char *)config + knob->offset, sizeof number);
	return number;
}

/* ---- Text ---- */

/* Text that is put together piece by piece, and counted beyond what there is room for. */
struct text {
	char *start;
	size_t size;
	size_t length;
};

__attribute__((format(printf, 2, 3))) static void text_add(struct text *text, const char *format,
							   ...)
{
	bool fits = text->length < text->size;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(fits ? text->start + text->length : NULL,
			   fits ? text->size - text->length : 0, format, arguments);
	va_end(arguments);
	if (length > 0)
		text->length += (size_t)length;
}

/* A foreign value as it may stand in a message: not too long, and of one line. */
static void text_add_value(struct text *text, const char *value)
{
	size_t length = strlen(value);
	size_t limit = length > 64 ? 61 : length;

	for (size_t i = 0; i < limit; i++) {
		bool is_control = (unsigned char)value[i] < ' ' || value[i] == 0x7f;

		text_add(text, "%c", is_control ? '?' : value[i]);
	}
	if (limit < length)
		text_add(text, "...");
}

/* `"auto", "epoll" or "uv"`, for a field `0 (auto), 1 (epoll) or 2 (uv)`. */
static void text_add_words(struct text *text, const struct knob *knob, bool of_field)
{
	for (uint32_t i = 0; i <= knob->highest; i++) {
		if (knob->words[i] == NULL)
			continue;
		if (i > 0)
			text_add(text, i < knob->highest ? ", " : " or ");
		if (of_field)
			text_add(text, "%u (%s)", i, knob->words[i]);
		else
			text_add(text, "\"%s\"", knob->words[i]);
	}
}

/* What a variable, or the field, takes. */
static void text_add_accepted(struct text *text, const struct knob *knob, bool of_field)
{
	switch (knob->kind) {
	case NUMBER:
		if (knob->words != NULL)
			text_add(text, of_field ? "0 (%s) or " : "\"%s\" or ", knob->words[0]);
		text_add(text, "%s%u to %u", of_field ? "" : "a number from ", knob->lowest,
			 knob->highest);
		break;
	case CHOICE:
		text_add_words(text, knob, of_field);
		break;
	case CPUS:
		text_add(text, "%s\"any\" or a list of CPUs such as 0-3,6",
			 of_field ? "NULL, " : "");
		break;
	}
}

/* ---- Complaints ---- */

/* Where a value stands, while it is looked at. */
struct place {
	const struct knob *knob;
	const char *variable_value; /* NULL if it is the field */
};

/*
 * Puts the complaint "<place>: <reason>" into the message; into the log as well if it is about the
 * environment: an operator wrote that, who may never see what the program does with the message.
 */
static int reject(struct sk_config *config, const struct place *place, const char *reason)
{
	skua_config *public = &config->public;
	struct text message = {public->message, sizeof public->message, 0};
	const struct knob *knob = place->knob;

	if (place->variable_value == NULL) {
		if (knob->kind == CPUS) {
			text_add(&message, "%s = \"", knob->field);
			text_add_value(&message, public->cpus);
			text_add(&message, "\"");
		} else {
			text_add(&message, "%s = %u", knob->field, number_in(public, knob));
		}
	} else if (*place->variable_value == '\0') {
		text_add(&message, "%s is set but empty", knob->variable);
	} else {
		text_add(&message, "%s=", knob->variable);
		text_add_value(&message, place->variable_value);
	}
	text_add(&message, ": %s", reason);
	if (place->variable_value != NULL && public->log >= SKUA_LOG_ERROR)
		sk_log_always(SK_LOG_ERROR, "%s", public->message);
	return -EINVAL;
}

static int reject_unaccepted(struct sk_config *config, const struct place *place)
{
	char reason[160];
	struct text text = {reason, sizeof reason, 0};

	text_add(&text, "expected ");
	text_add_accepted(&text, place->knob, place->variable_value == NULL);
	return reject(config, place, reason);
}

/* ---- One knob ---- */

/* Checks a list of CPUs and moves it into the config. */
static int take_cpus(struct sk_config *config, const struct place *place, const char *list)
{
	char reason[80];
	int culprit = 0;
	int count;

	if (list == NULL || strcmp(list, "any") == 0) {
		config->public.cpus = NULL;
		return 0;
	}
	count = sk_cpus_parse(list, NULL, 0, &culprit);
	if (count == -EINVAL)
		return reject_unaccepted(config, place);
	if (count == -ENODEV)
		snprintf(reason, sizeof reason, "this process may not use CPU %d", culprit);
	else if (count == -EEXIST)
		snprintf(reason, sizeof reason, "CPU %d is in it twice", culprit);
	else if (count < 0)
		snprintf(reason, sizeof reason, "threads cannot be kept on CPUs on this system");
	else if (strlen(list) >= sizeof config->cpus)
		snprintf(reason, sizeof reason, "longer than %d characters", SK_CPU_LIST_SIZE - 1);
	else {
		memcpy(config->cpus, list, strlen(list) + 1);
		config->public.cpus = config->cpus;
		return 0;
	}
	return reject(config, place, reason);
}

static bool is_accepted(const struct knob *knob, uint32_t number)
{
	if (knob->kind == CHOICE)
		return number <= knob->highest && knob->words[number] != NULL;
	return (number >= knob->lowest && number <= knob->highest) ||
	       (number == 0 && knob->words != NULL);
}

static bool parse(const struct knob *knob, const char *value, uint32_t *number)
{
	uint32_t words = knob->kind == CHOICE ? knob->highest + 1 : knob->words != NULL;
	uint64_t parsed;

	for (uint32_t i = 0; i < words; i++) {
		if (knob->words[i] != NULL && strcmp(knob->words[i], value) == 0) {
			*number = i;
			return true;
		}
	}
	if (knob->kind != NUMBER || !sk_number_read(value, strlen(value), knob->highest, &parsed) ||
	    parsed < knob->lowest)
		return false;
	*number = (uint32_t)parsed;
	return true;
}

static int take_field(struct sk_config *config, const struct knob *knob)
{
	const struct place place = {knob, NULL};

	if (knob->kind == CPUS)
		return take_cpus(config, &place, config->public.cpus);
	if (!is_accepted(knob, number_in(&config->public, knob)))
		return reject_unaccepted(config, &place);
	return 0;
}

static int take_variable(struct sk_config *config, const struct knob *knob, const char *value)
{
	const struct place place = {knob, value};
	uint32_t number;

	if (knob->kind == CPUS)
		return take_cpus(config, &place, value);
	if (!parse(knob, value, &number))
		return reject_unaccepted(config, &place);
	*number_of(&config->public, knob) = number;
	return 0;
}

static bool is_default(const skua_config *config, const struct knob *knob)
{
	if (knob->kind == CPUS)
		return config->cpus == NULL;
	return number_in(config, knob) == knob->initial;
}

static int settle_knob(struct sk_config *config, const struct knob *knob)
{
	bool pinned = (config->public.pinned & bit_of(knob)) != 0;
	const char *value = pinned ? NULL : getenv(knob->variable);
	uint8_t *origin = &config->origin[knob - knobs];
	int result;

	if (pinned)
		*origin = SK_ORIGIN_PINNED;
	else
		*origin = is_default(&config->public, knob) ? SK_ORIGIN_DEFAULT : SK_ORIGIN_PROGRAM;
	result = take_field(config, knob);
	if (result == 0 && value != NULL) {
		*origin = SK_ORIGIN_ENVIRONMENT;
		result = take_variable(config, knob, value);
	}
	return result;
}

/* ---- All of them ---- */

static uint32_t at_least_one(uint32_t number)
{
	return number > 0 ? number : 1;
}

/* Half of the threads for files, as a disk that is slow is slow for all; a quarter for names, most of
 * which wait when a server does not answer; so a quarter is left for whatever else blocks. */
static void settle_blocking(struct sk_config *config)
{
	skua_config *public = &config->public;

	if (public->blocking_files == 0) {
		public->blocking_files = at_least_one(public->max_blocking / 2);
		config->automatic |= SKUA_KNOB_BLOCKING_FILES;
	}
	if (public->blocking_names == 0) {
		public->blocking_names = at_least_one(public->max_blocking / 4);
		config->automatic |= SKUA_KNOB_BLOCKING_NAMES;
	}
}

/* Gives the knobs that are still "auto" their values. */
static void settle_automatic(struct sk_config *config)
{
	skua_config *public = &config->public;

	settle_blocking(config);

	if (public->workers == 0) {
		int listed = sk_config_cpu_list(public, NULL, 0);
		int workers = sk_cpus_available();

		if (listed > 0 && listed < workers)
			workers = listed;
		public->workers = (uint32_t)workers;
		config->automatic |= SKUA_KNOB_WORKERS;
	}
	if (public->io_backend == SKUA_IO_BACKEND_AUTO) {
		public->io_backend = BEST_IO_BACKEND;
		config->automatic |= SKUA_KNOB_IO_BACKEND;
	}
	if (public->io_poll == SKUA_IO_POLL_AUTO) {
		public->io_poll = public->io_backend == SKUA_IO_BACKEND_EPOLL ? SKUA_IO_POLL_ASSIST
									      : SKUA_IO_POLL_DRIVER;
		config->automatic |= SKUA_KNOB_IO_POLL;
	}
}

/* Only the epoll backend can be waited for by workers: a loop of libuv is its own thread's. */
static int check_io_poll(struct sk_config *config)
{
	const struct knob *knob = &knobs[IO_POLL_KNOB];
	struct place place = {knob, NULL};

	if (config->public.io_poll != SKUA_IO_POLL_ASSIST ||
	    config->public.io_backend == SKUA_IO_BACKEND_EPOLL)
		return 0;
	if (config->origin[IO_POLL_KNOB] == SK_ORIGIN_ENVIRONMENT)
		place.variable_value = "assist";
	return reject(config, &place,
		      "needs the epoll backend; leave it out, or set SKUA_IO_BACKEND to epoll");
}

static void check_environment(void)
{
	const char *known[SK_KNOB_COUNT];

	for (size_t i = 0; i < SK_KNOB_COUNT; i++)
		known[i] = knobs[i].variable;
	sk_environment_check(known, SK_KNOB_COUNT);
}

static int resolve(const skua_config *config, struct sk_config *resolved)
{
	int result = 0;

	if (config == NULL || config->struct_size != sizeof *config)
		return -EINVAL;
	memset(resolved, 0, sizeof *resolved);
	resolved->public = *config;
	memset(resolved->public.message, 0, sizeof resolved->public.message);
	/*
	 * All are looked at, so that the log has every bad variable at once. First the log level, which
	 * must be known before anything is written; then from the last to the first, so that the message
	 * that stays is that of the first in the table.
	 */
	if (settle_knob(resolved, &knobs[LOG_KNOB]) < 0)
		result = -EINVAL;
	for (size_t i = SK_KNOB_COUNT; i-- > 0;) {
		if (i != LOG_KNOB && settle_knob(resolved, &knobs[i]) < 0)
			result = -EINVAL;
	}
	if ((config->pinned & ~ALL_KNOBS) != 0) {
		snprintf(resolved->public.message, sizeof resolved->public.message,
			 "pinned = 0x%x: expected SKUA_KNOB_* bits", config->pinned);
		result = -EINVAL;
	}
	if (resolved->public.log >= SKUA_LOG_WARN)
		check_environment();
	if (result == 0)
		settle_automatic(resolved);
	if (result == 0)
		result = check_io_poll(resolved);
	return result;
}

int sk_config_resolve_copy(skua_config *config, struct sk_config *resolved)
{
	int result = resolve(config, resolved);

	if (config != NULL && config->struct_size == sizeof *config)
		memcpy(config->message, resolved->public.message, sizeof config->message);
	return result;
}

int sk_config_cpu_list(const skua_config *config, int *cpus, int capacity)
{
	int culprit;
	int count;

	if (config->cpus == NULL)
		return 0;
	count = sk_cpus_parse(config->cpus, cpus, capacity, &culprit);
	return count < 0 ? -EINVAL : count;
}

/* ---- The table as text ---- */

enum column { VARIABLE, VALUE, ORIGIN, ACCEPTED, MEANING, COLUMN_COUNT };

static void text_add_current(struct text *text, const struct sk_config *config,
			     const struct knob *knob)
{
	uint32_t number;

	if (knob->kind == CPUS) {
		text_add(text, "%s", config->public.cpus != NULL ? config->public.cpus : "any");
		return;
	}
	number = number_in(&config->public, knob);
	if (knob->kind == CHOICE)
		text_add(text, "%s", knob->words[number]);
	else
		text_add(text, "%u%s", number, knob->unit);
	if ((config->automatic & bit_of(knob)) != 0)
		text_add(text, " (auto)");
}

/* One cell; knob is NULL for the head of the table. */
static void text_add_cell(struct text *text, const struct sk_config *config,
			  const struct knob *knob, enum column column)
{
	static const char *const heads[] = {"variable", "value", "origin", "accepted", "meaning"};
	static const char *const origins[] = {"default", "program", "environment", "pinned"};

	if (knob == NULL) {
		text_add(text, "%s", heads[column]);
		return;
	}
	switch (column) {
	case VARIABLE:
		text_add(text, "%s", knob->variable);
		break;
	case VALUE:
		text_add_current(text, config, knob);
		break;
	case ORIGIN:
		text_add(text, "%s", origins[config->origin[knob - knobs]]);
		break;
	case ACCEPTED:
		text_add_accepted(text, knob, false);
		break;
	default:
		text_add(text, "%s", knob->help);
		break;
	}
}

static size_t width_of(const struct sk_config *config, enum column column)
{
	size_t width = 0;

	for (size_t row = 0; row <= SK_KNOB_COUNT; row++) {
		struct text cell = {NULL, 0, 0};

		text_add_cell(&cell, config, row == 0 ? NULL : &knobs[row - 1], column);
		if (cell.length > width)
			width = cell.length;
	}
	return width;
}

static void text_add_table(struct text *text, const struct sk_config *config)
{
	size_t widths[COLUMN_COUNT];

	for (int column = 0; column < COLUMN_COUNT; column++)
		widths[column] = width_of(config, (enum column)column);
	for (size_t row = 0; row <= SK_KNOB_COUNT; row++) {
		const struct knob *knob = row == 0 ? NULL : &knobs[row - 1];

		for (int column = 0; column < COLUMN_COUNT; column++) {
			size_t before = text->length;

			text_add_cell(text, config, knob, (enum column)column);
			if (column + 1 == COLUMN_COUNT)
				text_add(text, "\n");
			else
				text_add(text, "%*s",
					 (int)(widths[column] + 2 - (text->length - before)), "");
		}
	}
}

/* ---- The public functions ---- */

void skua_config_init(skua_config *config)
{
	memset(config, 0, sizeof *config);
	config->struct_size = sizeof *config;
	for (size_t i = 0; i < SK_KNOB_COUNT; i++) {
		if (knobs[i].kind != CPUS)
			*number_of(config, &knobs[i]) = knobs[i].initial;
	}
}

int skua_config_resolve(skua_config *config)
{
	struct sk_config resolved;
	int result = sk_config_resolve_copy(config, &resolved);
	const char *cpus;

	if (result < 0)
		return result;
	cpus = config->cpus;
	if (resolved.public.cpus == NULL) {
		cpus = NULL;
	} else if (resolved.origin[CPUS_KNOB] == SK_ORIGIN_ENVIRONMENT) {
		/* This config cannot hold the text. With no space left it is getenv's own. */
		cpus = sk_remember(resolved.cpus, NULL);
		if (cpus == NULL)
			cpus = getenv(knobs[CPUS_KNOB].variable);
	}
	*config = resolved.public;
	config->cpus = cpus;
	return 0;
}

int skua_config_describe(const skua_config *config, char *text, size_t size)
{
	struct sk_config resolved;
	struct text table;
	int result = resolve(config, &resolved);

	if (result < 0)
		return result;
	if (text == NULL && size > 0)
		return -EINVAL;
	table.start = text;
	table.size = size;
	table.length = 0;
	text_add_table(&table, &resolved);
	return (int)table.length;
}

/*
 * canary.c - cases that fail on purpose: if one of them passes, what all others say means nothing.
 *
 * Each uses an IO blocker or an echo while a call of it is made to fail, and answers that in a way
 * that must not be. The canaries run in a process of their own, before everything else.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"

struct canary {
	const char *message; /* if it passes */
	const char *fault, *problem;
	int error;      /* what it makes of any failure; 0: the failure itself */
	unsigned flags; /* of the scenario */
	enum sin { NONE, LEAKS_MEMORY, LEAKS_DESCRIPTOR, IS_WRONG } sin;
};

#define REGISTER "epoll_ctl:1:ENOMEM:once"
#define UNEXPLAINED "which this failure does not explain"

static const struct canary canaries[] = {
	{"a leak of memory was not found", REGISTER, "left behind: 1 ", 0, SCENARIO_STANDALONE,
	 LEAKS_MEMORY},
	{"a leak of a descriptor was not found", REGISTER, ", 1 descriptors", 0,
	 SCENARIO_STANDALONE, LEAKS_DESCRIPTOR},
	{"a wrong result was not found", REGISTER, "on purpose", 0, SCENARIO_STANDALONE, IS_WRONG},
	{"an error that nothing explains was taken", REGISTER, UNEXPLAINED, EDOM,
	 SCENARIO_STANDALONE, NONE},
	{"EPIPE without a connection was taken", "recv:1:ENOMEM:once", UNEXPLAINED, EPIPE, 0, NONE},
	{"EPIPE after a call that moves no data was taken", REGISTER, UNEXPLAINED, EPIPE,
	 SCENARIO_STANDALONE | SCENARIO_PEER, NONE},
	{"an error that is to be got over was taken", "close:1:EIO:once", UNEXPLAINED, EIO,
	 SCENARIO_STANDALONE, NONE},
	{"a scenario that did not end was taken", REGISTER, "no end", ETIMEDOUT,
	 SCENARIO_STANDALONE, NONE},
};

enum { CANARIES = sizeof canaries / sizeof *canaries };

static const struct canary *current;
static void *leaked; /* LeakSanitizer is not to find it as well */

static int use_blocker(skua_blocker *blocker)
{
	skua_registration registration = {.fd = -1};
	int ends[2], rc;

	if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0)
		return 0;
	rc = skua_blocker_register(blocker, ends[0], (skua_interest){1, SKUA_READABLE},
				   &registration);
	if (rc < 0)
		close(ends[0]);
	else
		skua_blocker_deregister(blocker, &registration, 1);
	close(ends[1]);
	return rc;
}

static int use_new_blocker(struct env *env)
{
	skua_blocker *blocker;
	int rc = skua_blocker_new(io_backend_of(env->io), &blocker);

	if (rc < 0)
		return rc;
	rc = use_blocker(blocker);
	skua_blocker_free(blocker);
	return rc;
}

static int run_canary(struct env *env)
{
	int rc = env->rt != NULL ? echo_once(env) : use_new_blocker(env);

	if (fault_delivered() == 0)
		return 0;
	if (current->sin == LEAKS_MEMORY)
		leaked = memory_take();
	else if (current->sin == LEAKS_DESCRIPTOR)
		(void)!dup(STDERR_FILENO);
	else if (current->sin == IS_WRONG)
		env_wrong(env, "wrong on purpose");
	return current->error != 0 ? -current->error : rc;
}

static bool has_failed(const struct canary *canary)
{
	const struct scenario scenario = {"canary", canary->flags, run_canary, NULL};
	const struct job job = {&scenario, SKUA_IO_BACKEND_EPOLL, 1, "faults/canary"};
	struct outcome outcome;
	struct fault fault;

	current = canary;
	if (!fault_parse(canary->fault, &fault))
		return false;
	warm_up(&job);
	alarm((unsigned)case_limit() + 1);
	case_run(&job, &fault, &outcome);
	alarm(0);
	return outcome.delivered > 0 && strstr(outcome.problem, canary->problem) != NULL;
}

/* Exits with 0, or with the number of the first canary that has passed. */
static void run_child(void)
{
	int passed = 0;

	prepare_process();
	for (int i = 0; i < CANARIES && passed == 0; i++)
		if (!has_failed(&canaries[i]))
			passed = i + 1;
	/* Not exit(): what is left behind is left on purpose. */
	_exit(passed);
}

const char *run_canaries(void)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		run_child();
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) > CANARIES)
		return "the process of the canaries has not ended well";
	return WEXITSTATUS(status) == 0 ? NULL : canaries[WEXITSTATUS(status) - 1].message;
}

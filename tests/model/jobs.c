/* jobs.c - see jobs.h. */
#include "tests/model/jobs.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 64 };

struct part {
	unsigned process; /* counted from 1; 0 is not done */
	off_t from, to;   /* of what this process printed */
};

static void die(const char *what)
{
	perror(what);
	exit(2);
}

void *mc_shared(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

/* One process: its stdout is a file in memory, and it says by the pipe which part is done. */
static _Noreturn void work(unsigned process, unsigned count, void (*run)(unsigned i), int output,
			   int done, struct part *parts, atomic_uint *next)
{
	unsigned i;

	if (dup2(output, STDOUT_FILENO) < 0)
		die("dup2");
	while ((i = atomic_fetch_add(next, 1)) < count) {
		parts[i].from = lseek(output, 0, SEEK_CUR);
		run(i);
		fflush(stdout);
		parts[i].to = lseek(output, 0, SEEK_CUR);
		parts[i].process = process;
		if (write(done, &i, sizeof i) != sizeof i)
			die("write");
	}
	_exit(0);
}

static void print(const struct part *part, int output)
{
	char text[4096];

	for (off_t at = part->from; at < part->to;) {
		size_t left = (size_t)(part->to - at);
		ssize_t n = pread(output, text, left < sizeof text ? left : sizeof text, at);

		if (n <= 0)
			die("pread");
		fwrite(text, 1, (size_t)n, stdout);
		at += n;
	}
	fflush(stdout);
}

unsigned mc_jobs(unsigned jobs, unsigned count, void (*run)(unsigned i))
{
	struct part *parts = mc_shared((count + 1) * sizeof *parts);
	atomic_uint *next = mc_shared(sizeof *next);
	int outputs[PROCESSES], pipes[2];
	unsigned printed = 0, dead = 0, i;

	if (jobs > PROCESSES)
		jobs = PROCESSES;
	if (pipe(pipes) < 0)
		die("pipe");
	fflush(stdout);
	for (i = 0; i < jobs; i++) {
		pid_t child;

		outputs[i] = memfd_create("explorer", MFD_CLOEXEC);
		if (outputs[i] < 0)
			die("memfd_create");
		child = fork();
		if (child < 0)
			die("fork");
		if (child == 0)
			work(i + 1, count, run, outputs[i], pipes[1], parts, next);
	}
	close(pipes[1]);
	/* Each word in the pipe is a part; at its end all processes have gone. */
	while (read(pipes[0], &i, sizeof i) == sizeof i)
		for (; printed < count && parts[printed].process != 0; printed++)
			print(&parts[printed], outputs[parts[printed].process - 1]);
	for (; printed < count; printed++)
		if (parts[printed].process != 0)
			print(&parts[printed], outputs[parts[printed].process - 1]);
		else
			dead++;
	while (wait(NULL) > 0)
		;
	for (i = 0; i < jobs; i++)
		close(outputs[i]);
	close(pipes[0]);
	return dead;
}

/* test_placement.c - where the driver's thread may run: beside the one worker that the load needs, and
 * anywhere otherwise (sched/demand.h). */
#include <dirent.h>
#include <sched.h>

#include "echo_support.h"

/* ---- A load that one worker can carry ---- */

struct asker {
	skua_coro co;
	skua_tcp *conn;
	skua_timer timer;
	int64_t rc;
	char byte;
};

/* Asks a thousand times a second at most, so that all of them leave a CPU time to spare. */
static skua_poll asker(skua_cx *cx, struct asker *self)
{
	SKUA_BEGIN(self);
	do {
		SKUA_AWAIT(self->rc = skua_write_all(cx, self->conn, &self->byte, 1));
		if (self->rc >= 0)
			SKUA_AWAIT(self->rc = skua_read(cx, self->conn, &self->byte, 1));
		if (self->rc >= 0)
			SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, SKUA_MSEC));
	} while (self->rc >= 0);
	SKUA_END(self->rc);
}
SKUA_CORO(asker, struct asker);

enum { PAIRS = 16 }; /* many in one wake: a poll must not seem to take long */

struct load {
	struct net nets[PAIRS];
	skua_task *asking[PAIRS], *answering[PAIRS];
};

static void load_begin(struct load *load, uint32_t kind)
{
	struct net net = net_listen(2, kind);

	for (int i = 0; i < PAIRS; i++) {
		struct echo answering = {.co = SKUA_CORO_INIT(echo)};
		struct asker asking = {.co = SKUA_CORO_INIT(asker)};

		net_connect(&net);
		load->nets[i] = net;
		answering.conn = net.server;
		asking.conn = net.client;
		load->answering[i] = start_future(net.rt, &answering.co);
		load->asking[i] = start_future(net.rt, &asking.co);
	}
}

static void load_end(struct load *load)
{
	for (int i = 0; i < PAIRS; i++) {
		skua_cancel(load->asking[i]);
		T_EQ(skua_task_wait(&load->asking[i]), -ECANCELED);
		skua_cancel(load->answering[i]);
		T_EQ(skua_task_wait(&load->answering[i]), -ECANCELED);
		/* The echo has closed the other end. */
		skua_tcp_close(load->nets[i].client);
	}
}

/* ---- What the driver's thread may run on ---- */

static pid_t find_thread(const char *name)
{
	DIR *folder = opendir("/proc/self/task");
	struct dirent *entry;
	pid_t found = 0;

	T_NOT_NULL(folder);
	while (found == 0 && (entry = readdir(folder)) != NULL) {
		char path[300], text[32] = "";
		FILE *file;

		snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
		file = fopen(path, "r");
		if (file == NULL)
			continue;
		if (fgets(text, sizeof text, file) != NULL &&
		    strncmp(text, name, strlen(name)) == 0)
			found = (pid_t)atoi(entry->d_name);
		fclose(file);
	}
	closedir(folder);
	return found;
}

/* It names itself when it begins. */
static pid_t driver_thread(void)
{
	pid_t found = 0;

	for (int i = 0; i < 20000 && found == 0; i++) {
		found = find_thread("skua-io-0");
		if (found == 0)
			sleep_ms(1);
	}
	T_GT(found, 0);
	return found;
}

static int cpus_of(pid_t thread)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	T_EQ(sched_getaffinity(thread, sizeof set, &set), 0);
	return CPU_COUNT(&set);
}

static int has_one_cpu(pid_t thread)
{
	return cpus_of(thread) == 1;
}

static int has_all_cpus(pid_t thread)
{
	return cpus_of(thread) == cpus_of(0);
}

static int becomes(int (*condition)(pid_t thread), pid_t thread, long ms)
{
	while (!condition(thread)) {
		if (ms-- == 0)
			return 0;
		sleep_ms(1);
	}
	return 1;
}

static void skip_if_impossible(void)
{
	if (cpus_of(0) == 1)
		T_SKIP("the process may use one CPU only");
	if (T_SANITIZED)
		T_SKIP("under a sanitizer each poll seems to compute for long");
}

static void follows_and_comes_back(uint32_t kind)
{
	struct load load;
	pid_t driver;

	skip_if_impossible();
	load_begin(&load, kind);
	driver = driver_thread();
	T_NE(becomes(has_one_cpu, driver, 20000), 0);
	load_end(&load);
	/* When nothing happens any more it is where it was. */
	T_NE(becomes(has_all_cpus, driver, 20000), 0);
	skua_listener_close(load.nets[0].listener);
	T_EQ(skua_runtime_free(load.nets[0].rt), 0);
}

T_TEST(placement, driver_runs_beside_the_only_worker_that_is_needed)
{
	follows_and_comes_back(IO_DRIVER);
}

T_TEST(placement, driver_of_the_uv_backend_does_too)
{
	follows_and_comes_back(IO_UV);
}

/* There the driver is not on the road of an event. */
T_TEST(placement, driver_stays_where_workers_wait_for_events)
{
	struct load load;
	pid_t driver;

	skip_if_impossible();
	load_begin(&load, IO_EPOLL);
	driver = driver_thread();
	T_EQ(becomes(has_one_cpu, driver, 300), 0);
	load_end(&load);
	skua_listener_close(load.nets[0].listener);
	T_EQ(skua_runtime_free(load.nets[0].rt), 0);
}

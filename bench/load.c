/*
 * bench/load.c - skua-load, an HTTP load generator that is itself a Skua program.
 *
 * Each connection is a task that sends a request, reads the whole answer, and only then sends the
 * next one (a closed loop; with --pipeline D, D requests at a time). So the number of requests in
 * flight is constant, and the latencies say how long each took when that many were.
 *
 * Before the run one request is made alone. Its answer has to be what was asked for (status, body),
 * and with --verify every byte of every later answer is compared with it. The run ends after
 * --seconds or --requests, whichever comes first, and in any case GRACE later: connections that
 * still wait then are cancelled, and count as timeouts.
 *
 * Nothing is shared between connections while they run: each counts for itself, and the counts are
 * added up in the end. Nothing is allocated for a request.
 */
#include <errno.h>
#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../examples/common.h"
#include "histogram.h"

#define GRACE (2 * SKUA_SEC)

enum {
	REFERENCE_MAX = 64 * 1024, /* the longest answer that can be verified */
	PIPELINE_MAX = 256,
};

/* ---- What is counted ---- */

enum failure {
	FAILED_CONNECT,
	FAILED_READ,
	FAILED_WRITE,
	FAILED_TIMEOUT,
	FAILED_STATUS,
	FAILED_BYTES,
	FAILURES,
};

static const char *const failure_names[FAILURES] = {
	"connect", "read", "write", "timeout", "status", "bytes",
};

/* One for each connection, so that no two workers write to the same place. */
struct tally {
	struct histogram latencies; /* of all answers, in nanoseconds */
	uint64_t bytes;
	uint64_t failures[FAILURES];
};

static void tally_add(struct tally *sum, const struct tally *part)
{
	histogram_add(&sum->latencies, &part->latencies);
	sum->bytes += part->bytes;
	for (int i = 0; i < FAILURES; i++)
		sum->failures[i] += part->failures[i];
}

static uint64_t tally_failures(const struct tally *tally)
{
	uint64_t sum = 0;

	for (int i = 0; i < FAILURES; i++)
		sum += tally->failures[i];
	return sum;
}

/* ---- What all connections do; written before the run, and only read during it ---- */

static struct plan {
	const char *host, *path, *expect_body;
	int64_t port, connections, seconds, requests, pipeline, workers, expect_status;
	int64_t verify, json;
	skua_addr addr;
	char address[64];    /* the same as text */
	char *request;       /* as many requests in a row as are sent at once... */
	size_t request_size; /* ...of this many bytes each */
	char *reference;     /* the answer to the first request, head and body */
	size_t reference_size;
	uint64_t end; /* the moment after which no request is sent */
} plan = {
	.host = "127.0.0.1",
	.path = "/",
	.port = 8080,
	.connections = 64,
	.seconds = 10,
	.requests = OPTION_UNSET,
	.pipeline = 1,
	.workers = OPTION_UNSET,
	.expect_status = 200,
};

static void plan_read(int argc, char **argv)
{
	const struct option options[] = {
		OPTION_TEXT("--host", "ADDRESS", &plan.host, "numeric address of the server"),
		OPTION_NUMBER("--port", "PORT", &plan.port, 1, 65535, "its port"),
		OPTION_TEXT("--path", "PATH", &plan.path, "what is asked for"),
		OPTION_NUMBER("--connections", "N", &plan.connections, 1, 100000,
			      "connections at a time"),
		OPTION_NUMBER("--pipeline", "N", &plan.pipeline, 1, PIPELINE_MAX,
			      "requests sent at once on a connection"),
		OPTION_NUMBER("--seconds", "S", &plan.seconds, 1, 86400, "end after this time"),
		OPTION_NUMBER("--requests", "N", &plan.requests, 1, INT64_MAX,
			      "end after so many requests, if that is sooner"),
		WORKERS_OPTION(&plan.workers),
		OPTION_NUMBER("--expect-status", "CODE", &plan.expect_status, 100, 599,
			      "the status of every answer"),
		OPTION_TEXT("--expect-body", "TEXT", &plan.expect_body,
			    "the body of the first answer"),
		OPTION_FLAG("--verify", &plan.verify,
			    "compare every byte of every answer with the first one"),
		OPTION_FLAG("--json", &plan.json, "print the result as one JSON object"),
	};

	options_read(argc, argv,
		     "Loads an HTTP server, and tells how fast and how well it answers.", options,
		     sizeof options / sizeof options[0]);
	if (skua_addr_parse(&plan.addr, plan.host, (int)plan.port) < 0 ||
	    skua_addr_format(&plan.addr, plan.address, sizeof plan.address) < 0)
		die(2, "--host: '%s' is not a numeric address", plan.host);
	if (plan.path[0] != '/' || strpbrk(plan.path, " \t\r\n"))
		die(2, "--path: '%s' does not start with '/', or has a space in it", plan.path);
	if (plan.requests != OPTION_UNSET && plan.connections > plan.requests)
		plan.connections = plan.requests;
}

static void *allocate(size_t count, size_t size)
{
	void *block = calloc(count, size);

	if (block == NULL)
		die(1, "out of memory");
	return block;
}

static void plan_requests(void)
{
	static const char format[] = "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n";
	size_t size = (size_t)snprintf(NULL, 0, format, plan.path, plan.address);

	plan.request_size = size;
	plan.request = allocate((size_t)plan.pipeline + 1, size);
	for (int64_t i = 0; i < plan.pipeline; i++)
		snprintf(plan.request + (size_t)i * size, size + 1, format, plan.path,
			 plan.address);
}

/* ---- The first request ---- */

/* A future that is not spawned but run with skua_block_on, and stays in main's hands. */
struct probe {
	skua_coro co;
	skua_timer timer;
	skua_tcp *conn;
	int64_t n;
	int complete;
	int keep_alive;
	size_t body_size;
	http_parser parser;
	char body[REFERENCE_MAX];
};

static int probe_on_body(http_parser *parser, const char *piece, size_t size)
{
	struct probe *self = parser->data;

	memcpy(self->body + self->body_size, piece, size); /* never longer than the whole answer */
	self->body_size += size;
	return 0;
}

static int probe_on_complete(http_parser *parser)
{
	struct probe *self = parser->data;

	self->complete = 1;
	self->keep_alive = http_should_keep_alive(parser);
	return 0;
}

static const http_parser_settings probe_callbacks = {
	.on_body = probe_on_body,
	.on_message_complete = probe_on_complete,
};

static skua_poll probe_read(skua_cx *cx, struct probe *self)
{
	return skua_timeout(cx, &self->timer, GRACE,
			    skua_read(cx, self->conn, plan.reference + plan.reference_size,
				      REFERENCE_MAX - plan.reference_size));
}

/* Returns 0 when a whole answer is in plan.reference; -EPROTO if it is none, or is too long. */
static skua_poll probe(skua_cx *cx, struct probe *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->n = skua_timeout(cx, &self->timer, GRACE,
					  skua_connect(cx, &plan.addr, &self->conn)));
	if (self->n < 0)
		SKUA_RETURN(self->n);
	SKUA_AWAIT(self->n = skua_write_all(cx, self->conn, plan.request, plan.request_size));
	while (self->n > 0 && !self->complete) {
		SKUA_AWAIT(self->n = probe_read(cx, self));
		if (self->n <= 0)
			break;
		http_parser_execute(&self->parser, &probe_callbacks,
				    plan.reference + plan.reference_size, (size_t)self->n);
		plan.reference_size += (size_t)self->n;
		if (HTTP_PARSER_ERRNO(&self->parser) != HPE_OK)
			self->n = -EPROTO;
	}
	skua_tcp_close(self->conn);
	if (self->n == 0)
		self->n = -EPROTO; /* the end came before the end of the answer */
	SKUA_END(self->n < 0 ? self->n : 0);
}
SKUA_CORO(probe, struct probe);

/* Makes one request, and ends the program unless the answer is the right one. */
static void make_first_request(skua_runtime *runtime)
{
	static struct probe first = {.co = SKUA_CORO_INIT(probe)};
	skua_poll rc;

	plan.reference = allocate(1, REFERENCE_MAX);
	http_parser_init(&first.parser, HTTP_RESPONSE);
	first.parser.data = &first;
	rc = skua_block_on(runtime, &first.co);
	if (rc == -EPROTO)
		die(1, "%s does not give an HTTP answer of known length, below %d KiB",
		    plan.address, REFERENCE_MAX / 1024);
	if (rc < 0)
		die(1, "no answer from %s: %s", plan.address, error_text(rc));
	if (first.parser.status_code != plan.expect_status)
		die(1, "%s answers with status %d", plan.address, (int)first.parser.status_code);
	if (!first.keep_alive)
		die(1, "%s closes the connection after each answer", plan.address);
	if (plan.expect_body && (strlen(plan.expect_body) != first.body_size ||
				 memcmp(plan.expect_body, first.body, first.body_size) != 0))
		die(1, "the body is not '%s' but '%.*s'", plan.expect_body, (int)first.body_size,
		    first.body);
}

/* ---- One connection ---- */

struct client {
	skua_coro co;
	struct tally *tally;
	skua_tcp *conn;
	int64_t left;    /* requests to be sent */
	int64_t due;     /* answers to those that have been sent */
	int64_t n;       /* bytes read or written, or the error */
	uint64_t sent;   /* when they were sent */
	uint64_t now;    /* when the last bytes were read */
	size_t expected; /* where in the reference the next byte stands */
	http_parser parser;
	char in[8192];
};

static int client_on_complete(http_parser *parser)
{
	struct client *self = parser->data;

	if (self->due == 0)
		return -1; /* an answer to nothing */
	self->due--;
	histogram_count(&self->tally->latencies, self->now - self->sent);
	if (parser->status_code != plan.expect_status)
		self->tally->failures[FAILED_STATUS]++;
	return 0;
}

static const http_parser_settings client_callbacks = {
	.on_message_complete = client_on_complete,
};

/* Whether what was read goes on repeating the reference. */
static int as_expected(struct client *self)
{
	const char *bytes = self->in;
	size_t left = (size_t)self->n;

	while (left > 0) {
		size_t size = plan.reference_size - self->expected;

		if (size > left)
			size = left;
		if (memcmp(bytes, plan.reference + self->expected, size) != 0)
			return 0;
		self->expected = (self->expected + size) % plan.reference_size;
		bytes += size;
		left -= size;
	}
	return 1;
}

/* Looks at what was read. Returns 0 if it makes no sense. */
static int take_answers(struct client *self)
{
	self->now = skua_now();
	self->tally->bytes += (uint64_t)self->n;
	if (plan.verify && !as_expected(self))
		return 0;
	http_parser_execute(&self->parser, &client_callbacks, self->in, (size_t)self->n);
	return HTTP_PARSER_ERRNO(&self->parser) == HPE_OK;
}

/* Takes as many requests on as go at once. Returns 0 if the run is over. */
static int next_batch(struct client *self)
{
	self->sent = self->now;
	self->due = self->left < plan.pipeline ? self->left : plan.pipeline;
	self->left -= self->due;
	return self->due > 0 && self->now < plan.end;
}

static void count_failure(struct client *self, enum failure failure)
{
	if (self->n == -ECANCELED || self->n == -ETIMEDOUT)
		failure = FAILED_TIMEOUT;
	self->tally->failures[failure]++;
}

static skua_poll client(skua_cx *cx, struct client *self)
{
	SKUA_BEGIN(self);
	http_parser_init(&self->parser, HTTP_RESPONSE);
	self->parser.data = self;

	SKUA_AWAIT(self->n = skua_connect(cx, &plan.addr, &self->conn));
	if (self->n < 0) {
		count_failure(self, FAILED_CONNECT);
		SKUA_RETURN(self->n);
	}
	self->now = skua_now();
	while (next_batch(self)) {
		SKUA_AWAIT(self->n = skua_write_all(cx, self->conn, plan.request,
						    (size_t)self->due * plan.request_size));
		if (self->n < 0) {
			count_failure(self, FAILED_WRITE);
			break;
		}
		while (self->due > 0) {
			SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->in, sizeof self->in));
			if (self->n <= 0) {
				count_failure(self, FAILED_READ);
				goto close;
			}
			if (!take_answers(self)) {
				count_failure(self, FAILED_BYTES);
				goto close;
			}
		}
	}
close:
	skua_tcp_close(self->conn);
	SKUA_END(0);
}
SKUA_CORO(client, struct client);

/* ---- The run ---- */

struct run {
	skua_coro co;
	skua_timer timer;
	skua_task **clients;
	int64_t i;
	int64_t rc;
};

/* Awaits every client; those that are not done in time are cancelled. */
static skua_poll run(skua_cx *cx, struct run *self)
{
	SKUA_BEGIN(self);
	for (; self->i < plan.connections; self->i++) {
		SKUA_AWAIT(self->rc = skua_deadline(cx, &self->timer, plan.end + GRACE,
						    skua_join(cx, &self->clients[self->i])));
		if (self->clients[self->i] == NULL)
			continue;
		skua_cancel(self->clients[self->i]);
		SKUA_AWAIT(self->rc = skua_join(cx, &self->clients[self->i]));
	}
	SKUA_END(0);
}
SKUA_CORO(run, struct run);

/* Runs the whole load. Returns what happened; the caller frees it. */
static struct tally *make_load(skua_runtime *runtime, double *seconds)
{
	size_t count = (size_t)plan.connections;
	struct tally *tallies = allocate(count + 1, sizeof *tallies);
	struct run all = {.co = SKUA_CORO_INIT(run),
			  .clients = allocate(count, sizeof(skua_task *))};
	struct client each = {.co = SKUA_CORO_INIT(client)};
	uint64_t start = skua_now();
	int64_t rc = 0;

	plan.end = start + (uint64_t)plan.seconds * SKUA_SEC;
	for (size_t i = 0; i < count && rc == 0; i++) {
		each.tally = &tallies[i + 1];
		each.left = INT64_MAX;
		if (plan.requests != OPTION_UNSET)
			each.left = plan.requests / plan.connections +
				    ((int64_t)i < plan.requests % plan.connections);
		rc = skua_spawn(runtime, &each.co, &all.clients[i]);
	}
	if (rc == 0)
		rc = skua_block_on(runtime, &all.co);
	if (rc < 0)
		die(1, "cannot run: %s", error_text(rc));
	*seconds = (double)(skua_now() - start) / (double)SKUA_SEC;

	for (size_t i = 0; i < count; i++)
		tally_add(&tallies[0], &tallies[i + 1]);
	free(all.clients);
	return tallies;
}

/* ---- The report ---- */

static void print_text(const struct tally *sum, double seconds)
{
	printf("%lld connections, %lld at once, %.2f s: http://%s%s\n", (long long)plan.connections,
	       (long long)plan.pipeline, seconds, plan.address, plan.path);
	printf("requests  %llu%s\n", (unsigned long long)sum->latencies.count,
	       plan.verify ? ", every byte as in the first answer" : "");
	printf("req/s     %.0f\n", (double)sum->latencies.count / seconds);
	printf("errors    %llu (", (unsigned long long)tally_failures(sum));
	for (int i = 0; i < FAILURES; i++)
		printf("%s%s %llu", i ? ", " : "", failure_names[i],
		       (unsigned long long)sum->failures[i]);
	printf(")\nlatency   p50 %.1f, p90 %.1f, p99 %.1f, p99.9 %.1f, max %.1f us\n",
	       histogram_quantile(&sum->latencies, 0.5) / 1000,
	       histogram_quantile(&sum->latencies, 0.9) / 1000,
	       histogram_quantile(&sum->latencies, 0.99) / 1000,
	       histogram_quantile(&sum->latencies, 0.999) / 1000,
	       (double)sum->latencies.longest / 1000);
}

static void print_json(const struct tally *sum, double seconds)
{
	printf("{\"connections\": %lld, \"pipeline\": %lld, \"seconds\": %.3f, ",
	       (long long)plan.connections, (long long)plan.pipeline, seconds);
	printf("\"requests\": %llu, \"requests_per_second\": %.1f, \"bytes\": %llu, ",
	       (unsigned long long)sum->latencies.count, (double)sum->latencies.count / seconds,
	       (unsigned long long)sum->bytes);
	printf("\"verified\": %s, \"errors\": {\"total\": %llu", plan.verify ? "true" : "false",
	       (unsigned long long)tally_failures(sum));
	for (int i = 0; i < FAILURES; i++)
		printf(", \"%s\": %llu", failure_names[i], (unsigned long long)sum->failures[i]);
	printf("}, \"latency_us\": {");
	histogram_print_json(&sum->latencies, 1000);
	printf("}}\n");
}

int main(int argc, char **argv)
{
	skua_runtime *runtime;
	struct tally *sum;
	double seconds;
	int failed;

	plan_read(argc, argv);
	plan_requests();
	raise_descriptor_limit();
	runtime = runtime_start(plan.workers);
	make_first_request(runtime);
	sum = make_load(runtime, &seconds);
	failed = tally_failures(sum) > 0;
	(plan.json ? print_json : print_text)(sum, seconds);
	free(sum);
	free(plan.reference);
	free(plan.request);
	return skua_runtime_free(runtime) < 0 || failed;
}

/*
 * net_http.h - the requests and answers of the net servers that are written in C and C++, ours among
 * them: all of these understand the same things, by the same code.
 *
 * A request is everything up to an empty line; its path stands between its first two spaces. Every
 * answer is the same bytes. /close also ends the connection, and /compute/USEC comes after a
 * computation; every other path is answered like /. What comes after a request that has no path, or
 * that does not fit into the buffer, is not looked at: the connection ends.
 */
#ifndef SKUA_BENCH_NET_HTTP_H
#define SKUA_BENCH_NET_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HTTP_ANSWER                                                                                \
	"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!"

enum {
	HTTP_BUFFER = 4096,
	HTTP_ANSWER_SIZE = sizeof HTTP_ANSWER - 1,
	HTTP_MAX_USEC = 10 * 1000 * 1000, /* more than this is computed for no request */
};

/* How far the answering of a buffer came. Its answers have to be written first in each case. */
enum http_state {
	HTTP_READ,  /* no complete request is left: read more */
	HTTP_ROOM,  /* there is no room for another answer: go on answering */
	HTTP_CLOSE, /* that was the last one */
};

/*
 * The bytes of a connection: parsed <= used <= sizeof in, sent <= unsent <= sizeof out. What lies
 * between `parsed` and `used` is yet to be answered, what lies between `sent` and `unsent` to be
 * written. Between http_answer and the next read there is room to read: used < sizeof in.
 */
struct http_buffers {
	uint32_t parsed, used;
	uint32_t sent, unsent;
	char in[HTTP_BUFFER];
	char out[HTTP_BUFFER];
};

/* The arrays stay as they are. */
static inline void http_init(struct http_buffers *buffers)
{
	buffers->parsed = buffers->used = 0;
	buffers->sent = buffers->unsent = 0;
}

/* Whether a connection needs no buffers until something is read. */
static inline bool http_is_empty(const struct http_buffers *buffers)
{
	return buffers->parsed == buffers->used && buffers->sent == buffers->unsent;
}

static inline void http_copy(struct http_buffers *to, const struct http_buffers *from)
{
	to->parsed = 0;
	to->used = from->used - from->parsed;
	memcpy(to->in, from->in + from->parsed, to->used);
	to->sent = 0;
	to->unsent = from->unsent - from->sent;
	memcpy(to->out, from->out + from->sent, to->unsent);
}

/* Behind the empty line, or NULL. */
static inline const char *http_find_end(const char *begin, const char *end)
{
	while (end - begin >= 4) {
		/* The last place where an empty line can begin is 4 before the end. */
		begin = (const char *)memchr(begin, '\r', (size_t)(end - begin) - 3);
		if (begin == NULL)
			return NULL;
		if (memcmp(begin, "\r\n\r\n", 4) == 0)
			return begin + 4;
		begin++;
	}
	return NULL;
}

/* Rounds of xorshift64, `spin` for each microsecond. */
static inline void http_compute(const char *digits, const char *end, uint64_t spin)
{
	uint64_t x = UINT64_C(88172645463325252), usec = 0;

	while (digits < end && *digits >= '0' && *digits <= '9' && usec <= HTTP_MAX_USEC)
		usec = usec * 10 + (uint64_t)(*digits++ - '0');
	if (usec > HTTP_MAX_USEC)
		usec = HTTP_MAX_USEC;
	for (uint64_t i = usec * spin; i > 0; i--) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	/* The result is used: the compiler must have it. */
	__asm__ volatile("" : : "r"(x));
}

/* Does what the path of a request asks for. False: close the connection, after an answer if
 * *answered is true. */
static inline bool http_obey(const char *request, const char *end, uint64_t spin, bool *answered)
{
	const char *path, *stop;
	size_t length;

	*answered = false;
	path = (const char *)memchr(request, ' ', (size_t)(end - request));
	if (path == NULL)
		return false;
	path++;
	stop = (const char *)memchr(path, ' ', (size_t)(end - path));
	if (stop == NULL || stop == path)
		return false;
	*answered = true;
	length = (size_t)(stop - path);
	if (length == 6 && memcmp(path, "/close", 6) == 0)
		return false;
	if (length > 9 && memcmp(path, "/compute/", 9) == 0)
		http_compute(path + 9, stop, spin);
	return true;
}

/* Answers complete requests as long as there is room. */
static inline enum http_state http_answer(struct http_buffers *buffers, uint64_t spin)
{
	for (;;) {
		const char *begin = buffers->in + buffers->parsed;
		const char *end = http_find_end(begin, buffers->in + buffers->used);
		bool answered, goes_on;

		if (end == NULL)
			break;
		if (sizeof buffers->out - buffers->unsent < HTTP_ANSWER_SIZE)
			return HTTP_ROOM;
		goes_on = http_obey(begin, end, spin, &answered);
		if (answered) {
			memcpy(buffers->out + buffers->unsent, HTTP_ANSWER, HTTP_ANSWER_SIZE);
			buffers->unsent += HTTP_ANSWER_SIZE;
		}
		buffers->parsed = (uint32_t)(end - buffers->in);
		if (!goes_on)
			return HTTP_CLOSE;
	}
	/* The beginning of a request goes to the front. */
	buffers->used -= buffers->parsed;
	if (buffers->used > 0 && buffers->parsed > 0)
		memmove(buffers->in, buffers->in + buffers->parsed, buffers->used);
	buffers->parsed = 0;
	return buffers->used == sizeof buffers->in ? HTTP_CLOSE : HTTP_READ;
}

#endif /* SKUA_BENCH_NET_HTTP_H */

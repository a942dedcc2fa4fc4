/* fd_model.c - see fd_model.h. Not itself observed: this is the kernel. */
#define FD_MODEL_ITSELF
#include "tests/model/fd_model.h"

#include <errno.h>
#include <string.h>

#include "tests/model/explorer.h"

enum { FILES = 20, FIRST = 3, WATCHED = 4 };

enum kind { NOT_OPEN, PIPE, EVENTFD, SOCKET, EPOLL };

/* A descriptor in an epoll set. */
struct watched {
	int fd;    /* 0: none */
	bool edge; /* of one that is edge-triggered */
	struct epoll_event event;
};

static struct file {
	enum kind kind;
	uint32_t file;
	uint32_t ready; /* of a socket and an eventfd: EPOLLIN and so on */
	struct watched watched[WATCHED];
} files[FILES];

static uint32_t opened;

#define HERE __builtin_return_address(0)

/* These come whether they are asked for or not. */
static const uint32_t always = EPOLLERR | EPOLLHUP;

static struct file *file_of(int fd, const char *what)
{
	if (fd < FIRST || fd >= FILES || files[fd].kind == NOT_OPEN)
		mc_fail("%s of descriptor %d, which is not open", what, fd);
	return &files[fd];
}

static int new_file(enum kind kind)
{
	for (int fd = FIRST; fd < FILES; fd++)
		if (files[fd].kind == NOT_OPEN) {
			files[fd] = (struct file){.kind = kind, .file = ++opened};
			return fd;
		}
	mc_fail("more than %d descriptors", FILES - FIRST);
}

uint32_t fd_file(int fd)
{
	return fd >= FIRST && fd < FILES && files[fd].kind != NOT_OPEN ? files[fd].file : 0;
}

int fd_open(void)
{
	int count = 0;

	for (int fd = FIRST; fd < FILES; fd++)
		count += files[fd].kind != NOT_OPEN;
	return count;
}

/* ---- Readiness ---- */

/* What of it an entry of an epoll set has to report. */
static uint32_t reports(const struct watched *watched)
{
	if (watched->fd == 0 || (!watched->edge && (watched->event.events & EPOLLET) != 0))
		return 0;
	return files[watched->fd].ready & (watched->event.events | always);
}

uint32_t fd_ready(int fd)
{
	struct file *file = file_of(fd, "poll");

	for (int i = 0; file->kind == EPOLL && i < WATCHED; i++)
		if (reports(&file->watched[i]) != 0)
			return EPOLLIN;
	return file->ready;
}

/* Makes the sets see an edge of a descriptor. */
static void raise_edges(int fd, uint32_t ready)
{
	for (int set = FIRST; set < FILES; set++)
		for (int i = 0; i < WATCHED; i++) {
			struct watched *watched = &files[set].watched[i];

			if (watched->fd == fd && (ready & (watched->event.events | always)) != 0)
				watched->edge = true;
		}
}

static void become_ready(int fd, uint32_t ready)
{
	files[fd].ready |= ready;
	raise_edges(fd, ready);
	mc_unblock(files, true);
}

bool fd_block(const char *what, bool timed)
{
	return mc_block(files, what, timed);
}

/* ---- Sockets and eventfds ---- */

int fd_socket(uint32_t ready)
{
	int fd;

	mc_step("socket", HERE);
	fd = new_file(SOCKET);
	files[fd].ready = ready;
	return fd;
}

void fd_raise(int fd, uint32_t ready)
{
	mc_step("the socket becomes ready", HERE);
	file_of(fd, "an event");
	become_ready(fd, ready);
}

int fd_use(int fd, uint32_t ready)
{
	struct file *file;

	mc_step("recv or send", HERE);
	file = file_of(fd, "recv or send");
	if ((file->ready & ready) == 0)
		return -EAGAIN;
	file->ready &= ~ready;
	return 0;
}

int fd_eventfd(unsigned value, int flags)
{
	(void)value, (void)flags;
	mc_step("eventfd", HERE);
	return new_file(EVENTFD);
}

int fd_eventfd_write(int fd, uint64_t value)
{
	(void)value;
	mc_step("write to the eventfd", HERE);
	file_of(fd, "write");
	become_ready(fd, EPOLLIN);
	return 0;
}

int fd_receive(int fd)
{
	struct file *file;

	mc_step("recv", HERE);
	file = file_of(fd, "recv");
	if ((file->ready & EPOLLIN) == 0)
		return (file->ready & EPOLLRDHUP) != 0 ? 0 : -EAGAIN;
	file->ready &= ~(uint32_t)EPOLLIN;
	return 1;
}

void fd_eventfd_read(int fd)
{
	mc_step("read of the eventfd", HERE);
	file_of(fd, "read")->ready = 0;
}

/* ---- System calls ---- */

int fd_pipe(int ends[2])
{
	mc_step("pipe", HERE);
	ends[0] = new_file(PIPE);
	ends[1] = new_file(PIPE);
	return 0;
}

int fd_close(int fd)
{
	mc_step("close", HERE);
	memset(file_of(fd, "close"), 0, sizeof files[0]);
	/* It leaves all epoll sets. */
	for (int set = FIRST; set < FILES; set++)
		for (int i = 0; i < WATCHED; i++)
			if (files[set].watched[i].fd == fd)
				files[set].watched[i].fd = 0;
	mc_unblock(files, true);
	return 0;
}

int fd_stat(int fd, struct stat *status)
{
	mc_step("fstat", HERE);
	file_of(fd, "fstat");
	memset(status, 0, sizeof *status);
	status->st_mode = S_IFSOCK;
	return 0;
}

int fd_epoll_create1(int flags)
{
	(void)flags;
	mc_step("epoll_create1", HERE);
	return new_file(EPOLL);
}

static struct watched *find(struct file *set, int fd)
{
	for (int i = 0; i < WATCHED; i++)
		if (set->watched[i].fd == fd)
			return &set->watched[i];
	return NULL;
}

static int fails(int error)
{
	errno = error;
	return -1;
}

int fd_epoll_ctl(int set, int operation, int fd, const struct epoll_event *event)
{
	struct file *file;
	struct watched *watched;

	mc_step("epoll_ctl", HERE);
	file = file_of(set, "epoll_ctl");
	file_of(fd, "epoll_ctl");
	watched = find(file, fd);
	if (operation == EPOLL_CTL_ADD && watched != NULL)
		return fails(EEXIST);
	if (operation != EPOLL_CTL_ADD && watched == NULL)
		return fails(ENOENT);
	if (operation == EPOLL_CTL_DEL) {
		watched->fd = 0;
		return 0;
	}
	if (watched == NULL)
		watched = find(file, 0);
	if (watched == NULL)
		mc_fail("an epoll set with more than %d descriptors", WATCHED);
	/* What is ready now is an edge. */
	*watched = (struct watched){fd, true, *event};
	mc_release_to(watched);
	mc_unblock(files, true);
	return 0;
}

/* What epoll_wait finds at once. */
static int collect(int set, struct epoll_event *events, int capacity)
{
	struct file *file = file_of(set, "epoll_wait");
	int count = 0;

	for (int i = 0; i < WATCHED && count < capacity; i++) {
		struct watched *watched = &file->watched[i];
		uint32_t ready = reports(watched);

		if (ready == 0)
			continue;
		watched->edge = false;
		mc_acquire_from(watched);
		events[count].events = ready;
		events[count++].data = watched->event.data;
	}
	return count;
}

int fd_epoll_wait(int set, struct epoll_event *events, int capacity, int timeout)
{
	uint64_t end = mc_now() + (uint64_t)timeout * 1000000;
	int count;

	mc_step("epoll_wait", HERE);
	while ((count = collect(set, events, capacity)) == 0 && timeout != 0) {
		if (timeout > 0 && mc_now() >= end)
			return 0;
		fd_block("waits in epoll_wait", timeout > 0);
	}
	return count;
}

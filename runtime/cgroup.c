/*
 * cgroup.c - how much CPU time the control groups of Linux allow this process.
 *
 * A control group may run for `quota` microseconds in every `period` microseconds, on all CPUs
 * together: quota / period is a number of CPUs. It is written in cpu.max (version 2) or in
 * cpu.cfs_quota_us and cpu.cfs_period_us (version 1), and every group up to the top limits what is
 * inside it: the smallest wins. Both versions may be mounted at the same time ("hybrid"); the one
 * that has no CPU controller has no such files, so both are simply looked at.
 *
 * Where the files are:
 *
 *     /proc/self/cgroup     the path of our group, once for each hierarchy
 *     /proc/self/mountinfo  where a hierarchy is mounted, and which group is the mount's top
 *
 * In a container these two do not always fit together. The cases, with the group our process is in,
 * the top of the mount, and what is read:
 *
 *     /a/b     /         <mount>/a/b, then <mount>/a, then <mount>
 *     /a/b     /a        <mount>/b, then <mount>
 *     /        /         <mount>
 *     /        /..       <mount>: it is above our group, whose name in it is unknown
 *     /../x    /         nothing: the mount shows a group that we are not in
 *     /a       /b        nothing, for the same reason
 *
 * What is missing or cannot be understood is no limit. The quota is rounded up: 1.5 CPUs keep two
 * workers busy three quarters of the time, and one worker could not use what is paid for.
 *
 * Files are read without stdio, which would allocate.
 */
#include "runtime/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/cpus.h"
#include "runtime/number.h"

#define PATH_SIZE 4096
/* Longer lines are passed over: those of control groups are a few hundred bytes at most. */
#define LINES_SIZE 8192

/* ---- Lines of a file ---- */

struct lines {
	int descriptor;
	size_t start;
	size_t end;
	char buffer[LINES_SIZE + 1]; /* one more for the NUL behind a last line without newline */
};

static bool lines_open(struct lines *lines, const char *root, const char *name)
{
	int length = snprintf(lines->buffer, sizeof lines->buffer, "%s%s", root, name);

	lines->start = 0;
	lines->end = 0;
	lines->descriptor = -1;
	if (length > 0 && (size_t)length < sizeof lines->buffer)
		lines->descriptor = open(lines->buffer, O_RDONLY | O_CLOEXEC);
	return lines->descriptor >= 0;
}

static void lines_close(struct lines *lines)
{
	close(lines->descriptor);
}

/* Gets more of the file behind what is there; false at its end. */
static bool lines_fill(struct lines *lines)
{
	ssize_t count;

	memmove(lines->buffer, lines->buffer + lines->start, lines->end - lines->start);
	lines->end -= lines->start;
	lines->start = 0;
	do {
		count = read(lines->descriptor, lines->buffer + lines->end,
			     LINES_SIZE - lines->end);
	} while (count < 0 && errno == EINTR);
	if (count <= 0)
		return false;
	lines->end += (size_t)count;
	return true;
}

/* The next line without its newline, until the next call; NULL at the end. */
static char *lines_next(struct lines *lines)
{
	bool too_long = false;

	for (;;) {
		char *line = lines->buffer + lines->start;
		char *newline = memchr(line, '\n', lines->end - lines->start);

		if (newline != NULL) {
			*newline = '\0';
			lines->start = (size_t)(newline + 1 - lines->buffer);
			if (!too_long)
				return line;
			too_long = false;
		} else if (lines->end - lines->start == LINES_SIZE) {
			lines->start = lines->end;
			too_long = true;
		} else if (!lines_fill(lines)) {
			line = lines->buffer + lines->start;
			if (too_long || lines->start == lines->end)
				return NULL;
			lines->buffer[lines->end] = '\0';
			lines->start = lines->end;
			return line;
		}
	}
}

/* The first line of <directory>/<name>. */
static bool read_line(const char *directory, const char *name, char *line, size_t size)
{
	struct lines lines;
	char *first;
	bool fits = false;

	if (!lines_open(&lines, directory, name))
		return false;
	first = lines_next(&lines);
	if (first != NULL && strlen(first) < size) {
		memcpy(line, first, strlen(first) + 1);
		fits = true;
	}
	lines_close(&lines);
	return fits;
}

/* ---- The quota of one group ---- */

/* The smaller limit, where 0 is none. */
static int smaller(int a, int b)
{
	if (a == 0 || (b != 0 && b < a))
		return b;
	return a;
}

static int whole_cpus(const char *quota_text, const char *period_text)
{
	uint64_t quota, period, cpus;

	/* "max" and "-1", which are no limit, are no numbers either. */
	if (!sk_number_read(quota_text, strlen(quota_text), INT64_MAX, &quota) ||
	    !sk_number_read(period_text, strlen(period_text), INT64_MAX, &period))
		return 0;
	if (quota == 0 || period == 0)
		return 0;
	cpus = quota / period + (quota % period != 0);
	return cpus < SK_CPUS_MAX ? (int)cpus : SK_CPUS_MAX;
}

static int quota_version1(const char *directory)
{
	char quota[64], period[64];

	if (!read_line(directory, "/cpu.cfs_quota_us", quota, sizeof quota) ||
	    !read_line(directory, "/cpu.cfs_period_us", period, sizeof period))
		return 0;
	return whole_cpus(quota, period);
}

static int quota_version2(const char *directory)
{
	char quota[64];
	char *blank;

	if (!read_line(directory, "/cpu.max", quota, sizeof quota))
		return 0;
	blank = strchr(quota, ' ');
	if (blank == NULL)
		return 0;
	*blank = '\0';
	return whole_cpus(quota, blank + 1);
}

/* ---- Our groups ---- */

struct groups {
	char version1
		[PATH_SIZE]; /* in the hierarchy with the CPU controller; "" if there is none */
	char version2[PATH_SIZE];
};

/* Whether `word` is in a list such as "cpu,cpuacct". */
static bool has_word(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (; list != NULL; list = strchr(list, ',')) {
		list += *list == ',';
		if (strncmp(list, word, length) == 0 && (list[length] == ',' || !list[length]))
			return true;
	}
	return false;
}

/* Lines are "4:cpu,cpuacct:/path" (version 1) and "0::/path" (version 2). */
static bool read_groups(const char *root, struct groups *groups)
{
	struct lines lines;
	char *line;

	groups->version1[0] = '\0';
	groups->version2[0] = '\0';
	if (!lines_open(&lines, root, "/proc/self/cgroup"))
		return false;
	while ((line = lines_next(&lines)) != NULL) {
		char *controllers = strchr(line, ':');
		char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

		if (path == NULL || path[1] != '/' || strlen(path + 1) >= PATH_SIZE)
			continue;
		*controllers++ = '\0';
		*path++ = '\0';
		if (strcmp(line, "0") == 0 && *controllers == '\0')
			memcpy(groups->version2, path, strlen(path) + 1);
		else if (has_word(controllers, "cpu"))
			memcpy(groups->version1, path, strlen(path) + 1);
	}
	lines_close(&lines);
	return groups->version1[0] != '\0' || groups->version2[0] != '\0';
}

/* ---- Where they are mounted ---- */

struct mount {
	char *top;     /* the group that the mount shows as its root directory */
	char *point;   /* the directory where it does */
	char *type;    /* "cgroup" is version 1, "cgroup2" is version 2 */
	char *options; /* of the file system: controllers are among them in version 1 */
};

/* The kernel writes blanks, tabs, newlines and backslashes as three octal digits. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from != '\0'; from++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
		    from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
			*to++ = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + from[3] - '0');
			from += 3;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
}

/* Cuts the next word off; "" at the end of the line. */
static char *cut_word(char **rest)
{
	char *word = *rest;
	char *blank = strchr(word, ' ');

	if (blank == NULL) {
		*rest = word + strlen(word);
	} else {
		*blank = '\0';
		*rest = blank + 1;
	}
	return word;
}

/* A line is "32 31 0:29 <top> <point> rw,relatime shared:9 - <type> <source> <options>". */
static bool parse_mount(char *line, struct mount *mount)
{
	char *second = strstr(line, " - ");

	if (second == NULL)
		return false;
	*second = '\0';
	second += strlen(" - ");
	for (int skipped = 0; skipped < 3; skipped++)
		cut_word(&line);
	mount->top = cut_word(&line);
	mount->point = cut_word(&line);
	mount->type = cut_word(&second);
	cut_word(&second);
	mount->options = cut_word(&second);
	unescape(mount->top);
	unescape(mount->point);
	return mount->top[0] == '/' && mount->point[0] == '/';
}

/* How many levels up a path begins: 2 for "/../../x". */
static size_t levels_up(const char *path)
{
	size_t levels = 0;

	while (strncmp(path, "/..", 3) == 0 && (path[3] == '/' || path[3] == '\0')) {
		path += 3;
		levels++;
	}
	return levels;
}

/*
 * The path of `group` below the group `top`: "" if they are the same or if top is somewhere above
 * it, NULL if it is not visible there. The table at the head of this file lists the cases.
 */
static const char *path_below(const char *top, const char *group)
{
	size_t length = strcmp(top, "/") == 0 ? 0 : strlen(top);
	size_t up = levels_up(top);

	if (strncmp(top, group, length) == 0 && (group[length] == '/' || group[length] == '\0') &&
	    levels_up(group + length) == 0)
		return strcmp(group + length, "/") == 0 ? "" : group + length;
	if (up * 3 == length && up > levels_up(group))
		return "";
	return NULL;
}

/* The smallest quota from `group` up to the top of a mount. */
static int quota_in_mount(const char *root, const struct mount *mount, const char *group,
			  int (*quota_of)(const char *directory))
{
	const char *below = path_below(mount->top, group);
	char directory[PATH_SIZE];
	size_t length;
	int quota = 0;

	if (below == NULL)
		return 0;
	length = (size_t)snprintf(directory, sizeof directory, "%s%s%s", root, mount->point, below);
	if (length >= sizeof directory)
		return 0;
	for (size_t top = length - strlen(below);;) {
		quota = smaller(quota, quota_of(directory));
		if (strlen(directory) <= top)
			return quota;
		*strrchr(directory, '/') = '\0';
	}
}

int sk_cgroup_quota(const char *root)
{
	struct groups groups;
	struct lines lines;
	struct mount mount;
	char *line;
	int quota = 0;

	if (!read_groups(root, &groups) || !lines_open(&lines, root, "/proc/self/mountinfo"))
		return 0;
	while ((line = lines_next(&lines)) != NULL) {
		int found = 0;

		if (!parse_mount(line, &mount))
			continue;
		if (strcmp(mount.type, "cgroup2") == 0 && groups.version2[0] != '\0')
			found = quota_in_mount(root, &mount, groups.version2, quota_version2);
		else if (strcmp(mount.type, "cgroup") == 0 && groups.version1[0] != '\0' &&
			 has_word(mount.options, "cpu"))
			found = quota_in_mount(root, &mount, groups.version1, quota_version1);
		quota = smaller(quota, found);
	}
	lines_close(&lines);
	return quota;
}

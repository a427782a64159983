// SPDX-License-Identifier: MIT
/*
 * The test's hand inside the guest, as process 1: it does what the console tells, one command a line, and answers with
 * lines that begin with "LG ". It decides nothing: what is right stands in the tests.
 *
 *   open SLOT r|rn|rw   open /dev/lastgasp (n: O_NONBLOCK)       insmod PATH | rmmod NAME
 *   watch SLOT          tell every event and hang-up from now    get PATH | put PATH TEXT
 *   read SLOT SIZE      read once                                write SLOT TEXT | close SLOT
 *   block               a child opens and reads, blocking        react none|done|poweroff (to a failure, at once)
 *   hog                 spin on every CPU, SCHED_FIFO 99         log (what the module said)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define DEVICE "/dev/lastgasp"
#define SLOTS 8

static int files[SLOTS] = { -1, -1, -1, -1, -1, -1, -1, -1 };
static int watched[SLOTS];
static char reaction[16] = "none";

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void result(const char *what, long value)
{
	if (value < 0)
		printf("LG %s errno %d\n", what, errno);
	else
		printf("LG %s ok %ld\n", what, value);
}

static void dump(const char *what, int slot, const unsigned char *data, long size, uint64_t at)
{
	printf("LG %s %d %llu ", what, slot, (unsigned long long)at);
	for (long i = 0; i < size; i++)
		printf("%02x", data[i]);
	printf("\n");
}

static void react(int slot, int kind)
{
	if (kind != 1)
		return;
	if (!strcmp(reaction, "done"))
		result("reacted", write(files[slot], "done\n", 5));
	else if (!strcmp(reaction, "poweroff"))
		reboot(RB_POWER_OFF);
}

static void read_once(const char *what, int slot, size_t size)
{
	unsigned char data[1024];
	long got = read(files[slot], data, size < sizeof(data) ? size : sizeof(data));
	uint64_t at = now();

	if (got < 0) {
		result(what, got);
		return;
	}
	react(slot, data[2]);
	dump(what, slot, data, got, at);
}

static void block(void)
{
	if (fork())
		return;
	files[0] = open(DEVICE, O_RDONLY);
	printf("LG blocking\n");
	read_once("blocked", 0, 1024);
	_exit(0);
}

static void hog(void)
{
	struct sched_param top = { .sched_priority = 99 };

	for (long cpu = sysconf(_SC_NPROCESSORS_ONLN); cpu > 0; cpu--) {
		if (fork())
			continue;
		if (sched_setscheduler(0, SCHED_FIFO, &top))
			result("hog", -1);
		for (;;)
			;
	}
	result("hog", 0);
}

static void get(const char *path)
{
	char text[256] = "";
	int fd = open(path, O_RDONLY);
	long got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (got < 0) {
		result("get", -1);
	} else {
		text[strcspn(text, "\n")] = 0;
		printf("LG get is %s\n", text);
	}
	if (fd >= 0)
		close(fd);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	result("put", fd < 0 ? -1 : write(fd, text, strlen(text)));
	if (fd >= 0)
		close(fd);
}

static void tell_log(void)
{
	static char text[1 << 20];
	long size = klogctl(3, text, sizeof(text) - 1);
	int found = 0;

	for (char *at = text; size > 0 && (at = strstr(at, "lastgasp power-fail")); at++, found++)
		printf("LG said %.*s\n", (int)strcspn(at, "\n"), at);
	result("log", found);
}

static void obey(char *line)
{
	char word[4][64] = { "", "", "", "" };
	int slot;

	sscanf(line, "%63s %63s %63s %63s", word[0], word[1], word[2], word[3]);
	slot = atoi(word[1]) % SLOTS;
	if (!strcmp(word[0], "open")) {
		int flags = (strchr(word[2], 'w') ? O_RDWR : O_RDONLY) | (strchr(word[2], 'n') ? O_NONBLOCK : 0);

		files[slot] = open(DEVICE, flags | O_CLOEXEC);
		result("open", files[slot]);
	} else if (!strcmp(word[0], "close")) {
		watched[slot] = 0;
		result("close", close(files[slot]));
	} else if (!strcmp(word[0], "watch")) {
		watched[slot] = 1;
		result("watch", 0);
	} else if (!strcmp(word[0], "read")) {
		read_once("read", slot, atoi(word[2]));
	} else if (!strcmp(word[0], "write")) {
		result("write", write(files[slot], word[2], strlen(word[2])));
	} else if (!strcmp(word[0], "block")) {
		block();
	} else if (!strcmp(word[0], "hog")) {
		hog();
	} else if (!strcmp(word[0], "log")) {
		tell_log();
	} else if (!strcmp(word[0], "get")) {
		get(word[1]);
	} else if (!strcmp(word[0], "put")) {
		put(word[1], word[2]);
	} else if (!strcmp(word[0], "react")) {
		snprintf(reaction, sizeof(reaction), "%.15s", word[1]);
		result("react", 0);
	} else if (!strcmp(word[0], "insmod")) {
		result("insmod", syscall(SYS_finit_module, open(word[1], O_RDONLY), "", 0));
	} else if (!strcmp(word[0], "rmmod")) {
		result("rmmod", syscall(SYS_delete_module, word[1], O_NONBLOCK));
	} else if (word[0][0]) {
		printf("LG unknown %s\n", word[0]);
	}
}

static void serve(void)
{
	struct pollfd polled[SLOTS + 1];
	static char line[256];
	static size_t length;

	for (int i = 0; i < SLOTS; i++)
		polled[i] = (struct pollfd) { watched[i] ? files[i] : -1, POLLIN, 0 };
	polled[SLOTS] = (struct pollfd) { 0, POLLIN, 0 };
	poll(polled, SLOTS + 1, -1);

	for (int i = 0; i < SLOTS; i++) {
		if (polled[i].revents & POLLIN)
			read_once("event", i, 32);
		if (polled[i].revents & (POLLHUP | POLLERR)) {
			watched[i] = 0;
			printf("LG hangup %d\n", i);
		}
	}
	if (polled[SLOTS].revents & POLLIN && read(0, line + length, 1) == 1) {
		if (line[length] != '\n' && length < sizeof(line) - 2) {
			length++;
			return;
		}
		line[length] = 0;
		length = 0;
		obey(line);
	}
}

int main(void)
{
	struct termios raw;

	mount("devtmpfs", "/dev", "devtmpfs", 0, "");
	mount("proc", "/proc", "proc", 0, "");
	mount("sysfs", "/sys", "sysfs", 0, "");
	mlockall(MCL_CURRENT | MCL_FUTURE);
	tcgetattr(0, &raw);
	cfmakeraw(&raw);
	raw.c_oflag |= OPOST | ONLCR;
	tcsetattr(0, TCSANOW, &raw);
	setvbuf(stdout, NULL, _IOLBF, 4096);
	printf("LG agent\n");
	for (;;)
		serve();
}

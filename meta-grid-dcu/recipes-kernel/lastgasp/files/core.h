/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of the driver share: core.c decides, chardev.c and sysfs.c
 * tell and are told, tree.c reads the device tree.
 */
#ifndef _LASTGASP_CORE_H
#define _LASTGASP_CORE_H

#include <linux/hrtimer.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "lastgasp.h"

struct attribute_group;
struct device;
struct gpio_desc;

#define LASTGASP_RING		16	/* a power of two */
#define LASTGASP_CHATTER	4	/* debounces until a chattering line counts as failed */

/**
 * enum lastgasp_state - where the driver stands
 * @LASTGASP_POWERED: the mains are there
 * @LASTGASP_FAILING: they failed; user space is at work
 * @LASTGASP_DONE:    they failed; user space said that it has finished
 * @LASTGASP_FORCED:  the deadline passed; the shutdown cannot be called back,
 *                    and ends in a reset if it is not over in time
 */
enum lastgasp_state {
	LASTGASP_POWERED,
	LASTGASP_FAILING,
	LASTGASP_DONE,
	LASTGASP_FORCED,
};

/**
 * struct lastgasp - the device
 * @kref:        held by the binding and by every open file, which may outlive it
 * @wait:        readers wait here
 * @misc:        /dev/lastgasp and /sys/class/misc/lastgasp
 * @line:        the power-fail line
 * @settle:      runs out when the line has been quiet for long enough
 * @deadline:    runs out when the shutdown has to be forced, and once more when
 *               that should have ended
 * @hold_up_ns:  hold-up time of the charged supercapacitor
 * @margin_ns:   part of it that is kept for the shutdown itself
 * @recharge_ns: from empty to charged; 0 if that is not worth a thought
 * @debounce_ns: quiet time that makes a failure
 * @return_ns:   quiet time that makes a return
 * @lock:        protects what follows
 * @state:       where the driver stands
 * @armed:       whether the deadline forces a shutdown
 * @gone:        unbound: files that are still open get -ENODEV
 * @settling:    @settle is running
 * @deferred:    the deadline found the line good and gave it time to settle
 * @edge_boot:   CLOCK_BOOTTIME of the first edge since the line was quiet
 * @edge_real:   CLOCK_REALTIME of it
 * @edge_last:   CLOCK_BOOTTIME of the last edge
 * @charge_ns:   hold-up time that was left at @charge_at
 * @charge_at:   CLOCK_BOOTTIME of the last change between mains and capacitor
 * @deadline_at: CLOCK_BOOTTIME at which @deadline runs out, while failing
 * @events:      number of events so far, the next one's sequence
 * @ring:        the last events, at their sequence modulo its size
 */
struct lastgasp {
	struct kref kref;
	wait_queue_head_t wait;
	struct miscdevice misc;
	struct gpio_desc *line;
	struct hrtimer settle;
	struct hrtimer deadline;
	u64 hold_up_ns;
	u64 margin_ns;
	u64 recharge_ns;
	u64 debounce_ns;
	u64 return_ns;

	spinlock_t lock;	/* timers, interrupt, files and sysfs meet here */
	enum lastgasp_state state;
	bool armed;
	bool gone;
	bool settling;
	bool deferred;
	u64 edge_boot;
	u64 edge_real;
	u64 edge_last;
	u64 charge_ns;
	u64 charge_at;
	u64 deadline_at;
	u32 events;
	struct lastgasp_event ring[LASTGASP_RING];
};

static inline bool lastgasp_failing(const struct lastgasp *lg)
{
	return lg->state != LASTGASP_POWERED;
}

/* core.c: the first two with the lock held, the others without */
u64 lastgasp_charge(const struct lastgasp *lg, u64 now);
u64 lastgasp_notice(const struct lastgasp *lg, u64 charge);
int lastgasp_finish(struct lastgasp *lg);
int lastgasp_off(struct lastgasp *lg);
void lastgasp_free(struct kref *kref);

/* chardev.c, sysfs.c, tree.c */
int lastgasp_register(struct device *dev, struct lastgasp *lg);
extern const struct attribute_group *lastgasp_groups[];
int lastgasp_parse(struct device *dev, struct lastgasp *lg);

#endif /* _LASTGASP_CORE_H */

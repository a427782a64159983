// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/class/misc/lastgasp: how things stand, and whether a shutdown is forced.
 */

#include <linux/device.h>
#include <linux/hrtimer.h>
#include <linux/kstrtox.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/sysfs.h>

#include "core.h"

static const char * const lastgasp_states[] = {
	[LASTGASP_POWERED]	= "powered",
	[LASTGASP_FAILING]	= "failing",
	[LASTGASP_DONE]		= "done",
	[LASTGASP_FORCED]	= "forced",
};

static struct lastgasp *lastgasp_of(struct device *dev)
{
	return container_of(dev_get_drvdata(dev), struct lastgasp, misc);
}

static ssize_t state_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct lastgasp *lg = lastgasp_of(dev);

	return sysfs_emit(buf, "%s\n", lastgasp_states[READ_ONCE(lg->state)]);
}
static DEVICE_ATTR_RO(state);

/* Hold-up time: in an outage what is left, else what an outage would find. */
static ssize_t budget_ms_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct lastgasp *lg = lastgasp_of(dev);
	u64 charge;

	spin_lock_irq(&lg->lock);
	charge = lastgasp_charge(lg, ktime_get_boottime_ns());
	spin_unlock_irq(&lg->lock);
	return sysfs_emit(buf, "%llu\n", div_u64(charge, NSEC_PER_MSEC));
}
static DEVICE_ATTR_RO(budget_ms);

/* Time to the forced shutdown: in an outage what is left, else what one would get. */
static ssize_t deadline_ms_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct lastgasp *lg = lastgasp_of(dev);
	u64 now, left;

	spin_lock_irq(&lg->lock);
	now = ktime_get_boottime_ns();
	if (lastgasp_failing(lg))
		left = lg->deadline_at > now ? lg->deadline_at - now : 0;
	else
		left = lastgasp_notice(lg, lastgasp_charge(lg, now));
	spin_unlock_irq(&lg->lock);
	return sysfs_emit(buf, "%llu\n", div_u64(left, NSEC_PER_MSEC));
}
static DEVICE_ATTR_RO(deadline_ms);

static ssize_t events_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(lastgasp_of(dev)->events));
}
static DEVICE_ATTR_RO(events);

static ssize_t debounce_ms_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", div_u64(lastgasp_of(dev)->debounce_ns, NSEC_PER_MSEC));
}
static DEVICE_ATTR_RO(debounce_ms);

static ssize_t armed_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(lastgasp_of(dev)->armed));
}

/* Disarmed, the driver still tells, but never forces: also in the present outage. */
static ssize_t armed_store(struct device *dev, struct device_attribute *attr,
			   const char *buf, size_t size)
{
	struct lastgasp *lg = lastgasp_of(dev);
	bool armed;
	int ret;

	ret = kstrtobool(buf, &armed);
	if (ret)
		return ret;

	spin_lock_irq(&lg->lock);
	lg->armed = armed;
	if (lg->state == LASTGASP_FORCED)
		;	/* too late to call it off */
	else if (!armed)
		hrtimer_try_to_cancel(&lg->deadline);
	else if (lastgasp_failing(lg))
		hrtimer_start(&lg->deadline, ns_to_ktime(lg->deadline_at), HRTIMER_MODE_ABS);
	spin_unlock_irq(&lg->lock);
	return size;
}
static DEVICE_ATTR_RW(armed);

static ssize_t done_store(struct device *dev, struct device_attribute *attr,
			  const char *buf, size_t size)
{
	bool done;
	int ret;

	ret = kstrtobool(buf, &done);
	if (!ret)
		ret = done ? lastgasp_finish(lastgasp_of(dev)) : -EINVAL;
	return ret ? ret : size;
}
static DEVICE_ATTR_WO(done);

static struct attribute *lastgasp_attrs[] = {
	&dev_attr_state.attr,
	&dev_attr_budget_ms.attr,
	&dev_attr_deadline_ms.attr,
	&dev_attr_events.attr,
	&dev_attr_debounce_ms.attr,
	&dev_attr_armed.attr,
	&dev_attr_done.attr,
	NULL
};

static const struct attribute_group lastgasp_group = {
	.attrs = lastgasp_attrs,
};

const struct attribute_group *lastgasp_groups[] = {
	&lastgasp_group,
	NULL
};

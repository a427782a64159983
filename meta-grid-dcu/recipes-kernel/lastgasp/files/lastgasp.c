// SPDX-License-Identifier: GPL-2.0-only
/*
 * Last gasp: from the power-fail line to an event with a deadline.
 *
 * The mains fail and the device lives on a supercapacitor. User space learns
 * it from /dev/lastgasp, puts its store in order, says farewell and powers
 * off. Should it be too slow, or stuck, this driver powers off by itself while
 * there is energy left to do it cleanly. Should that be stuck too, it resets
 * the machine when the energy is spent. If the mains return before, all goes on
 * as if nothing had been. The driver never syncs: by then writes must stop.
 *
 * All decisions are taken in interrupt context, by two timers, so that a
 * machine whose processes and workers are stuck still decides in time.
 * Nothing is printed on the way: a line on a serial console costs ten
 * milliseconds of hold-up time.
 */

#include <linux/fs.h>
#include <linux/gpio/consumer.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/miscdevice.h>
#include <linux/mod_devicetable.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/platform_device.h>
#include <linux/poll.h>
#include <linux/property.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "compat.h"
#include "lastgasp.h"

#define LASTGASP_RING		16	/* a power of two */
#define LASTGASP_CHATTER	4	/* debounces until a chattering line counts as failed */
#define LASTGASP_MAX_NS		(600ULL * NSEC_PER_SEC)

/*
 * How long the kernel tries an orderly shutdown before it forces one: as short
 * as it can be said, for user space had its time and writes must stop.
 */
#define LASTGASP_FORCE_MS	1

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

static const char * const lastgasp_states[] = {
	[LASTGASP_POWERED]	= "powered",
	[LASTGASP_FAILING]	= "failing",
	[LASTGASP_DONE]		= "done",
	[LASTGASP_FORCED]	= "forced",
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

/**
 * struct lastgasp_reader - an open file
 * @lg:   the device
 * @next: sequence of the next event to read; protected by the device's lock
 */
struct lastgasp_reader {
	struct lastgasp *lg;
	u32 next;
};

static bool lastgasp_failing(const struct lastgasp *lg)
{
	return lg->state != LASTGASP_POWERED;
}

/* Hold-up time at a moment not before the last change. */
static u64 lastgasp_charge(const struct lastgasp *lg, u64 now)
{
	u64 elapsed = now > lg->charge_at ? now - lg->charge_at : 0;
	u64 gained;

	if (lastgasp_failing(lg))
		return lg->charge_ns > elapsed ? lg->charge_ns - elapsed : 0;
	if (elapsed >= lg->recharge_ns)
		return lg->hold_up_ns;

	gained = mul_u64_u64_div_u64(elapsed, lg->hold_up_ns, lg->recharge_ns);
	return min(lg->charge_ns + gained, lg->hold_up_ns);
}

/*
 * From a failure to the forced shutdown. After outages in quick succession the
 * capacitor holds less than the margin: user space still gets half of it.
 */
static u64 lastgasp_notice(const struct lastgasp *lg, u64 charge)
{
	return max(charge > lg->margin_ns ? charge - lg->margin_ns : 0, charge / 2);
}

static void lastgasp_event(struct lastgasp *lg, enum lastgasp_kind kind)
{
	u64 deadline = kind == LASTGASP_POWER_FAIL && lg->armed ?
		       lg->deadline_at - lg->edge_boot : 0;

	lg->ring[lg->events % LASTGASP_RING] = (struct lastgasp_event) {
		.version = LASTGASP_EVENT_VERSION,
		.kind = kind,
		.sequence = lg->events,
		.boottime_ns = lg->edge_boot,
		.realtime_ns = lg->edge_real,
		.remaining_ms = div_u64(lg->charge_ns, NSEC_PER_MSEC),
		.deadline_ms = div_u64(deadline, NSEC_PER_MSEC),
	};
	lg->events++;
	wake_up_interruptible(&lg->wait);
}

static void lastgasp_fail(struct lastgasp *lg)
{
	lg->charge_ns = lastgasp_charge(lg, lg->edge_boot);
	lg->charge_at = lg->edge_boot;
	lg->deadline_at = lg->edge_boot + lastgasp_notice(lg, lg->charge_ns);
	lg->deferred = false;
	lg->state = LASTGASP_FAILING;
	if (lg->armed)
		hrtimer_start(&lg->deadline, ns_to_ktime(lg->deadline_at),
			      HRTIMER_MODE_ABS);
	lastgasp_event(lg, LASTGASP_POWER_FAIL);
}

static void lastgasp_return(struct lastgasp *lg)
{
	lg->charge_ns = lastgasp_charge(lg, lg->edge_boot);
	lg->charge_at = lg->edge_boot;
	lg->state = LASTGASP_POWERED;
	/* If it runs just now it waits for our lock, and then finds us powered. */
	hrtimer_try_to_cancel(&lg->deadline);
	lastgasp_event(lg, LASTGASP_POWER_RETURN);
}

/* The line changed: decide when it has been quiet, or has chattered, for long enough. */
static void lastgasp_edge(struct lastgasp *lg)
{
	u64 now = ktime_get_boottime_ns();
	u64 quiet = lastgasp_failing(lg) ? lg->return_ns : lg->debounce_ns;

	if (!lg->settling) {
		lg->settling = true;
		lg->edge_boot = now;
		lg->edge_real = ktime_get_real_ns();
	}
	lg->edge_last = now;
	hrtimer_start(&lg->settle,
		      ns_to_ktime(min(now + quiet,
				      lg->edge_boot + LASTGASP_CHATTER * quiet)),
		      HRTIMER_MODE_ABS);
}

static irqreturn_t lastgasp_irq(int irq, void *data)
{
	struct lastgasp *lg = data;
	unsigned long flags;

	spin_lock_irqsave(&lg->lock, flags);
	lastgasp_edge(lg);
	spin_unlock_irqrestore(&lg->lock, flags);
	return IRQ_HANDLED;
}

static enum hrtimer_restart lastgasp_settled(struct hrtimer *timer)
{
	struct lastgasp *lg = container_of(timer, struct lastgasp, settle);
	unsigned long flags;
	bool failing, quiet;
	u64 period;

	spin_lock_irqsave(&lg->lock, flags);
	period = lastgasp_failing(lg) ? lg->return_ns : lg->debounce_ns;
	quiet = ktime_get_boottime_ns() - lg->edge_last >= period;
	/* Only a line that is quietly good is good. */
	failing = !quiet || gpiod_get_value(lg->line) > 0;
	lg->settling = false;
	if (lg->state != LASTGASP_FORCED && failing != lastgasp_failing(lg)) {
		if (failing)
			lastgasp_fail(lg);
		else
			lastgasp_return(lg);
	}
	spin_unlock_irqrestore(&lg->lock, flags);
	return HRTIMER_NORESTART;
}

/* Whether to force now. A line that reads good gets the time to settle, once. */
static bool lastgasp_expired(struct lastgasp *lg)
{
	u64 now = ktime_get_boottime_ns();

	if (!lg->armed || now < lg->deadline_at)
		return false;
	if (lg->state != LASTGASP_FAILING && lg->state != LASTGASP_DONE)
		return false;
	if (lg->deferred || gpiod_get_value(lg->line) > 0)
		return true;

	lg->deferred = true;
	if (!lg->settling)
		lastgasp_edge(lg);
	lg->deadline_at = now + lg->return_ns + NSEC_PER_MSEC;
	hrtimer_start(&lg->deadline, ns_to_ktime(lg->deadline_at), HRTIMER_MODE_ABS);
	return false;
}

/* The shutdown's own end: when the hold-up time is over. */
static void lastgasp_bound(struct lastgasp *lg)
{
	lg->deadline_at = max(lg->charge_at + lg->charge_ns,
			      ktime_get_boottime_ns() + lg->margin_ns / 2);
	hrtimer_start(&lg->deadline, ns_to_ktime(lg->deadline_at), HRTIMER_MODE_ABS);
}

static enum hrtimer_restart lastgasp_deadline(struct hrtimer *timer)
{
	struct lastgasp *lg = container_of(timer, struct lastgasp, deadline);
	bool expired, done, stuck;
	unsigned long flags;

	spin_lock_irqsave(&lg->lock, flags);
	stuck = lg->state == LASTGASP_FORCED;
	done = lg->state == LASTGASP_DONE;
	expired = lastgasp_expired(lg);
	if (expired) {
		lg->state = LASTGASP_FORCED;
		lastgasp_bound(lg);
	}
	spin_unlock_irqrestore(&lg->lock, flags);

	if (expired)
		hw_protection_shutdown(done ? "last gasp: user space is done" :
					      "last gasp: user space is late",
				       LASTGASP_FORCE_MS);
	/* It is the work of kernel threads, and they may starve: this is not. */
	if (stuck)
		emergency_restart();
	return HRTIMER_NORESTART;
}

static void lastgasp_free(struct kref *kref)
{
	kfree(container_of(kref, struct lastgasp, kref));
}

/* A file that is opened during an outage starts with the failure it missed. */
static int lastgasp_open(struct inode *inode, struct file *file)
{
	struct lastgasp *lg = container_of(file->private_data, struct lastgasp, misc);
	struct lastgasp_reader *reader;

	reader = kzalloc(sizeof(*reader), GFP_KERNEL);
	if (!reader)
		return -ENOMEM;

	/* The misc core holds its lock: the device cannot go before we have it. */
	kref_get(&lg->kref);
	reader->lg = lg;
	spin_lock_irq(&lg->lock);
	reader->next = lg->events - lastgasp_failing(lg);
	spin_unlock_irq(&lg->lock);

	file->private_data = reader;
	return stream_open(inode, file);
}

static int lastgasp_release(struct inode *inode, struct file *file)
{
	struct lastgasp_reader *reader = file->private_data;

	kref_put(&reader->lg->kref, lastgasp_free);
	kfree(reader);
	return 0;
}

/* Take up to @room events; -ENODEV once the device is gone. */
static int lastgasp_take(struct lastgasp_reader *reader,
			 struct lastgasp_event *events, int room)
{
	struct lastgasp *lg = reader->lg;
	int taken = 0;

	spin_lock_irq(&lg->lock);
	if (lg->events - reader->next > LASTGASP_RING)
		reader->next = lg->events - LASTGASP_RING;
	while (taken < room && reader->next != lg->events)
		events[taken++] = lg->ring[reader->next++ % LASTGASP_RING];
	if (lg->gone)
		taken = -ENODEV;
	spin_unlock_irq(&lg->lock);
	return taken;
}

/* Whether a read would not block. */
static bool lastgasp_readable(struct lastgasp_reader *reader)
{
	struct lastgasp *lg = reader->lg;
	bool readable;

	spin_lock_irq(&lg->lock);
	readable = lg->gone || reader->next != lg->events;
	spin_unlock_irq(&lg->lock);
	return readable;
}

static ssize_t lastgasp_read(struct file *file, char __user *buf, size_t size,
			     loff_t *pos)
{
	struct lastgasp_reader *reader = file->private_data;
	struct lastgasp_event events[LASTGASP_RING];
	int room = min_t(size_t, size / sizeof(*events), LASTGASP_RING);
	int ret;

	if (!room)
		return -EINVAL;

	while (!(ret = lastgasp_take(reader, events, room))) {
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		ret = wait_event_interruptible(reader->lg->wait,
					       lastgasp_readable(reader));
		if (ret)
			return ret;
	}
	if (ret < 0)
		return ret;
	if (copy_to_user(buf, events, ret * sizeof(*events)))
		return -EFAULT;
	return ret * sizeof(*events);
}

/* User space has finished: it only waits for the mains, or for the end. */
static int lastgasp_finish(struct lastgasp *lg)
{
	int ret = 0;

	spin_lock_irq(&lg->lock);
	if (lg->gone)
		ret = -ENODEV;
	else if (lg->state == LASTGASP_FAILING || lg->state == LASTGASP_DONE)
		lg->state = LASTGASP_DONE;
	else
		ret = -ENODATA;
	spin_unlock_irq(&lg->lock);
	return ret;
}

/* The same as sysfs' done, for a service that sees /sys read-only. */
static ssize_t lastgasp_write(struct file *file, const char __user *buf, size_t size,
			      loff_t *pos)
{
	struct lastgasp_reader *reader = file->private_data;
	char word[8] = {};
	int ret;

	if (size >= sizeof(word))
		return -EINVAL;
	if (copy_from_user(word, buf, size))
		return -EFAULT;
	if (!sysfs_streq(word, "done"))
		return -EINVAL;

	ret = lastgasp_finish(reader->lg);
	return ret ? ret : size;
}

static __poll_t lastgasp_poll(struct file *file, poll_table *wait)
{
	struct lastgasp_reader *reader = file->private_data;

	poll_wait(file, &reader->lg->wait, wait);
	if (READ_ONCE(reader->lg->gone))
		return EPOLLERR | EPOLLHUP;
	return lastgasp_readable(reader) ? EPOLLIN | EPOLLRDNORM : 0;
}

static const struct file_operations lastgasp_fops = {
	.owner = THIS_MODULE,
	.open = lastgasp_open,
	.release = lastgasp_release,
	.read = lastgasp_read,
	.write = lastgasp_write,
	.poll = lastgasp_poll,
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
ATTRIBUTE_GROUPS(lastgasp);

/* t = C (U1² - U2²) / 2 P. With µF, mV and µW that is in microseconds. */
static int lastgasp_hold_up(struct device *dev, u64 *hold_up_ns)
{
	u32 capacitance, charged, minimum, load, ms;
	u64 energy, span;
	int ret;

	if (!device_property_read_u32(dev, "grid-dcu,hold-up-ms", &ms)) {
		*hold_up_ns = (u64)ms * NSEC_PER_MSEC;
		return 0;
	}

	ret = device_property_read_u32(dev, "grid-dcu,capacitance-microfarad", &capacitance);
	if (!ret)
		ret = device_property_read_u32(dev, "grid-dcu,charged-microvolt", &charged);
	if (!ret)
		ret = device_property_read_u32(dev, "grid-dcu,minimum-microvolt", &minimum);
	if (!ret)
		ret = device_property_read_u32(dev, "grid-dcu,load-microwatt", &load);
	if (ret)
		return dev_err_probe(dev, ret, "neither hold-up-ms nor a whole supercapacitor\n");

	charged /= 1000;
	minimum /= 1000;
	if (minimum >= charged || !load)
		return dev_err_probe(dev, -EINVAL, "supercapacitor without energy for a load\n");

	span = (u64)charged * charged - (u64)minimum * minimum;
	if (check_mul_overflow(span, (u64)capacitance, &energy))
		return dev_err_probe(dev, -ERANGE, "supercapacitor out of range\n");
	*hold_up_ns = div_u64(div_u64(energy, load) / 2, USEC_PER_MSEC) * NSEC_PER_MSEC;
	return 0;
}

static u64 lastgasp_property_ns(struct device *dev, const char *name, u64 otherwise)
{
	u32 ms;

	if (device_property_read_u32(dev, name, &ms))
		return otherwise;
	return (u64)ms * NSEC_PER_MSEC;
}

static int lastgasp_parse(struct device *dev, struct lastgasp *lg)
{
	u64 hold_up;
	int ret;

	ret = lastgasp_hold_up(dev, &lg->hold_up_ns);
	if (ret)
		return ret;

	hold_up = lg->hold_up_ns;
	lg->debounce_ns = lastgasp_property_ns(dev, "grid-dcu,debounce-ms", 5 * NSEC_PER_MSEC);
	lg->return_ns = lastgasp_property_ns(dev, "grid-dcu,return-debounce-ms",
					     100 * NSEC_PER_MSEC);
	lg->margin_ns = lastgasp_property_ns(dev, "grid-dcu,deadline-margin-ms",
					     div_u64(hold_up, 5));
	lg->recharge_ns = lastgasp_property_ns(dev, "grid-dcu,recharge-ms", 0);

	if (!hold_up || hold_up > LASTGASP_MAX_NS)
		return dev_err_probe(dev, -ERANGE, "hold-up time of %llu ms is out of range\n",
				     div_u64(hold_up, NSEC_PER_MSEC));
	/* A return is awaited beyond the deadline, so the margin has to pay for it. */
	if (lg->margin_ns > hold_up / 2 || lg->return_ns >= lg->margin_ns ||
	    LASTGASP_CHATTER * lg->debounce_ns >= hold_up - lg->margin_ns)
		return dev_err_probe(dev, -EINVAL,
				     "hold-up time, margin and debounce do not fit together\n");
	return 0;
}

static void lastgasp_put(void *data)
{
	struct lastgasp *lg = data;

	kref_put(&lg->kref, lastgasp_free);
}

static void lastgasp_stop(void *data)
{
	struct lastgasp *lg = data;

	/* The settle timer may start the deadline's, so it has to go first. */
	hrtimer_cancel(&lg->settle);
	hrtimer_cancel(&lg->deadline);
}

static void lastgasp_deregister(void *data)
{
	struct lastgasp *lg = data;

	misc_deregister(&lg->misc);
	spin_lock_irq(&lg->lock);
	lg->gone = true;
	spin_unlock_irq(&lg->lock);
	wake_up_all(&lg->wait);
}

static int lastgasp_register(struct device *dev, struct lastgasp *lg)
{
	int ret;

	lg->misc.minor = MISC_DYNAMIC_MINOR;
	lg->misc.name = "lastgasp";
	lg->misc.fops = &lastgasp_fops;
	lg->misc.groups = lastgasp_groups;
	lg->misc.parent = dev;
	lg->misc.mode = 0660;

	ret = misc_register(&lg->misc);
	if (ret)
		return dev_err_probe(dev, ret, "no /dev/lastgasp\n");
	return devm_add_action_or_reset(dev, lastgasp_deregister, lg);
}

static struct lastgasp *lastgasp_alloc(struct device *dev)
{
	struct lastgasp *lg;
	int ret;

	lg = kzalloc(sizeof(*lg), GFP_KERNEL);
	if (!lg)
		return ERR_PTR(-ENOMEM);

	kref_init(&lg->kref);
	spin_lock_init(&lg->lock);
	init_waitqueue_head(&lg->wait);
	hrtimer_setup(&lg->settle, lastgasp_settled, CLOCK_BOOTTIME, HRTIMER_MODE_ABS);
	hrtimer_setup(&lg->deadline, lastgasp_deadline, CLOCK_BOOTTIME, HRTIMER_MODE_ABS);
	lg->armed = true;

	ret = devm_add_action_or_reset(dev, lastgasp_put, lg);
	return ret ? ERR_PTR(ret) : lg;
}

static int lastgasp_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct lastgasp *lg;
	int irq, ret;

	lg = lastgasp_alloc(dev);
	if (IS_ERR(lg))
		return PTR_ERR(lg);

	ret = lastgasp_parse(dev, lg);
	if (ret)
		return ret;

	lg->line = devm_gpiod_get(dev, "power-fail", GPIOD_IN);
	if (IS_ERR(lg->line))
		return dev_err_probe(dev, PTR_ERR(lg->line), "no power-fail line\n");
	if (gpiod_cansleep(lg->line))
		return dev_err_probe(dev, -EINVAL, "the power-fail line is behind a slow bus\n");
	irq = gpiod_to_irq(lg->line);
	if (irq < 0)
		return dev_err_probe(dev, irq, "the power-fail line has no interrupt\n");

	/* Undone from the last to the first: interrupt, files, timers, memory. */
	ret = devm_add_action_or_reset(dev, lastgasp_stop, lg);
	if (ret)
		return ret;
	ret = lastgasp_register(dev, lg);
	if (ret)
		return ret;
	ret = devm_request_irq(dev, irq, lastgasp_irq,
			       IRQF_TRIGGER_RISING | IRQF_TRIGGER_FALLING,
			       "lastgasp", lg);
	if (ret)
		return dev_err_probe(dev, ret, "interrupt %d\n", irq);

	/* The mains may have failed before we listened. */
	spin_lock_irq(&lg->lock);
	if (gpiod_get_value(lg->line) > 0)
		lastgasp_edge(lg);
	spin_unlock_irq(&lg->lock);

	dev_info(dev, "hold-up %llu ms, deadline %llu ms after a power failure\n",
		 div_u64(lg->hold_up_ns, NSEC_PER_MSEC),
		 div_u64(lastgasp_notice(lg, lg->hold_up_ns), NSEC_PER_MSEC));
	return 0;
}

static const struct of_device_id lastgasp_match[] = {
	{ .compatible = "grid-dcu,last-gasp" },
	{ }
};
MODULE_DEVICE_TABLE(of, lastgasp_match);

static struct platform_driver lastgasp_driver = {
	.probe = lastgasp_probe,
	.driver = {
		.name = "lastgasp",
		.of_match_table = lastgasp_match,
	},
};
module_platform_driver(lastgasp_driver);

MODULE_DESCRIPTION("Power-fail line to an event with a deadline");
MODULE_AUTHOR("Grid DCU");
MODULE_LICENSE("GPL");

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

#include <linux/gpio/consumer.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mod_devicetable.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/reboot.h>
#include <linux/slab.h>

#include "compat.h"
#include "core.h"

/*
 * How long the kernel tries an orderly shutdown before it forces one: as short
 * as it can be said, for user space had its time and writes must stop.
 */
#define LASTGASP_FORCE_MS	1

/* Hold-up time at a moment not before the last change. */
u64 lastgasp_charge(const struct lastgasp *lg, u64 now)
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
u64 lastgasp_notice(const struct lastgasp *lg, u64 charge)
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

/* Only while the mains are away, and nothing is decided yet. */
static int lastgasp_awaited(const struct lastgasp *lg)
{
	if (lg->gone)
		return -ENODEV;
	if (lg->state != LASTGASP_FAILING && lg->state != LASTGASP_DONE)
		return -ENODATA;
	return 0;
}

/* User space has finished: it only waits for the mains, or for the end. */
int lastgasp_finish(struct lastgasp *lg)
{
	int ret;

	spin_lock_irq(&lg->lock);
	ret = lastgasp_awaited(lg);
	if (!ret)
		lg->state = LASTGASP_DONE;
	spin_unlock_irq(&lg->lock);
	return ret;
}

/*
 * User space waits no longer: the deadline is now. As at every deadline a line
 * that reads good gets its time to settle, lest the mains find the device off.
 */
int lastgasp_off(struct lastgasp *lg)
{
	int ret;

	spin_lock_irq(&lg->lock);
	ret = lastgasp_awaited(lg);
	if (!ret && !lg->armed)
		ret = -EPERM;
	if (!ret)
		lg->state = LASTGASP_DONE;
	if (!ret && !lg->deferred) {	/* else it is being decided already */
		lg->deadline_at = min(lg->deadline_at, ktime_get_boottime_ns());
		hrtimer_start(&lg->deadline, ns_to_ktime(lg->deadline_at), HRTIMER_MODE_ABS);
	}
	spin_unlock_irq(&lg->lock);
	return ret;
}

void lastgasp_free(struct kref *kref)
{
	kfree(container_of(kref, struct lastgasp, kref));
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

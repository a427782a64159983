// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/lastgasp: every reader gets every event, and may say that it is done.
 */

#include <linux/device.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>

#include "core.h"

/**
 * struct lastgasp_reader - an open file
 * @lg:   the device
 * @next: sequence of the next event to read; protected by the device's lock
 */
struct lastgasp_reader {
	struct lastgasp *lg;
	u32 next;
};

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

/*
 * "done" as in sysfs, for a service that sees /sys read-only, and "off": power
 * off now. For a process without any privilege but this file, and only in an
 * outage.
 */
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

	if (sysfs_streq(word, "done"))
		ret = lastgasp_finish(reader->lg);
	else if (sysfs_streq(word, "off"))
		ret = lastgasp_off(reader->lg);
	else
		ret = -EINVAL;
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

static void lastgasp_deregister(void *data)
{
	struct lastgasp *lg = data;

	misc_deregister(&lg->misc);
	spin_lock_irq(&lg->lock);
	lg->gone = true;
	spin_unlock_irq(&lg->lock);
	wake_up_all(&lg->wait);
}

int lastgasp_register(struct device *dev, struct lastgasp *lg)
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

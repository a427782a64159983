/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every difference between the kernels that lastgasp builds against (6.1 to
 * 7.3), and nothing else. Kbuild looks into the kernel's headers and sets
 * HAVE_*: a vendor's kernel carries backports, its version says little.
 */
#ifndef _LASTGASP_COMPAT_H
#define _LASTGASP_COMPAT_H

#include <linux/hrtimer.h>
#include <linux/reboot.h>

#ifndef HAVE_hrtimer_setup	/* since 6.13 */
static inline void
hrtimer_setup(struct hrtimer *timer,
	      enum hrtimer_restart (*function)(struct hrtimer *),
	      clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = function;
}
#endif

/*
 * 6.15 retired it: the administrator chooses what a hardware protection does.
 * But a reboot is no answer to a lost supply.
 */
#ifndef HAVE_hw_protection_shutdown
static inline void hw_protection_shutdown(const char *reason, int ms_until_forced)
{
	__hw_protection_trigger(reason, ms_until_forced, HWPROT_ACT_SHUTDOWN);
}
#endif

#endif /* _LASTGASP_COMPAT_H */

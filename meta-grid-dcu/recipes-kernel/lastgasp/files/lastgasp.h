/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What /dev/lastgasp tells user space: read() returns whole events, from the
 * present failure on if there is one.
 *
 * In an outage (else -ENODATA) write() takes a word: "done" says that user
 * space has finished and waits for the mains or for the end, "off" asks for
 * the end now (-EPERM where the driver is not armed). Neither can be withdrawn;
 * the return of the mains undoes both, until the power is off.
 */
#ifndef _UAPI_LASTGASP_H
#define _UAPI_LASTGASP_H

#include <linux/types.h>

#define LASTGASP_EVENT_VERSION	1

/**
 * enum lastgasp_kind - what happened
 * @LASTGASP_POWER_FAIL:   the mains failed; what is left runs from the
 *                         supercapacitor
 * @LASTGASP_POWER_RETURN: the mains are back, the deadline is withdrawn
 */
enum lastgasp_kind {
	LASTGASP_POWER_FAIL	= 1,
	LASTGASP_POWER_RETURN	= 2,
};

/**
 * struct lastgasp_event - one event, as read() returns it
 * @version:      LASTGASP_EVENT_VERSION
 * @kind:         enum lastgasp_kind
 * @sequence:     counts the events since the driver was bound, from 0; a gap
 *                means that the reader was too slow for the ring of 16
 * @boottime_ns:  CLOCK_BOOTTIME of the line's first edge, before the debounce
 * @realtime_ns:  CLOCK_REALTIME of the same edge
 * @remaining_ms: hold-up time that was left at @boottime_ns
 * @deadline_ms:  on a failure, the time from @boottime_ns to the forced
 *                shutdown, 0 when the driver is not armed; on a return 0
 *
 * 32 bytes without padding, in the byte order of the machine.
 */
struct lastgasp_event {
	__u16 version;
	__u16 kind;
	__u32 sequence;
	__u64 boottime_ns;
	__u64 realtime_ns;
	__u32 remaining_ms;
	__u32 deadline_ms;
};

#endif /* _UAPI_LASTGASP_H */

// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the device tree says of the supply, and whether it makes sense.
 */

#include <linux/device.h>
#include <linux/math64.h>
#include <linux/overflow.h>
#include <linux/property.h>

#include "core.h"

#define LASTGASP_MAX_NS		(600ULL * NSEC_PER_SEC)

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

int lastgasp_parse(struct device *dev, struct lastgasp *lg)
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

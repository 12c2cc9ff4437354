// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * hid_filter: one HID device with a wrong report descriptor and noisy reports
 * (Linux 6.11, CONFIG_HID_BPF).
 *
 *   structops register hid_filter --set hid_id=5 --const drop_at=0 --const drop_mask=0x80 --const drop_value=0x80
 *
 * Two repairs, each off until a constant turns it on: one byte of the report
 * descriptor is another one, and input reports with certain bits in one byte
 * never get to the kernel's input drivers. The number behind the last dot of
 * the device's name in /sys/bus/hid/devices is its hid_id, in hexadecimal.
 */
#include "bpf.h"
#include "hid.h"

enum {
	OFF = -1,
	DISCARDED = -1,		/* any negative number: nobody gets the report */
	UNCHANGED = 0,
};

/* Where in the report descriptor a byte is wrong, what it has to be there, and what it shall be. */
const volatile s32 fix_at = OFF;
const volatile u8 fix_from = 0;
const volatile u8 fix_to = 0;

/* Which byte of an input report is looked at, which of its bits, and what they are when it is discarded. */
const volatile s32 drop_at = OFF;
const volatile u8 drop_mask = 0xff;
const volatile u8 drop_value = 0;

/* What was seen, in .bss. */
struct {
	u32 reports;
	u32 discarded;
	u32 fixed;
} counts;

static ALWAYS_INLINE u8 *byte_at(struct hid_bpf_ctx *ctx, s32 place)
{
	return place >= 0 && place < ctx->size ? hid_bpf_get_data(ctx, place, 1) : 0;
}

OPS_PROGRAM("struct_ops", int, hid_event, struct hid_bpf_ctx *, ctx, enum hid_report_type, report_type, u64, source)
{
	u8 *byte;

	if (report_type != HID_INPUT_REPORT)
		return UNCHANGED;
	COUNT(counts.reports, 1);
	byte = byte_at(ctx, drop_at);
	if (!byte || (*byte & drop_mask) != drop_value)
		return UNCHANGED;
	COUNT(counts.discarded, 1);
	return DISCARDED;
}

OPS_PROGRAM("struct_ops.s", int, hid_fixup, struct hid_bpf_ctx *, ctx)
{
	u8 *byte = byte_at(ctx, fix_at);

	if (byte && *byte == fix_from) {
		*byte = fix_to;
		COUNT(counts.fixed, 1);
	}
	return UNCHANGED;
}

SEC(".struct_ops.link")
struct hid_bpf_ops hid_filter = {
	.hid_device_event = MEMBER(hid_event),
	.hid_rdesc_fixup = MEMBER(hid_fixup),
};

LICENCE("GPL");

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The part of HID-BPF that hid_filter touches (Linux 6.11, CONFIG_HID_BPF):
 * include/linux/hid_bpf.h, with only the members that are used.
 */
#ifndef STRUCTOPS_HID_H
#define STRUCTOPS_HID_H

#include "bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct hid_bpf_ctx {
	s32 size;		/* bytes that are valid: of the report, or of the report descriptor */
};

#pragma clang attribute pop

enum hid_report_type {
	HID_INPUT_REPORT = 0,
};

struct hid_bpf_ops {
	int hid_id;		/* the device: the last four hexadecimal digits of its name in sysfs */
	u32 flags;
	int (*hid_device_event)(struct hid_bpf_ctx *ctx, enum hid_report_type report_type, u64 source);
	int (*hid_rdesc_fixup)(struct hid_bpf_ctx *ctx);
};

/* The bytes from `offset` on; null where `size`, a constant, goes beyond what is allocated. */
extern u8 *hid_bpf_get_data(struct hid_bpf_ctx *ctx, u32 offset, const u64 size) __attribute__((section(".ksyms")));

#endif

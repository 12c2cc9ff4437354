/* A loop for one ring of io_uring, which goes round a few times whenever somebody enters the ring. */
#define SEC(name) __attribute__((section(name), used))

typedef unsigned int u32;
typedef unsigned long long u64;

enum { LOOP_CONTINUE, LOOP_STOP };

struct iou_ctx;
struct iou_loop_params;

struct io_uring_bpf_ops {
	int (*loop_step)(struct iou_ctx *ctx, struct iou_loop_params *params);
	u32 ring_fd;
};

u64 steps;

SEC("struct_ops.s/loop_step")
int count_and_stop(const u64 *arguments)
{
	__sync_fetch_and_add(&steps, 1);
	return LOOP_STOP;
}

SEC(".struct_ops.link")
struct io_uring_bpf_ops ring = {
	.loop_step = (void *)count_and_stop,
};

SEC("?.struct_ops.link")
struct io_uring_bpf_ops empty;

SEC("?.struct_ops")
struct io_uring_bpf_ops unlinked = {
	.loop_step = (void *)count_and_stop,
};

char licence[] SEC("license") = "GPL";

/* Maps of several sorts, one of them static; read by tests, never loaded. */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define __ulong(name, val) enum { ___bpf_concat_##name = val } name

struct per_socket {
	unsigned long long since, bytes;
	unsigned int losses;
};

struct {
	__uint(type, 1);
	__uint(max_entries, 8);
	__uint(map_flags, 4);
	__uint(numa_node, 1);
	__type(key, unsigned int);
	__type(value, unsigned long long);
} hash SEC(".maps");

struct {
	__uint(type, 27);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, 33);
	__uint(map_flags, 1024);
	__uint(max_entries, 100);
	__ulong(map_extra, 1ull << 44);
} arena SEC(".maps");

struct {
	__uint(type, 24);
	__uint(map_flags, 1);
	__type(key, int);
	__type(value, struct per_socket);
} per_socket SEC(".maps");

static struct {
	__uint(type, 2);
	__uint(max_entries, 1);
	__type(key, unsigned int);
	__type(value, unsigned long long);
} hidden SEC(".maps");

static void *(*map_lookup)(void *map, const void *key) = (void *)1;

struct t_ops {
	int (*look)(void *context);
};

SEC("struct_ops/look")
int look(void *context)
{
	unsigned int key = 0;

	return map_lookup(&hidden, &key) != map_lookup(&hash, &key);
}

SEC(".struct_ops")
struct t_ops looker = {
	.look = look,
};

char licence[] SEC("license") = "GPL";

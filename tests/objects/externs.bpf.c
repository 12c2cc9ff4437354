/* Symbols that are left to the kernel; read by tests, never loaded. */
#define SEC(name) __attribute__((section(name)))
#define WEAK __attribute__((weak))

extern int t_kfunc(void *context) SEC(".ksyms");
extern int t_weak_kfunc(void *context) SEC(".ksyms") WEAK;
extern const int t_ksym SEC(".ksyms");
extern int LINUX_KERNEL_VERSION SEC(".kconfig");
extern _Bool CONFIG_T_WEAK SEC(".kconfig") WEAK;

struct t_ops {
	int (*look)(void *context);
};

SEC("struct_ops/look")
int look(void *context)
{
	int result = LINUX_KERNEL_VERSION + CONFIG_T_WEAK + t_ksym;

	if (t_weak_kfunc)
		result += t_weak_kfunc(context);
	return result + t_kfunc(context);
}

SEC(".struct_ops")
struct t_ops ops = {
	.look = look,
};

char licence[] SEC("license") = "GPL";

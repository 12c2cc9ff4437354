/* Read-only variables of every type that --const can or cannot set; read by tests, never loaded. */
#define SEC(name) __attribute__((section(name), used))

enum colour { RED, GREEN = 5, BLUE };
enum signed_colour { DARK = -1, LIGHT = 1 };
enum wide { SMALL = 1, LARGE = 0x123456789aULL };

struct inner {
	unsigned char low : 3, high : 5;
	signed int shifted : 12;
	union {
		unsigned int number;
		unsigned short halves[2];
	};
	struct {
		char text[4];
	} named[2];
};

const volatile unsigned char u8 = 1;
const volatile signed char s8 = -1;
const volatile unsigned short u16 = 2;
const volatile int s32 = -3;
const volatile unsigned long long u64 = 4;
const volatile long long s64 = -5;
const volatile _Bool flag = 0;
const volatile char letter = 'x';
const volatile char name[8] = "reno";
const volatile char text[2][4] = {"ab", "cd"};
const volatile unsigned char bytes[4] = {1, 2, 3, 4};
const volatile enum colour colour = RED;
const volatile enum signed_colour shade = LIGHT;
const volatile enum wide wide = SMALL;
const volatile struct inner inner = {.low = 1, .high = 2, .shifted = -3, .number = 4, .named = {{"ab"}, {"cd"}}};
const volatile float ratio = 1.5f;
const void *volatile const pointer = (void *)0;

struct t_ops {
	int (*sum)(void *context);
};

SEC("struct_ops/sum")
int sum(void *context)
{
	static volatile const unsigned int within = 6;

	return u8 + s8 + u16 + s32 + u64 + s64 + flag + letter + name[1] + bytes[2] + colour + shade + wide +
	       inner.number + text[1][1] + within + (pointer != (void *)0) + (*(volatile unsigned int *)&ratio != 0);
}

SEC(".struct_ops")
struct t_ops ops = {
	.sum = sum,
};

char licence[] SEC("license") = "GPL";

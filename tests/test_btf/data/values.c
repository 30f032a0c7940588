/* Values of every kind, laid out by a compiler for both byte orders: the truth for lbc.btf.values.
 * clang-16 -target bpf{el,eb} -g -O2 -c values.c, then .BTF and .data (see README of this folder). */
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;
enum state { RUNNING = 0, SLEEPING = 1, DEAD = 40 };
enum level { LOW = -5, HIGH = 7 };
enum big : u64 { ONE = 1, HUGE_ONE = 0x8122334455667788ULL };
struct pair { int x; short class; };
struct event { u32 pid; u64 ts; char comm[16]; u32 uid, gid, flags; int prio; long delta; u32 cpu; };
struct __attribute__((packed)) tight { u8 a; u32 b; u64 c; short d; };
struct bits { u32 a:3; u32 b:7; int c:5; u32 d:17; u64 wide:40; u64 :0; enum level lvl:5; u8 e:2; _Bool f:1; u8 tail; u32 last:9; };
struct everything {
	u8 a; enum state st; enum level lv; enum big bg; _Bool yes, no;
	void *ptr; double d; float f; __int128 i; unsigned __int128 u;
	struct pair in; struct pair arr[3]; int nums[4]; signed char sc; short grid[2][3];
	union { u32 v4; u8 v6[16]; struct { u8 hi; u8 lo; }; };
	union { u32 whole; u8 parts[4]; } un;
	char names[2][4]; u8 mac[6]; enum state es[2]; const volatile long cv;
};
struct flex { u32 n; u8 data[]; };
struct text { u32 n; char t[]; };
struct event event __attribute__((section(".event"))) = { 4711, 0x0102030405060708ULL, "cat", 1000, 100, 0xfffffffe, -20, -3, 1 };
struct tight tight __attribute__((section(".tight"))) = { 1, 0xdeadbeef, 0x1122334455667788ULL, -2 };
struct bits bits __attribute__((section(".bits"))) = { .a = 5, .b = 100, .c = -9, .d = 0x1abcd, .wide = 0x123456789aULL, .lvl = LOW, .e = 2, .f = 1, .tail = 200, .last = 300 };
struct everything everything __attribute__((section(".everything"))) = {
	.a = 255, .st = DEAD, .lv = LOW, .bg = HUGE_ONE, .yes = 1, .ptr = 0, .d = -2.5, .f = 0.5f, .i = -3, .u = ((unsigned __int128)1 << 100) + 9,
	.in = { -1, 300 }, .arr = { { 1, 2 }, { 3, 4 }, { -5, -6 } }, .nums = { 1, -2, 3, -4 }, .sc = -7, .grid = { { 1, 2, 3 }, { 4, 5, 6 } },
	.v6 = { 0x7f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 }, .un = { .parts = { 1, 2, 3, 4 } },
	.names = { "ab", "wxyz" }, .mac = { 0, 17, 34, 51, 68, 85 }, .es = { SLEEPING, RUNNING }, .cv = -123456789012LL };
struct flex flex __attribute__((section(".flex"))) = { 3, { 9, 8, 7 } };
struct text text __attribute__((section(".text_"))) = { 5, "hello" };

/* One of everything that a resolver answers for: compiled to things.btf, written by hand as rows in conformance.py.
 *
 *   clang-16 -g -O1 -fno-ident -fdebug-compilation-dir=/ -target bpf -c things.c -o things.o
 *   llvm-objcopy-16 --dump-section .BTF=things.btf things.o /dev/null      (things_be.btf: -target bpfeb)
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef _Bool bool;
typedef u64 cookie_t;
typedef struct { int counter; } atomic_t;

enum color { RED, GREEN = 5, BLUE = -1 };

struct opaque;
struct thing;
typedef int (*callback_t)(struct thing *thing, const char *name);

struct inner {
	int a;
	char b[3];
};

union word {
	u32 all;
	u8 bytes[4];
};

struct thing {
	unsigned long flags;
	unsigned int low : 3;
	unsigned int middle : 7;
	unsigned int : 6;
	unsigned int high : 16;
	union {
		struct {
			u16 first;
			u16 second;
		};
		u32 both;
	};
	struct {
		int x;
		int y[2];
	} pos;
	struct inner in;
	struct inner list[3];
	char name[16];
	const char *label;
	unsigned char raw[4];
	enum color color;
	bool on;
	atomic_t refs;
	callback_t call;
	int (*direct)(int, ...);
	struct thing *next;
	struct opaque *opaque;
#ifdef __clang__
	char __attribute__((btf_type_tag("user"))) *ubuf;
#else
	char *ubuf;
#endif
	int grid[4][2];
	union word word;
	const volatile struct inner *const table[2];
	cookie_t cookie;
	short tail[];
};

int counter;
struct thing first_thing;

__attribute__((noinline)) int thing_open(struct thing *thing, const char *name, u64 flags)
{
	thing->cookie = flags;
	return name[0];
}

__attribute__((noinline)) struct thing *thing_find(int number)
{
	return number ? &first_thing : 0;
}

__attribute__((noinline)) unsigned long thing_sum(const struct inner *in, union word word)
{
	return in->a + word.all + counter;
}

__attribute__((noinline)) void other_reset(void)
{
	counter = 0;
}

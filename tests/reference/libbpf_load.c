/* What libbpf says of BPF objects: the judge of tests/live/test_corpus.py and tests/test_bpf/test_corpus.py.
 *
 *   libbpf_load [--pin-root DIR] OBJECT...      opens and loads each object on this kernel as `bpftool prog loadall` does
 *   libbpf_load --insns BTF OBJECT...           no kernel: bpf() is answered by fakes that say yes, the kernel's BTF is the
 *                                               file BTF, and the instructions handed to BPF_PROG_LOAD are printed
 *
 * One JSON line per object:
 *   {"object": path, "libbpf": "v1.1", "open": 0, "load": -22, "why": first warning,
 *    "programs": {name: {"section": s, "autoload": true, "load": 0, "insns": hex}}}
 * open, load: 0 or -errno.  A program's load: 0 if it was loaded with the whole object; when the object was refused, each program
 * is tried alone in a fresh copy (others switched off), and "relocated" is false where CO-RE was what failed.
 * null: not loaded and not tried (autoload off).
 *
 * Build: gcc -O1 -Wall -o libbpf_load libbpf_load.c -rdynamic -lbpf
 * The fakes work by interposition: libbpf calls bpf() through libc's syscall(), and finds ours first (hence -rdynamic).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/bpf.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define VMLINUX "/sys/kernel/btf/vmlinux"

static const char *fake_btf;		/* --insns: the file that stands for the kernel's BTF */
static const char *pin_root;

static struct { char name[16]; void *insns; size_t size; } seen[256];
static int seen_count;

/* ---- the fakes ---------------------------------------------------------------------------------------------------------------- */

static int fake_fd(size_t size)
{
	int fd = memfd_create("fake", MFD_CLOEXEC);

	if (fd >= 0 && size && ftruncate(fd, size))
		return -1;
	return fd;
}

static long fake_bpf(int cmd, union bpf_attr *attr)
{
	switch (cmd) {
	case BPF_PROG_LOAD:
		/* libbpf's own probes have no name or begin with "libbpf_" */
		if (attr->prog_name[0] && strncmp(attr->prog_name, "libbpf_", 7) && seen_count < 256) {
			size_t size = attr->insn_cnt * 8;

			memcpy(seen[seen_count].name, attr->prog_name, 16);
			seen[seen_count].insns = memcpy(malloc(size), (void *)(long)attr->insns, size);
			seen[seen_count++].size = size;
		}
		return fake_fd(0);
	case BPF_MAP_CREATE:
		return fake_fd(1 << 24);	/* may be mapped */
	case BPF_BTF_LOAD:
	case BPF_RAW_TRACEPOINT_OPEN:
		return fake_fd(0);
	case BPF_MAP_UPDATE_ELEM:
	case BPF_MAP_FREEZE:
	case BPF_PROG_BIND_MAP:
	case BPF_OBJ_PIN:
		return 0;
	case BPF_MAP_LOOKUP_ELEM:
	case BPF_BTF_GET_NEXT_ID:
	case BPF_OBJ_GET:
		errno = ENOENT;
		return -1;
	case BPF_OBJ_GET_INFO_BY_FD:
		memset((void *)(long)attr->info.info, 0, attr->info.info_len);
		return 0;
	}
	errno = EINVAL;
	return -1;
}

long syscall(long number, ...)
{
	static long (*real)(long, ...);
	va_list list;
	long a[6];

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_bpf && fake_btf)
		return fake_bpf(a[0], (void *)a[1]);
	if (!real)
		real = dlsym(RTLD_NEXT, "syscall");
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static const char *redirect(const char *path)
{
	return fake_btf && !strcmp(path, VMLINUX) ? fake_btf : path;
}

FILE *fopen64(const char *path, const char *mode)
{
	static FILE *(*real)(const char *, const char *);

	if (!real)
		real = dlsym(RTLD_NEXT, "fopen64");
	return real(redirect(path), mode);
}

int open64(const char *path, int flags, ...)
{
	static int (*real)(const char *, int, ...);
	va_list list;
	int mode;

	va_start(list, flags);
	mode = va_arg(list, int);
	va_end(list);
	if (!real)
		real = dlsym(RTLD_NEXT, "open64");
	return real(redirect(path), flags, mode);
}

/* ---- loading ------------------------------------------------------------------------------------------------------------------ */

static char why[256];
static bool relocation_failed;

static int keep_first_warning(enum libbpf_print_level level, const char *format, va_list args)
{
	if (getenv("LBC_JUDGE_DEBUG"))
		return vfprintf(stderr, format, args);
	if (level == LIBBPF_WARN) {
		if (strstr(format, "failed to perform CO-RE relocations"))
			relocation_failed = true;
		if (!why[0])
			vsnprintf(why, sizeof(why), format, args);
	}
	return 0;
}

static struct bpf_object *open_object(const char *path, int *error)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .pin_root_path = pin_root);
	struct bpf_object *object = bpf_object__open_file(path, &opts);

	*error = object ? 0 : -errno;
	return object;
}

static int load(struct bpf_object *object)
{
	int error;

	relocation_failed = false;
	while (seen_count)
		free(seen[--seen_count].insns);
	error = bpf_object__load(object);
	if (!error && !fake_btf)
		bpf_object__unpin_maps(object, NULL);
	return error;
}

static int load_alone(const char *path, const char *name)
{
	struct bpf_program *program;
	struct bpf_object *object;
	int error;

	object = open_object(path, &error);
	if (!object)
		return error;
	bpf_object__for_each_program(program, object)
		bpf_program__set_autoload(program, !strcmp(bpf_program__name(program), name));
	error = load(object);
	bpf_object__close(object);
	return error;
}

static void print_text(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		unsigned char c = *text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 32 || c > 126)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void print_insns(const char *name)
{
	for (int i = 0; i < seen_count; i++) {
		if (strncmp(seen[i].name, name, 15))
			continue;
		printf(", \"insns\": \"");
		for (size_t at = 0; at < seen[i].size; at++)
			printf("%02x", ((unsigned char *)seen[i].insns)[at]);
		printf("\"");
		seen[i].name[0] = 0;	/* the next of the same short name is the next program */
		return;
	}
}

static void judge(const char *path)
{
	struct bpf_object *object;
	struct bpf_program *program;
	int opened, loaded = -1;
	const char *comma = "";
	char first[sizeof(why)];

	why[0] = 0;
	object = open_object(path, &opened);
	if (object)
		loaded = load(object);
	strcpy(first, why);
	printf("{\"object\": ");
	print_text(path);
	printf(", \"libbpf\": \"%s\", \"open\": %d, \"load\": ", libbpf_version_string(), opened);
	if (object)
		printf("%d", loaded);
	else
		printf("null");
	printf(", \"why\": ");
	print_text(first);
	printf(", \"programs\": {");
	if (object) {
		bpf_object__for_each_program(program, object) {
			const char *name = bpf_program__name(program);
			bool wanted = bpf_program__autoload(program);

			printf("%s", comma);
			comma = ", ";
			print_text(name);
			printf(": {\"section\": ");
			print_text(bpf_program__section_name(program));
			printf(", \"autoload\": %s, \"load\": ", wanted ? "true" : "false");
			if (!wanted)
				printf("null");
			else if (!loaded)
				printf("0");
			else
				printf("%d", load_alone(path, name));
			if (loaded)
				printf(", \"relocated\": %s", relocation_failed ? "false" : "true");
			if (fake_btf)
				print_insns(name);
			printf("}");
		}
		bpf_object__close(object);
	}
	printf("}}\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	int i = 1;

	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	libbpf_set_print(keep_first_warning);
	for (; i + 1 < argc && !strncmp(argv[i], "--", 2); i += 2) {
		if (!strcmp(argv[i], "--insns"))
			fake_btf = argv[i + 1];
		else if (!strcmp(argv[i], "--pin-root"))
			pin_root = argv[i + 1];
		else
			break;
	}
	if (i >= argc) {
		fprintf(stderr, "usage: libbpf_load [--insns BTF | --pin-root DIR] OBJECT...\n");
		return 2;
	}
	for (; i < argc; i++)
		judge(argv[i]);
	return 0;
}

/* The optional compiled part of lbc: system calls, ordered access to shared memory, and rings drained in one call.
 * Built by `python -m lbc._native.build`; lbc/bpf/rings.py holds the same in Python and is the definition.
 * Layouts: include/uapi/linux/perf_event.h; kernel/bpf/ringbuf.c. */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <linux/perf_event.h>

enum { R_COUNT, R_BYTES, R_UNIFORM, R_LOST, R_TAIL, R_NEED };

static long lbc_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	long result = syscall(nr, a, b, c, d, e, f);
	return result < 0 ? -(long)errno : result;
}

static uint64_t lbc_load_acquire(uint64_t addr)
{
	return __atomic_load_n((uint64_t *)(uintptr_t)addr, __ATOMIC_ACQUIRE);
}

static void lbc_store_release(uint64_t addr, uint64_t value)
{
	__atomic_store_n((uint64_t *)(uintptr_t)addr, value, __ATOMIC_RELEASE);
}

static void copy_wrapped(char *to, const char *data, uint64_t size, uint64_t at, uint64_t length)
{
	uint64_t first;

	at &= size - 1;
	first = length < size - at ? length : size - at;
	memcpy(to, data + at, first);
	memcpy(to + first, data, length - first);
}

/* Samples of a perf ring: their raw data joined in out, their sizes in sizes.  A LOST record ends a call (alone: R_LOST). */
static void lbc_perf_drain(char *base, uint64_t page, uint64_t size, char *out, uint64_t room, uint32_t *sizes, uint64_t most,
			   uint64_t *result)
{
	struct perf_event_mmap_page *control = (void *)base;
	const char *data = base + page;
	uint64_t head = __atomic_load_n((uint64_t *)&control->data_head, __ATOMIC_ACQUIRE);
	uint64_t tail = control->data_tail, count = 0, used = 0, uniform = 1, lost = 0;

	if (head - tail > size) {
		tail = head;
		lost = 1;
	}
	while (tail != head && count < most) {
		struct perf_event_header header;
		uint32_t raw;

		memcpy(&header, data + (tail & (size - 1)), sizeof(header)); /* 8-byte aligned: never wraps */
		if (header.size < 8 || header.size > head - tail) {
			if (count)
				break;
			tail = head;
			lost = 1;
			break;
		}
		if (header.type == PERF_RECORD_SAMPLE && header.size >= 12) {
			memcpy(&raw, data + ((tail + 8) & (size - 1)), 4);
			if (raw > header.size - 12u)
				raw = header.size - 12u;
			if (used + raw > room)
				break;
			copy_wrapped(out + used, data, size, tail + 12, raw);
			sizes[count] = raw;
			uniform &= raw == sizes[0];
			count++;
			used += raw;
		} else if (header.type == PERF_RECORD_LOST && header.size >= 24) {
			if (count)
				break;
			memcpy(&lost, data + ((tail + 16) & (size - 1)), 8);
			tail += header.size;
			break;
		}
		tail += header.size;
	}
	__atomic_store_n((uint64_t *)&control->data_tail, tail, __ATOMIC_RELEASE);
	result[R_COUNT] = count;
	result[R_BYTES] = used;
	result[R_UNIFORM] = uniform;
	result[R_LOST] = lost;
	result[R_TAIL] = tail;
}

/* Records of a BPF ring buffer.  memory: producer page and the data mapped twice.  R_NEED: room that the first record wants. */
static void lbc_ring_drain(char *consumer, const char *memory, uint64_t page, uint64_t size, char *out, uint64_t room, uint32_t *sizes,
			   uint64_t most, uint64_t *result)
{
	uint64_t tail = *(uint64_t *)consumer, count = 0, used = 0, uniform = 1;
	uint64_t head = __atomic_load_n((uint64_t *)memory, __ATOMIC_ACQUIRE);
	const char *data = memory + page;

	result[R_NEED] = 0;
	while (tail < head && count < most) {
		const char *record = data + (tail & (size - 1));
		uint32_t word = __atomic_load_n((const uint32_t *)record, __ATOMIC_ACQUIRE);
		uint32_t length = word & 0x3fffffff;

		if (word & 0x80000000u || length + 8ull > size)
			break;
		if (!(word & 0x40000000u)) {
			if (used + length > room) {
				if (!count)
					result[R_NEED] = length;
				break;
			}
			memcpy(out + used, record + 8, length);
			sizes[count] = length;
			uniform &= length == sizes[0];
			count++;
			used += length;
		}
		tail += (length + 8ull + 7) & ~7ull;
	}
	__atomic_store_n((uint64_t *)consumer, tail, __ATOMIC_RELEASE);
	result[R_COUNT] = count;
	result[R_BYTES] = used;
	result[R_UNIFORM] = uniform;
	result[R_LOST] = 0;
	result[R_TAIL] = tail;
}

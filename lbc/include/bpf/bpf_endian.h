/* SPDX-License-Identifier: MIT */
/* Numbers between the byte order of the program's machine and that of the network. */
#ifndef __BPF_ENDIAN__
#define __BPF_ENDIAN__

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__	/* clang folds these for constants, also in initialisers */
#define LBC_BE16_(x) __builtin_bswap16(x)
#define LBC_BE32_(x) __builtin_bswap32(x)
#define LBC_BE64_(x) __builtin_bswap64(x)
#else
#define LBC_BE16_(x) (x)
#define LBC_BE32_(x) (x)
#define LBC_BE64_(x) (x)
#endif

#define bpf_htons(x) LBC_BE16_(x)
#define bpf_ntohs(x) LBC_BE16_(x)
#define bpf_htonl(x) LBC_BE32_(x)
#define bpf_ntohl(x) LBC_BE32_(x)
#define bpf_cpu_to_be64(x) LBC_BE64_(x)
#define bpf_be64_to_cpu(x) LBC_BE64_(x)

#define __bpf_htons(x) LBC_BE16_(x)
#define __bpf_ntohs(x) LBC_BE16_(x)
#define __bpf_htonl(x) LBC_BE32_(x)
#define __bpf_ntohl(x) LBC_BE32_(x)
#define __bpf_cpu_to_be64(x) LBC_BE64_(x)
#define __bpf_be64_to_cpu(x) LBC_BE64_(x)
#define __bpf_constant_htons(x) LBC_BE16_(x)
#define __bpf_constant_ntohs(x) LBC_BE16_(x)
#define __bpf_constant_htonl(x) LBC_BE32_(x)
#define __bpf_constant_ntohl(x) LBC_BE32_(x)
#define __bpf_constant_cpu_to_be64(x) LBC_BE64_(x)
#define __bpf_constant_be64_to_cpu(x) LBC_BE64_(x)

#endif

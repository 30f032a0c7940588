# GENERATED from linux v7.3 by scripts/gen_uapi.py; do not edit
"""Constants of linux/bpf.h, linux/bpf_common.h."""
from __future__ import absolute_import

from .calls import (  # noqa: F401
    BPF_ATTR,
    BPF_ATTR_SIZE,
    BPF_MAP_INFO,
    BPF_MAP_INFO_SIZE,
    BPF_PROG_INFO,
    BPF_PROG_INFO_SIZE,
    BPF_BTF_INFO,
    BPF_BTF_INFO_SIZE,
    BPF_LINK_INFO,
    BPF_LINK_INFO_SIZE,
)

BPF_JMP32 = 6
BPF_ALU64 = 7
BPF_DW = 24
BPF_MEMSX = 128
BPF_ATOMIC = 192
BPF_XADD = 192
BPF_MOV = 176
BPF_ARSH = 192
BPF_END = 208
BPF_TO_LE = 0
BPF_TO_BE = 8
BPF_FROM_LE = 0
BPF_FROM_BE = 8
BPF_JNE = 80
BPF_JLT = 160
BPF_JLE = 176
BPF_JSGT = 96
BPF_JSGE = 112
BPF_JSLT = 192
BPF_JSLE = 208
BPF_JCOND = 224
BPF_CALL = 128
BPF_EXIT = 144
BPF_FETCH = 1
BPF_XCHG = 225
BPF_CMPXCHG = 241
BPF_LOAD_ACQ = 256
BPF_STORE_REL = 272
BPF_MAY_GOTO = 0
BPF_REG_0 = 0
BPF_REG_1 = 1
BPF_REG_2 = 2
BPF_REG_3 = 3
BPF_REG_4 = 4
BPF_REG_5 = 5
BPF_REG_6 = 6
BPF_REG_7 = 7
BPF_REG_8 = 8
BPF_REG_9 = 9
BPF_REG_10 = 10
MAX_BPF_REG = 11
BPF_CGROUP_ITER_ORDER_UNSPEC = 0
BPF_CGROUP_ITER_SELF_ONLY = 1
BPF_CGROUP_ITER_DESCENDANTS_PRE = 2
BPF_CGROUP_ITER_DESCENDANTS_POST = 3
BPF_CGROUP_ITER_ANCESTORS_UP = 4
BPF_CGROUP_ITER_CHILDREN = 5
BPF_MAP_CREATE = 0
BPF_MAP_LOOKUP_ELEM = 1
BPF_MAP_UPDATE_ELEM = 2
BPF_MAP_DELETE_ELEM = 3
BPF_MAP_GET_NEXT_KEY = 4
BPF_PROG_LOAD = 5
BPF_OBJ_PIN = 6
BPF_OBJ_GET = 7
BPF_PROG_ATTACH = 8
BPF_PROG_DETACH = 9
BPF_PROG_TEST_RUN = 10
BPF_PROG_RUN = 10
BPF_PROG_GET_NEXT_ID = 11
BPF_MAP_GET_NEXT_ID = 12
BPF_PROG_GET_FD_BY_ID = 13
BPF_MAP_GET_FD_BY_ID = 14
BPF_OBJ_GET_INFO_BY_FD = 15
BPF_PROG_QUERY = 16
BPF_RAW_TRACEPOINT_OPEN = 17
BPF_BTF_LOAD = 18
BPF_BTF_GET_FD_BY_ID = 19
BPF_TASK_FD_QUERY = 20
BPF_MAP_LOOKUP_AND_DELETE_ELEM = 21
BPF_MAP_FREEZE = 22
BPF_BTF_GET_NEXT_ID = 23
BPF_MAP_LOOKUP_BATCH = 24
BPF_MAP_LOOKUP_AND_DELETE_BATCH = 25
BPF_MAP_UPDATE_BATCH = 26
BPF_MAP_DELETE_BATCH = 27
BPF_LINK_CREATE = 28
BPF_LINK_UPDATE = 29
BPF_LINK_GET_FD_BY_ID = 30
BPF_LINK_GET_NEXT_ID = 31
BPF_ENABLE_STATS = 32
BPF_ITER_CREATE = 33
BPF_LINK_DETACH = 34
BPF_PROG_BIND_MAP = 35
BPF_TOKEN_CREATE = 36
BPF_PROG_STREAM_READ_BY_FD = 37
BPF_PROG_ASSOC_STRUCT_OPS = 38
BPF_COMMON_ATTRS = 0x10000
BPF_MAP_TYPE_UNSPEC = 0
BPF_MAP_TYPE_HASH = 1
BPF_MAP_TYPE_ARRAY = 2
BPF_MAP_TYPE_PROG_ARRAY = 3
BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4
BPF_MAP_TYPE_PERCPU_HASH = 5
BPF_MAP_TYPE_PERCPU_ARRAY = 6
BPF_MAP_TYPE_STACK_TRACE = 7
BPF_MAP_TYPE_CGROUP_ARRAY = 8
BPF_MAP_TYPE_LRU_HASH = 9
BPF_MAP_TYPE_LRU_PERCPU_HASH = 10
BPF_MAP_TYPE_LPM_TRIE = 11
BPF_MAP_TYPE_ARRAY_OF_MAPS = 12
BPF_MAP_TYPE_HASH_OF_MAPS = 13
BPF_MAP_TYPE_DEVMAP = 14
BPF_MAP_TYPE_SOCKMAP = 15
BPF_MAP_TYPE_CPUMAP = 16
BPF_MAP_TYPE_XSKMAP = 17
BPF_MAP_TYPE_SOCKHASH = 18
BPF_MAP_TYPE_CGROUP_STORAGE_DEPRECATED = 19
BPF_MAP_TYPE_CGROUP_STORAGE = 19
BPF_MAP_TYPE_REUSEPORT_SOCKARRAY = 20
BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE_DEPRECATED = 21
BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE = 21
BPF_MAP_TYPE_QUEUE = 22
BPF_MAP_TYPE_STACK = 23
BPF_MAP_TYPE_SK_STORAGE = 24
BPF_MAP_TYPE_DEVMAP_HASH = 25
BPF_MAP_TYPE_STRUCT_OPS = 26
BPF_MAP_TYPE_RINGBUF = 27
BPF_MAP_TYPE_INODE_STORAGE = 28
BPF_MAP_TYPE_TASK_STORAGE = 29
BPF_MAP_TYPE_BLOOM_FILTER = 30
BPF_MAP_TYPE_USER_RINGBUF = 31
BPF_MAP_TYPE_CGRP_STORAGE = 32
BPF_MAP_TYPE_ARENA = 33
BPF_MAP_TYPE_INSN_ARRAY = 34
BPF_MAP_TYPE_RHASH = 35
BPF_PROG_TYPE_UNSPEC = 0
BPF_PROG_TYPE_SOCKET_FILTER = 1
BPF_PROG_TYPE_KPROBE = 2
BPF_PROG_TYPE_SCHED_CLS = 3
BPF_PROG_TYPE_SCHED_ACT = 4
BPF_PROG_TYPE_TRACEPOINT = 5
BPF_PROG_TYPE_XDP = 6
BPF_PROG_TYPE_PERF_EVENT = 7
BPF_PROG_TYPE_CGROUP_SKB = 8
BPF_PROG_TYPE_CGROUP_SOCK = 9
BPF_PROG_TYPE_LWT_IN = 10
BPF_PROG_TYPE_LWT_OUT = 11
BPF_PROG_TYPE_LWT_XMIT = 12
BPF_PROG_TYPE_SOCK_OPS = 13
BPF_PROG_TYPE_SK_SKB = 14
BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_PROG_TYPE_SK_MSG = 16
BPF_PROG_TYPE_RAW_TRACEPOINT = 17
BPF_PROG_TYPE_CGROUP_SOCK_ADDR = 18
BPF_PROG_TYPE_LWT_SEG6LOCAL = 19
BPF_PROG_TYPE_LIRC_MODE2 = 20
BPF_PROG_TYPE_SK_REUSEPORT = 21
BPF_PROG_TYPE_FLOW_DISSECTOR = 22
BPF_PROG_TYPE_CGROUP_SYSCTL = 23
BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE = 24
BPF_PROG_TYPE_CGROUP_SOCKOPT = 25
BPF_PROG_TYPE_TRACING = 26
BPF_PROG_TYPE_STRUCT_OPS = 27
BPF_PROG_TYPE_EXT = 28
BPF_PROG_TYPE_LSM = 29
BPF_PROG_TYPE_SK_LOOKUP = 30
BPF_PROG_TYPE_SYSCALL = 31
BPF_PROG_TYPE_NETFILTER = 32
BPF_CGROUP_INET_INGRESS = 0
BPF_CGROUP_INET_EGRESS = 1
BPF_CGROUP_INET_SOCK_CREATE = 2
BPF_CGROUP_SOCK_OPS = 3
BPF_SK_SKB_STREAM_PARSER = 4
BPF_SK_SKB_STREAM_VERDICT = 5
BPF_CGROUP_DEVICE = 6
BPF_SK_MSG_VERDICT = 7
BPF_CGROUP_INET4_BIND = 8
BPF_CGROUP_INET6_BIND = 9
BPF_CGROUP_INET4_CONNECT = 10
BPF_CGROUP_INET6_CONNECT = 11
BPF_CGROUP_INET4_POST_BIND = 12
BPF_CGROUP_INET6_POST_BIND = 13
BPF_CGROUP_UDP4_SENDMSG = 14
BPF_CGROUP_UDP6_SENDMSG = 15
BPF_LIRC_MODE2 = 16
BPF_FLOW_DISSECTOR = 17
BPF_CGROUP_SYSCTL = 18
BPF_CGROUP_UDP4_RECVMSG = 19
BPF_CGROUP_UDP6_RECVMSG = 20
BPF_CGROUP_GETSOCKOPT = 21
BPF_CGROUP_SETSOCKOPT = 22
BPF_TRACE_RAW_TP = 23
BPF_TRACE_FENTRY = 24
BPF_TRACE_FEXIT = 25
BPF_MODIFY_RETURN = 26
BPF_LSM_MAC = 27
BPF_TRACE_ITER = 28
BPF_CGROUP_INET4_GETPEERNAME = 29
BPF_CGROUP_INET6_GETPEERNAME = 30
BPF_CGROUP_INET4_GETSOCKNAME = 31
BPF_CGROUP_INET6_GETSOCKNAME = 32
BPF_XDP_DEVMAP = 33
BPF_CGROUP_INET_SOCK_RELEASE = 34
BPF_XDP_CPUMAP = 35
BPF_SK_LOOKUP = 36
BPF_XDP = 37
BPF_SK_SKB_VERDICT = 38
BPF_SK_REUSEPORT_SELECT = 39
BPF_SK_REUSEPORT_SELECT_OR_MIGRATE = 40
BPF_PERF_EVENT = 41
BPF_TRACE_KPROBE_MULTI = 42
BPF_LSM_CGROUP = 43
BPF_STRUCT_OPS = 44
BPF_NETFILTER = 45
BPF_TCX_INGRESS = 46
BPF_TCX_EGRESS = 47
BPF_TRACE_UPROBE_MULTI = 48
BPF_CGROUP_UNIX_CONNECT = 49
BPF_CGROUP_UNIX_SENDMSG = 50
BPF_CGROUP_UNIX_RECVMSG = 51
BPF_CGROUP_UNIX_GETPEERNAME = 52
BPF_CGROUP_UNIX_GETSOCKNAME = 53
BPF_NETKIT_PRIMARY = 54
BPF_NETKIT_PEER = 55
BPF_TRACE_KPROBE_SESSION = 56
BPF_TRACE_UPROBE_SESSION = 57
BPF_TRACE_FSESSION = 58
BPF_TRACE_FENTRY_MULTI = 59
BPF_TRACE_FEXIT_MULTI = 60
BPF_TRACE_FSESSION_MULTI = 61
MAX_BPF_ATTACH_TYPE = 62
BPF_LINK_TYPE_UNSPEC = 0
BPF_LINK_TYPE_RAW_TRACEPOINT = 1
BPF_LINK_TYPE_TRACING = 2
BPF_LINK_TYPE_CGROUP = 3
BPF_LINK_TYPE_ITER = 4
BPF_LINK_TYPE_NETNS = 5
BPF_LINK_TYPE_XDP = 6
BPF_LINK_TYPE_PERF_EVENT = 7
BPF_LINK_TYPE_KPROBE_MULTI = 8
BPF_LINK_TYPE_STRUCT_OPS = 9
BPF_LINK_TYPE_NETFILTER = 10
BPF_LINK_TYPE_TCX = 11
BPF_LINK_TYPE_UPROBE_MULTI = 12
BPF_LINK_TYPE_NETKIT = 13
BPF_LINK_TYPE_SOCKMAP = 14
BPF_LINK_TYPE_TRACING_MULTI = 15
MAX_BPF_LINK_TYPE = 16
BPF_PERF_EVENT_UNSPEC = 0
BPF_PERF_EVENT_UPROBE = 1
BPF_PERF_EVENT_URETPROBE = 2
BPF_PERF_EVENT_KPROBE = 3
BPF_PERF_EVENT_KRETPROBE = 4
BPF_PERF_EVENT_TRACEPOINT = 5
BPF_PERF_EVENT_EVENT = 6
BPF_F_ALLOW_OVERRIDE = 1
BPF_F_ALLOW_MULTI = 2
BPF_F_REPLACE = 4
BPF_F_BEFORE = 8
BPF_F_AFTER = 16
BPF_F_ID = 32
BPF_F_PREORDER = 64
BPF_F_LINK = 0x2000
BPF_F_STRICT_ALIGNMENT = 1
BPF_F_ANY_ALIGNMENT = 2
BPF_F_TEST_RND_HI32 = 4
BPF_F_TEST_STATE_FREQ = 8
BPF_F_SLEEPABLE = 16
BPF_F_XDP_HAS_FRAGS = 32
BPF_F_XDP_DEV_BOUND_ONLY = 64
BPF_F_TEST_REG_INVARIANTS = 128
BPF_F_KPROBE_MULTI_RETURN = 1
BPF_F_UPROBE_MULTI_RETURN = 1
BPF_F_UPROBE_MULTI_PATH_FD = 2
BPF_F_NETFILTER_IP_DEFRAG = 1
BPF_PSEUDO_MAP_FD = 1
BPF_PSEUDO_MAP_IDX = 5
BPF_PSEUDO_MAP_VALUE = 2
BPF_PSEUDO_MAP_IDX_VALUE = 6
BPF_PSEUDO_BTF_ID = 3
BPF_PSEUDO_FUNC = 4
BPF_PSEUDO_CALL = 1
BPF_PSEUDO_KFUNC_CALL = 2
BPF_ADDR_SPACE_CAST = 1
BPF_ANY = 0
BPF_NOEXIST = 1
BPF_EXIST = 2
BPF_F_LOCK = 4
BPF_F_CPU = 8
BPF_F_ALL_CPUS = 16
BPF_F_NO_PREALLOC = 1
BPF_F_NO_COMMON_LRU = 2
BPF_F_NUMA_NODE = 4
BPF_F_RDONLY = 8
BPF_F_WRONLY = 16
BPF_F_STACK_BUILD_ID = 32
BPF_F_ZERO_SEED = 64
BPF_F_RDONLY_PROG = 128
BPF_F_WRONLY_PROG = 256
BPF_F_CLONE = 512
BPF_F_MMAPABLE = 1024
BPF_F_PRESERVE_ELEMS = 2048
BPF_F_INNER_MAP = 4096
BPF_F_PATH_FD = 0x4000
BPF_F_VTYPE_BTF_OBJ_FD = 0x8000
BPF_F_TOKEN_FD = 0x10000
BPF_F_SEGV_ON_FAULT = 0x20000
BPF_F_NO_USER_CONV = 0x40000
BPF_F_RB_OVERWRITE = 0x80000
BPF_F_QUERY_EFFECTIVE = 1
BPF_F_TEST_RUN_ON_CPU = 1
BPF_F_TEST_XDP_LIVE_FRAMES = 2
BPF_F_TEST_SKB_CHECKSUM_COMPLETE = 4
BPF_STATS_RUN_TIME = 0
BPF_STACK_BUILD_ID_EMPTY = 0
BPF_STACK_BUILD_ID_VALID = 1
BPF_STACK_BUILD_ID_IP = 2
BPF_BUILD_ID_SIZE = 20
BPF_OBJ_NAME_LEN = 16
BPF_STREAM_STDOUT = 1
BPF_STREAM_STDERR = 2
BPF_F_RECOMPUTE_CSUM = 1
BPF_F_INVALIDATE_HASH = 2
BPF_F_HDR_FIELD_MASK = 15
BPF_F_PSEUDO_HDR = 16
BPF_F_MARK_MANGLED_0 = 32
BPF_F_MARK_ENFORCE = 64
BPF_F_IPV6 = 128
BPF_F_TUNINFO_IPV6 = 1
BPF_F_SKIP_FIELD_MASK = 255
BPF_F_USER_STACK = 256
BPF_F_FAST_STACK_CMP = 512
BPF_F_REUSE_STACKID = 1024
BPF_F_USER_BUILD_ID = 2048
BPF_F_ZERO_CSUM_TX = 2
BPF_F_DONT_FRAGMENT = 4
BPF_F_SEQ_NUMBER = 8
BPF_F_NO_TUNNEL_KEY = 16
BPF_F_TUNINFO_FLAGS = 16
BPF_F_INDEX_MASK = 0xffffffff
BPF_F_CURRENT_CPU = 0xffffffff
BPF_F_CTXLEN_MASK = 0xfffff00000000
BPF_F_CURRENT_NETNS = -1
BPF_CSUM_LEVEL_QUERY = 0
BPF_CSUM_LEVEL_INC = 1
BPF_CSUM_LEVEL_DEC = 2
BPF_CSUM_LEVEL_RESET = 3
BPF_F_ADJ_ROOM_FIXED_GSO = 1
BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 = 2
BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 = 4
BPF_F_ADJ_ROOM_ENCAP_L4_GRE = 8
BPF_F_ADJ_ROOM_ENCAP_L4_UDP = 16
BPF_F_ADJ_ROOM_NO_CSUM_RESET = 32
BPF_F_ADJ_ROOM_ENCAP_L2_ETH = 64
BPF_F_ADJ_ROOM_DECAP_L3_IPV4 = 128
BPF_F_ADJ_ROOM_DECAP_L3_IPV6 = 256
BPF_F_ADJ_ROOM_DECAP_L4_GRE = 512
BPF_F_ADJ_ROOM_DECAP_L4_UDP = 1024
BPF_F_ADJ_ROOM_DECAP_IPXIP4 = 2048
BPF_F_ADJ_ROOM_DECAP_IPXIP6 = 4096
BPF_ADJ_ROOM_ENCAP_L2_MASK = 255
BPF_ADJ_ROOM_ENCAP_L2_SHIFT = 56
BPF_F_SYSCTL_BASE_NAME = 1
BPF_LOCAL_STORAGE_GET_F_CREATE = 1
BPF_SK_STORAGE_GET_F_CREATE = 1
BPF_F_GET_BRANCH_RECORDS_SIZE = 1
BPF_RB_NO_WAKEUP = 1
BPF_RB_FORCE_WAKEUP = 2
BPF_RB_AVAIL_DATA = 0
BPF_RB_RING_SIZE = 1
BPF_RB_CONS_POS = 2
BPF_RB_PROD_POS = 3
BPF_RB_OVERWRITE_POS = 4
BPF_RINGBUF_BUSY_BIT = 0x80000000
BPF_RINGBUF_DISCARD_BIT = 0x40000000
BPF_RINGBUF_HDR_SZ = 8
BPF_SK_LOOKUP_F_REPLACE = 1
BPF_SK_LOOKUP_F_NO_REUSEPORT = 2
BPF_ADJ_ROOM_NET = 0
BPF_ADJ_ROOM_MAC = 1
BPF_HDR_START_MAC = 0
BPF_HDR_START_NET = 1
BPF_LWT_ENCAP_SEG6 = 0
BPF_LWT_ENCAP_SEG6_INLINE = 1
BPF_LWT_ENCAP_IP = 2
BPF_F_BPRM_SECUREEXEC = 1
BPF_F_INGRESS = 1
BPF_F_EGRESS = 2
BPF_F_BROADCAST = 8
BPF_F_EXCLUDE_INGRESS = 16
BPF_F_REDIRECT_FLAGS = 27
BPF_SKB_TSTAMP_UNSPEC = 0
BPF_SKB_TSTAMP_DELIVERY_MONO = 1
BPF_SKB_CLOCK_REALTIME = 0
BPF_SKB_CLOCK_MONOTONIC = 1
BPF_SKB_CLOCK_TAI = 2
BPF_OK = 0
BPF_DROP = 2
BPF_REDIRECT = 7
BPF_LWT_REROUTE = 128
BPF_FLOW_DISSECTOR_CONTINUE = 129
XDP_ABORTED = 0
XDP_DROP = 1
XDP_PASS = 2
XDP_TX = 3
XDP_REDIRECT = 4
BPF_TAG_SIZE = 8
BPF_SOCK_OPS_RTO_CB_FLAG = 1
BPF_SOCK_OPS_RETRANS_CB_FLAG = 2
BPF_SOCK_OPS_STATE_CB_FLAG = 4
BPF_SOCK_OPS_RTT_CB_FLAG = 8
BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG = 16
BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG = 32
BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG = 64
BPF_SOCK_OPS_ALL_CB_FLAGS = 127
BPF_SOCK_OPS_VOID = 0
BPF_SOCK_OPS_TIMEOUT_INIT = 1
BPF_SOCK_OPS_RWND_INIT = 2
BPF_SOCK_OPS_TCP_CONNECT_CB = 3
BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB = 4
BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB = 5
BPF_SOCK_OPS_NEEDS_ECN = 6
BPF_SOCK_OPS_BASE_RTT = 7
BPF_SOCK_OPS_RTO_CB = 8
BPF_SOCK_OPS_RETRANS_CB = 9
BPF_SOCK_OPS_STATE_CB = 10
BPF_SOCK_OPS_TCP_LISTEN_CB = 11
BPF_SOCK_OPS_RTT_CB = 12
BPF_SOCK_OPS_PARSE_HDR_OPT_CB = 13
BPF_SOCK_OPS_HDR_OPT_LEN_CB = 14
BPF_SOCK_OPS_WRITE_HDR_OPT_CB = 15
BPF_SOCK_OPS_TSTAMP_SCHED_CB = 16
BPF_SOCK_OPS_TSTAMP_SND_SW_CB = 17
BPF_SOCK_OPS_TSTAMP_SND_HW_CB = 18
BPF_SOCK_OPS_TSTAMP_ACK_CB = 19
BPF_SOCK_OPS_TSTAMP_SENDMSG_CB = 20
BPF_TCP_ESTABLISHED = 1
BPF_TCP_SYN_SENT = 2
BPF_TCP_SYN_RECV = 3
BPF_TCP_FIN_WAIT1 = 4
BPF_TCP_FIN_WAIT2 = 5
BPF_TCP_TIME_WAIT = 6
BPF_TCP_CLOSE = 7
BPF_TCP_CLOSE_WAIT = 8
BPF_TCP_LAST_ACK = 9
BPF_TCP_LISTEN = 10
BPF_TCP_CLOSING = 11
BPF_TCP_NEW_SYN_RECV = 12
BPF_TCP_BOUND_INACTIVE = 13
BPF_TCP_MAX_STATES = 14
BPF_LOAD_HDR_OPT_TCP_SYN = 1
BPF_WRITE_HDR_TCP_CURRENT_MSS = 1
BPF_WRITE_HDR_TCP_SYNACK_COOKIE = 2
BPF_DEVCG_ACC_MKNOD = 1
BPF_DEVCG_ACC_READ = 2
BPF_DEVCG_ACC_WRITE = 4
BPF_DEVCG_DEV_BLOCK = 1
BPF_DEVCG_DEV_CHAR = 2
BPF_FIB_LOOKUP_DIRECT = 1
BPF_FIB_LOOKUP_OUTPUT = 2
BPF_FIB_LOOKUP_SKIP_NEIGH = 4
BPF_FIB_LOOKUP_TBID = 8
BPF_FIB_LOOKUP_SRC = 16
BPF_FIB_LOOKUP_MARK = 32
BPF_FIB_LOOKUP_VLAN = 64
BPF_FIB_LOOKUP_VLAN_INPUT = 128
BPF_FIB_LKUP_RET_SUCCESS = 0
BPF_FIB_LKUP_RET_BLACKHOLE = 1
BPF_FIB_LKUP_RET_UNREACHABLE = 2
BPF_FIB_LKUP_RET_PROHIBIT = 3
BPF_FIB_LKUP_RET_NOT_FWDED = 4
BPF_FIB_LKUP_RET_FWD_DISABLED = 5
BPF_FIB_LKUP_RET_UNSUPP_LWT = 6
BPF_FIB_LKUP_RET_NO_NEIGH = 7
BPF_FIB_LKUP_RET_FRAG_NEEDED = 8
BPF_FIB_LKUP_RET_NO_SRC_ADDR = 9
BPF_FIB_LKUP_RET_VLAN_FAILURE = 10
BPF_MTU_CHK_SEGS = 1
BPF_MTU_CHK_RET_SUCCESS = 0
BPF_MTU_CHK_RET_FRAG_NEEDED = 1
BPF_MTU_CHK_RET_SEGS_TOOBIG = 2
BPF_FD_TYPE_RAW_TRACEPOINT = 0
BPF_FD_TYPE_TRACEPOINT = 1
BPF_FD_TYPE_KPROBE = 2
BPF_FD_TYPE_KRETPROBE = 3
BPF_FD_TYPE_UPROBE = 4
BPF_FD_TYPE_URETPROBE = 5
BPF_FLOW_DISSECTOR_F_PARSE_1ST_FRAG = 1
BPF_FLOW_DISSECTOR_F_STOP_AT_FLOW_LABEL = 2
BPF_FLOW_DISSECTOR_F_STOP_AT_ENCAP = 4
BPF_CORE_FIELD_BYTE_OFFSET = 0
BPF_CORE_FIELD_BYTE_SIZE = 1
BPF_CORE_FIELD_EXISTS = 2
BPF_CORE_FIELD_SIGNED = 3
BPF_CORE_FIELD_LSHIFT_U64 = 4
BPF_CORE_FIELD_RSHIFT_U64 = 5
BPF_CORE_TYPE_ID_LOCAL = 6
BPF_CORE_TYPE_ID_TARGET = 7
BPF_CORE_TYPE_EXISTS = 8
BPF_CORE_TYPE_SIZE = 9
BPF_CORE_ENUMVAL_EXISTS = 10
BPF_CORE_ENUMVAL_VALUE = 11
BPF_CORE_TYPE_MATCHES = 12
BPF_F_TIMER_ABS = 1
BPF_F_TIMER_CPU_PIN = 2
BPF_F_PAD_ZEROS = 1
BPF_LD = 0
BPF_LDX = 1
BPF_ST = 2
BPF_STX = 3
BPF_ALU = 4
BPF_JMP = 5
BPF_RET = 6
BPF_MISC = 7
BPF_W = 0
BPF_H = 8
BPF_B = 16
BPF_IMM = 0
BPF_ABS = 32
BPF_IND = 64
BPF_MEM = 96
BPF_LEN = 128
BPF_MSH = 160
BPF_ADD = 0
BPF_SUB = 16
BPF_MUL = 32
BPF_DIV = 48
BPF_OR = 64
BPF_AND = 80
BPF_LSH = 96
BPF_RSH = 112
BPF_NEG = 128
BPF_MOD = 144
BPF_XOR = 160
BPF_JA = 0
BPF_JEQ = 16
BPF_JGT = 32
BPF_JGE = 48
BPF_JSET = 64
BPF_K = 0
BPF_X = 8
BPF_MAXINSNS = 4096
MAP_TYPE_NAMES = {
    0: "unspec",
    1: "hash",
    2: "array",
    3: "prog_array",
    4: "perf_event_array",
    5: "percpu_hash",
    6: "percpu_array",
    7: "stack_trace",
    8: "cgroup_array",
    9: "lru_hash",
    10: "lru_percpu_hash",
    11: "lpm_trie",
    12: "array_of_maps",
    13: "hash_of_maps",
    14: "devmap",
    15: "sockmap",
    16: "cpumap",
    17: "xskmap",
    18: "sockhash",
    19: "cgroup_storage_deprecated",
    20: "reuseport_sockarray",
    21: "percpu_cgroup_storage_deprecated",
    22: "queue",
    23: "stack",
    24: "sk_storage",
    25: "devmap_hash",
    26: "struct_ops",
    27: "ringbuf",
    28: "inode_storage",
    29: "task_storage",
    30: "bloom_filter",
    31: "user_ringbuf",
    32: "cgrp_storage",
    33: "arena",
    34: "insn_array",
    35: "rhash",
}
PROG_TYPE_NAMES = {
    0: "unspec",
    1: "socket_filter",
    2: "kprobe",
    3: "sched_cls",
    4: "sched_act",
    5: "tracepoint",
    6: "xdp",
    7: "perf_event",
    8: "cgroup_skb",
    9: "cgroup_sock",
    10: "lwt_in",
    11: "lwt_out",
    12: "lwt_xmit",
    13: "sock_ops",
    14: "sk_skb",
    15: "cgroup_device",
    16: "sk_msg",
    17: "raw_tracepoint",
    18: "cgroup_sock_addr",
    19: "lwt_seg6local",
    20: "lirc_mode2",
    21: "sk_reuseport",
    22: "flow_dissector",
    23: "cgroup_sysctl",
    24: "raw_tracepoint_writable",
    25: "cgroup_sockopt",
    26: "tracing",
    27: "struct_ops",
    28: "ext",
    29: "lsm",
    30: "sk_lookup",
    31: "syscall",
    32: "netfilter",
}
LINK_TYPE_NAMES = {
    0: "unspec",
    1: "raw_tracepoint",
    2: "tracing",
    3: "cgroup",
    4: "iter",
    5: "netns",
    6: "xdp",
    7: "perf_event",
    8: "kprobe_multi",
    9: "struct_ops",
    10: "netfilter",
    11: "tcx",
    12: "uprobe_multi",
    13: "netkit",
    14: "sockmap",
    15: "tracing_multi",
}

HELPERS = (  # number -> name without bpf_
    "unspec",
    "map_lookup_elem",
    "map_update_elem",
    "map_delete_elem",
    "probe_read",
    "ktime_get_ns",
    "trace_printk",
    "get_prandom_u32",
    "get_smp_processor_id",
    "skb_store_bytes",
    "l3_csum_replace",
    "l4_csum_replace",
    "tail_call",
    "clone_redirect",
    "get_current_pid_tgid",
    "get_current_uid_gid",
    "get_current_comm",
    "get_cgroup_classid",
    "skb_vlan_push",
    "skb_vlan_pop",
    "skb_get_tunnel_key",
    "skb_set_tunnel_key",
    "perf_event_read",
    "redirect",
    "get_route_realm",
    "perf_event_output",
    "skb_load_bytes",
    "get_stackid",
    "csum_diff",
    "skb_get_tunnel_opt",
    "skb_set_tunnel_opt",
    "skb_change_proto",
    "skb_change_type",
    "skb_under_cgroup",
    "get_hash_recalc",
    "get_current_task",
    "probe_write_user",
    "current_task_under_cgroup",
    "skb_change_tail",
    "skb_pull_data",
    "csum_update",
    "set_hash_invalid",
    "get_numa_node_id",
    "skb_change_head",
    "xdp_adjust_head",
    "probe_read_str",
    "get_socket_cookie",
    "get_socket_uid",
    "set_hash",
    "setsockopt",
    "skb_adjust_room",
    "redirect_map",
    "sk_redirect_map",
    "sock_map_update",
    "xdp_adjust_meta",
    "perf_event_read_value",
    "perf_prog_read_value",
    "getsockopt",
    "override_return",
    "sock_ops_cb_flags_set",
    "msg_redirect_map",
    "msg_apply_bytes",
    "msg_cork_bytes",
    "msg_pull_data",
    "bind",
    "xdp_adjust_tail",
    "skb_get_xfrm_state",
    "get_stack",
    "skb_load_bytes_relative",
    "fib_lookup",
    "sock_hash_update",
    "msg_redirect_hash",
    "sk_redirect_hash",
    "lwt_push_encap",
    "lwt_seg6_store_bytes",
    "lwt_seg6_adjust_srh",
    "lwt_seg6_action",
    "rc_repeat",
    "rc_keydown",
    "skb_cgroup_id",
    "get_current_cgroup_id",
    "get_local_storage",
    "sk_select_reuseport",
    "skb_ancestor_cgroup_id",
    "sk_lookup_tcp",
    "sk_lookup_udp",
    "sk_release",
    "map_push_elem",
    "map_pop_elem",
    "map_peek_elem",
    "msg_push_data",
    "msg_pop_data",
    "rc_pointer_rel",
    "spin_lock",
    "spin_unlock",
    "sk_fullsock",
    "tcp_sock",
    "skb_ecn_set_ce",
    "get_listener_sock",
    "skc_lookup_tcp",
    "tcp_check_syncookie",
    "sysctl_get_name",
    "sysctl_get_current_value",
    "sysctl_get_new_value",
    "sysctl_set_new_value",
    "strtol",
    "strtoul",
    "sk_storage_get",
    "sk_storage_delete",
    "send_signal",
    "tcp_gen_syncookie",
    "skb_output",
    "probe_read_user",
    "probe_read_kernel",
    "probe_read_user_str",
    "probe_read_kernel_str",
    "tcp_send_ack",
    "send_signal_thread",
    "jiffies64",
    "read_branch_records",
    "get_ns_current_pid_tgid",
    "xdp_output",
    "get_netns_cookie",
    "get_current_ancestor_cgroup_id",
    "sk_assign",
    "ktime_get_boot_ns",
    "seq_printf",
    "seq_write",
    "sk_cgroup_id",
    "sk_ancestor_cgroup_id",
    "ringbuf_output",
    "ringbuf_reserve",
    "ringbuf_submit",
    "ringbuf_discard",
    "ringbuf_query",
    "csum_level",
    "skc_to_tcp6_sock",
    "skc_to_tcp_sock",
    "skc_to_tcp_timewait_sock",
    "skc_to_tcp_request_sock",
    "skc_to_udp6_sock",
    "get_task_stack",
    "load_hdr_opt",
    "store_hdr_opt",
    "reserve_hdr_opt",
    "inode_storage_get",
    "inode_storage_delete",
    "d_path",
    "copy_from_user",
    "snprintf_btf",
    "seq_printf_btf",
    "skb_cgroup_classid",
    "redirect_neigh",
    "per_cpu_ptr",
    "this_cpu_ptr",
    "redirect_peer",
    "task_storage_get",
    "task_storage_delete",
    "get_current_task_btf",
    "bprm_opts_set",
    "ktime_get_coarse_ns",
    "ima_inode_hash",
    "sock_from_file",
    "check_mtu",
    "for_each_map_elem",
    "snprintf",
    "sys_bpf",
    "btf_find_by_name_kind",
    "sys_close",
    "timer_init",
    "timer_set_callback",
    "timer_start",
    "timer_cancel",
    "get_func_ip",
    "get_attach_cookie",
    "task_pt_regs",
    "get_branch_snapshot",
    "trace_vprintk",
    "skc_to_unix_sock",
    "kallsyms_lookup_name",
    "find_vma",
    "loop",
    "strncmp",
    "get_func_arg",
    "get_func_ret",
    "get_func_arg_cnt",
    "get_retval",
    "set_retval",
    "xdp_get_buff_len",
    "xdp_load_bytes",
    "xdp_store_bytes",
    "copy_from_user_task",
    "skb_set_tstamp",
    "ima_file_hash",
    "kptr_xchg",
    "map_lookup_percpu_elem",
    "skc_to_mptcp_sock",
    "dynptr_from_mem",
    "ringbuf_reserve_dynptr",
    "ringbuf_submit_dynptr",
    "ringbuf_discard_dynptr",
    "dynptr_read",
    "dynptr_write",
    "dynptr_data",
    "tcp_raw_gen_syncookie_ipv4",
    "tcp_raw_gen_syncookie_ipv6",
    "tcp_raw_check_syncookie_ipv4",
    "tcp_raw_check_syncookie_ipv6",
    "ktime_get_tai_ns",
    "user_ringbuf_drain",
    "cgrp_storage_get",
    "cgrp_storage_delete",
)

"""The system calls that a program in the sandbox may make: what Python computes with, and nothing that reaches others.

No sockets but pairs within the process, no other processes or programs, no signals to others, no change of owners,
modes or times of files, no mounts, keys, tracing or kernel modules; what is newer than these tables is refused, too.
"""

from __future__ import annotations

ALLOWED = {
    "x86_64": {
        "read": 0, "write": 1, "readv": 19, "writev": 20, "pread64": 17, "pwrite64": 18, "preadv": 295,
        "pwritev": 296, "close": 3, "close_range": 436, "open": 2, "openat": 257, "stat": 4, "fstat": 5,
        "lstat": 6, "newfstatat": 262, "statx": 332, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11,
        "mremap": 25, "madvise": 28, "mincore": 27, "brk": 12, "membarrier": 324, "rt_sigaction": 13,
        "rt_sigprocmask": 14, "rt_sigreturn": 15, "rt_sigpending": 127, "rt_sigtimedwait": 128,
        "rt_sigsuspend": 130, "sigaltstack": 131, "restart_syscall": 219, "pause": 34, "alarm": 37,
        "setitimer": 38, "getitimer": 36, "nanosleep": 35, "clock_nanosleep": 230, "clock_gettime": 228,
        "clock_getres": 229, "gettimeofday": 96, "time": 201, "times": 100,
        "flock": 73, "dup": 32, "dup2": 33, "dup3": 292, "pipe": 22, "pipe2": 293, "socketpair": 53,
        "sendto": 44, "recvfrom": 45, "shutdown": 48, "getsockopt": 55, "setsockopt": 54, "getsockname": 51,
        "getpeername": 52, "select": 23, "pselect6": 270, "poll": 7, "ppoll": 271, "epoll_create": 213,
        "epoll_create1": 291, "epoll_ctl": 233, "epoll_wait": 232, "epoll_pwait": 281, "epoll_pwait2": 441,
        "eventfd": 284, "eventfd2": 290, "access": 21, "faccessat": 269, "faccessat2": 439, "readlink": 89,
        "readlinkat": 267, "getcwd": 79, "chdir": 80, "fchdir": 81, "getdents": 78, "getdents64": 217,
        "mkdir": 83, "mkdirat": 258, "rmdir": 84, "unlink": 87, "unlinkat": 263, "rename": 82,
        "renameat": 264, "renameat2": 316, "ftruncate": 77, "fsync": 74, "fdatasync": 75, "fadvise64": 221,
        "fallocate": 285, "copy_file_range": 326, "sendfile": 40, "umask": 95, "statfs": 137,
        "fstatfs": 138, "getpid": 39, "getppid": 110, "gettid": 186, "getuid": 102, "geteuid": 107,
        "getgid": 104, "getegid": 108, "getgroups": 115, "getresuid": 118, "getresgid": 120, "getpgrp": 111,
        "getpgid": 121, "getsid": 124, "getpriority": 140, "getrusage": 98, "getrlimit": 97,
        "sysinfo": 99, "uname": 63, "getcpu": 309, "getrandom": 318, "futex": 202,
        "futex_waitv": 449, "set_robust_list": 273, "get_robust_list": 274, "set_tid_address": 218,
        "rseq": 334, "arch_prctl": 158, "sched_yield": 24, "sched_getaffinity": 204,
        "sched_getscheduler": 145, "sched_getparam": 143, "sched_get_priority_max": 146,
        "sched_get_priority_min": 147, "exit": 60, "exit_group": 231,
    },
    "aarch64": {
        "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "pwrite64": 68, "preadv": 69,
        "pwritev": 70, "close": 57, "close_range": 436, "openat": 56, "fstat": 80, "newfstatat": 79,
        "statx": 291, "lseek": 62, "mmap": 222, "mprotect": 226, "munmap": 215, "mremap": 216,
        "madvise": 233, "mincore": 232, "brk": 214, "membarrier": 283, "rt_sigaction": 134,
        "rt_sigprocmask": 135, "rt_sigreturn": 139, "rt_sigpending": 136, "rt_sigtimedwait": 137,
        "rt_sigsuspend": 133, "sigaltstack": 132, "restart_syscall": 128, "setitimer": 103,
        "getitimer": 102, "nanosleep": 101, "clock_nanosleep": 115, "clock_gettime": 113,
        "clock_getres": 114, "gettimeofday": 169, "times": 153, "flock": 32,
        "dup": 23, "dup3": 24, "pipe2": 59, "socketpair": 199, "sendto": 206, "recvfrom": 207,
        "shutdown": 210, "getsockopt": 209, "setsockopt": 208, "getsockname": 204, "getpeername": 205,
        "pselect6": 72, "ppoll": 73, "epoll_create1": 20, "epoll_ctl": 21, "epoll_pwait": 22,
        "epoll_pwait2": 441, "eventfd2": 19, "faccessat": 48, "faccessat2": 439, "readlinkat": 78,
        "getcwd": 17, "chdir": 49, "fchdir": 50, "getdents64": 61, "mkdirat": 34, "unlinkat": 35,
        "renameat": 38, "renameat2": 276, "ftruncate": 46, "fsync": 82, "fdatasync": 83, "fadvise64": 223,
        "fallocate": 47, "copy_file_range": 285, "sendfile": 71, "umask": 166, "statfs": 43, "fstatfs": 44,
        "getpid": 172, "getppid": 173, "gettid": 178, "getuid": 174, "geteuid": 175, "getgid": 176,
        "getegid": 177, "getgroups": 158, "getresuid": 148, "getresgid": 150, "getpgid": 155, "getsid": 156,
        "getpriority": 141, "getrusage": 165, "getrlimit": 163, "sysinfo": 179,
        "uname": 160, "getcpu": 168, "getrandom": 278, "futex": 98, "futex_waitv": 449,
        "set_robust_list": 99, "get_robust_list": 100, "set_tid_address": 96, "rseq": 293,
        "sched_yield": 124, "sched_getaffinity": 123, "sched_getscheduler": 120, "sched_getparam": 121,
        "sched_get_priority_max": 125, "sched_get_priority_min": 126, "exit": 93, "exit_group": 94,
    },
}  # fmt: skip
"""Names and numbers by machine, from the kernel's headers."""

DEPENDING = {
    "x86_64": {"clone": 56, "clone3": 435, "tgkill": 234, "fcntl": 72, "ioctl": 16, "prlimit64": 302},
    "aarch64": {"clone": 220, "clone3": 435, "tgkill": 131, "fcntl": 25, "ioctl": 29, "prlimit64": 261},
}
"""Calls that are allowed with some arguments (`filter.py` says which)."""

"""The system calls a sandboxed program may not make, as the classic BPF program that bubblewrap installs (--seccomp).

It closes what namespaces and rlimits leave open: RLIMIT_NPROC does not bind root (a rented GPU is often a container
that runs as root), RLIMIT_AS counts one process and only what is mapped, and vsock is in no network namespace.

Layout of instructions and data: Linux, Documentation/userspace-api/seccomp_filter.rst and linux/filter.h. Numbers:
linux asm/unistd_64.h (x86_64) and asm-generic/unistd.h (aarch64). Imports no library.
"""

from __future__ import annotations

import platform
import struct

CLONE_THREAD = 0x10000
EPERM, ENOSYS = 1, 38
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
X32 = 0x40000000  # x86_64 only: the same calls under other numbers

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
REFUSED = {
    # A second process: fork bombs, daemons, and memory limits that count once a process. aarch64 has only clone.
    "fork": {"x86_64": 57},
    "vfork": {"x86_64": 58},
    # A namespace in which it would be root again.
    "unshare": {"x86_64": 272, "aarch64": 97},
    "setns": {"x86_64": 308, "aarch64": 268},
    # Memory that RLIMIT_AS does not see.
    "memfd_create": {"x86_64": 319, "aarch64": 279},
    "memfd_secret": {"x86_64": 447, "aarch64": 447},
    "shmget": {"x86_64": 29, "aarch64": 194},
    "msgget": {"x86_64": 68, "aarch64": 186},
    "mq_open": {"x86_64": 240, "aarch64": 180},
    # The mode of a device: it is the host's own, and run by root the program owns it.
    "chmod": {"x86_64": 90},
    "fchmod": {"x86_64": 91, "aarch64": 52},
    "fchmodat": {"x86_64": 268, "aarch64": 53},
    "fchmodat2": {"x86_64": 452, "aarch64": 452},
    "setxattr": {"x86_64": 188, "aarch64": 5},
    "lsetxattr": {"x86_64": 189, "aarch64": 6},
    "fsetxattr": {"x86_64": 190, "aarch64": 7},
    "setxattrat": {"x86_64": 463, "aarch64": 463},
    # Every kind of network; socketpair, which asyncio needs, stays.
    "socket": {"x86_64": 41, "aarch64": 198},
    # Parts of the kernel that no answer needs and that had many holes.
    "ptrace": {"x86_64": 101, "aarch64": 117},
    "bpf": {"x86_64": 321, "aarch64": 280},
    "perf_event_open": {"x86_64": 298, "aarch64": 241},
    "userfaultfd": {"x86_64": 323, "aarch64": 282},
    "io_uring_setup": {"x86_64": 425, "aarch64": 425},
    "add_key": {"x86_64": 248, "aarch64": 217},
    "request_key": {"x86_64": 249, "aarch64": 218},
    "keyctl": {"x86_64": 250, "aarch64": 219},
}


def rules(machine: str = platform.machine()) -> bytes:
    """The filter as an array of struct sock_filter. KeyError for a processor without a table above."""
    program = [
        _step(LOAD, ARCHITECTURE),
        _step(EQUAL, AUDIT_ARCH[machine], on_true=1),
        _step(RETURN, KILL),  # 32-bit calls: their numbers mean other things
        _step(LOAD, NUMBER),
    ]
    if machine == "x86_64":
        program += [_step(AT_LEAST, X32, on_false=1), _step(RETURN, KILL)]
    # Its flags lie in memory, which a filter cannot read; without it the C library falls back to clone.
    program += [_step(EQUAL, CLONE3, on_false=1), _step(RETURN, REFUSE | ENOSYS)]
    for numbers in REFUSED.values():
        if machine in numbers:
            program += [_step(EQUAL, numbers[machine], on_false=1), _step(RETURN, REFUSE | EPERM)]
    program += [
        _step(EQUAL, CLONE[machine], on_false=3),
        _step(LOAD, FIRST_ARGUMENT),
        _step(ANY_BIT, CLONE_THREAD, on_true=1),
        _step(RETURN, REFUSE | EPERM),
        _step(RETURN, ALLOW),
    ]
    return b"".join(program)


def _step(code: int, value: int, on_true: int = 0, on_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, on_true, on_false, value)

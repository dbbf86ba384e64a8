"""Lock this process up, then become the experiment: capabilities, rlimits, Landlock, seccomp, exec.

Run by path with the standard library only, by the launcher's base interpreter, as the last step
before the command of every tier: `python -I -S confine.py JSON -- COMMAND…`. The JSON is what
`tiers.py` writes; `Cage` names its keys. Everything here can only take rights away.

    Landlock   https://docs.kernel.org/userspace-api/landlock.html (ABI 1 to 7)
    seccomp    https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

# Start-up counts, so pathlib is not imported; the lists of calls read as prose.
# ruff: noqa: PTH123, PTH208, SIM905

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import stat
import struct
import sys
from typing import Literal, TypedDict

LIBC = ctypes.CDLL(None, use_errno=True)
REFUSED = 125
"""Exit status when the cage could not be built; the experiment never started."""


class Cage(TypedDict):
    """What `tiers.py` asks for."""

    landlock: Literal["must", "try", "off"]
    readable: list[str]
    writable: list[str]
    sockets: Literal["none", "unix", "internet"]
    """`none` leaves socketpair(); `internet` is also for a network namespace of its own."""
    freeze_modes: bool
    """chmod, chown, utime and setxattr answer success and do nothing: Landlock lets them pass."""
    rlimits: dict[str, int]
    environment: dict[str, str]
    folder: str


def prctl(option: int, value: int = 0, other: int = 0) -> int:
    """Make one process control call, with up to two arguments."""
    return int(LIBC.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(other), 0, 0))


def failed(what: str) -> OSError:
    """Return the error of the last call into the C library."""
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")


# --- capabilities and limits ---------------------------------------------------------------------


def drop_capabilities() -> None:
    """Give up every capability for good; root without them is held by Landlock like anyone."""
    for capability in range(64):
        if prctl(24, capability) != 0:  # PR_CAPBSET_DROP: EPERM for a user, EINVAL past the last
            break
    prctl(47, 4)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    if LIBC.capset(header, bytes(24)) != 0:
        raise failed("capset")
    if prctl(38, 1) != 0:  # PR_SET_NO_NEW_PRIVS
        raise failed("no_new_privs")


def set_rlimits(rlimits: dict[str, int]) -> None:
    """Lower each limit to its value, or to the hard limit that already holds."""
    for name, value in rlimits.items():
        which = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(which)[1]
        lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (lower, lower))


# --- Landlock ------------------------------------------------------------------------------------

READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read_file, read_dir
DEVICES = 1 << 6 | 1 << 11  # make_char, make_block: granted nowhere
ON_A_FILE = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14  # execute, write_file, read_file, truncate
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture


def landlock_abi() -> int:
    """Return the kernel's Landlock version, 0 where it has none."""
    version = LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(0, int(version))


def apply_landlock(readable: list[str], writable: list[str], *, tcp: bool) -> int:
    """Allow only what lies beneath the given paths; return the ABI used. Missing paths are left.

    Device ioctls stay out of it: CUDA needs them, and only granted devices can be opened.
    """
    abi = landlock_abi()
    if abi == 0:
        raise OSError("this kernel has no Landlock")
    rights = (1 << {1: 13, 2: 14}.get(abi, 15)) - 1
    network = 3 if abi >= 4 and not tcp else 0  # bind_tcp, connect_tcp
    scoped = 3 if abi >= 6 else 0  # abstract unix sockets, signals
    attributes = struct.pack("QQQ", rights, network, scoped)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = LIBC.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        raise failed("landlock_create_ruleset")
    for path in readable:
        allow(ruleset, path, READ)
    for path in writable:
        allow(ruleset, path, rights & ~DEVICES)
    if LIBC.syscall(RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) != 0:
        raise failed("landlock_restrict_self")
    os.close(ruleset)
    return abi


def allow(ruleset: int, path: str, rights: int) -> None:
    """Add one path and what lies beneath it."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= ON_A_FILE
        rule = struct.pack("=Qi", rights, handle)
        if LIBC.syscall(ADD_RULE, ruleset, 1, rule, ctypes.c_uint32(0)) != 0:
            raise failed(f"landlock_add_rule {path}")
    finally:
        os.close(handle)


# --- seccomp -------------------------------------------------------------------------------------

ALLOW, KILL, DENY, ABSENT, PRETEND = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026, 0x00050000
LOAD, AND, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
Instruction = tuple[int, int, int, int]

DENIED = (
    "ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd bpf perf_event_open userfaultfd "
    "add_key request_key keyctl open_by_handle_at mount umount2 pivot_root chroot unshare setns "
    "open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr init_module finit_module "
    "delete_module kexec_load kexec_file_load reboot swapon swapoff acct quotactl iopl ioperm "
    "settimeofday clock_settime sethostname setdomainname syslog"
).split()
MISSING = "clone3 io_uring_setup io_uring_enter io_uring_register openat2".split()
"""Answered with ENOSYS, so that libraries fall back to calls whose arguments a filter can see."""
SIGNALS = "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open".split()
MODES = (
    "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat "
    "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr"
).split()
NEWEST = 463
"""Calls from this number on are newer than this table; libraries do without them."""

# Calls added since Linux 5.0 have one number everywhere.
COMMON = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_open": 434, "clone3": 435, "openat2": 437, "pidfd_getfd": 438, "mount_setattr": 442,
    "fchmodat2": 452,
}  # fmt: skip
NUMBERS: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (0xC000003E, COMMON | {
        "open": 2, "ioctl": 16, "socket": 41, "clone": 56, "kill": 62, "truncate": 76, "chmod": 90,
        "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "ptrace": 101, "syslog": 103,
        "rt_sigqueueinfo": 129, "utime": 132, "pivot_root": 155, "prctl": 157, "chroot": 161,
        "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167,
        "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172,
        "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179, "setxattr": 188,
        "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198,
        "fremovexattr": 199, "tkill": 200, "clock_settime": 227, "tgkill": 234, "utimes": 235,
        "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "openat": 257,
        "fchownat": 260, "futimesat": 261, "fchmodat": 268, "unshare": 272, "utimensat": 280,
        "rt_tgsigqueueinfo": 297, "perf_event_open": 298, "prlimit64": 302,
        "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311,
        "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
    }),
    "aarch64": (0xC00000B7, COMMON | {
        "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15,
        "fremovexattr": 16, "ioctl": 29, "umount2": 39, "mount": 40, "pivot_root": 41,
        "truncate": 45, "chroot": 51, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55,
        "openat": 56, "quotactl": 60, "utimensat": 88, "acct": 89, "unshare": 97,
        "kexec_load": 104, "init_module": 105, "delete_module": 106, "clock_settime": 112,
        "syslog": 116, "ptrace": 117, "kill": 129, "tkill": 130, "tgkill": 131,
        "rt_sigqueueinfo": 138, "reboot": 142, "sethostname": 161, "setdomainname": 162,
        "prctl": 167, "settimeofday": 170, "socket": 198, "add_key": 217, "request_key": 218,
        "keyctl": 219, "clone": 220, "swapon": 224, "swapoff": 225, "rt_tgsigqueueinfo": 240,
        "perf_event_open": 241, "prlimit64": 261, "open_by_handle_at": 265, "setns": 268,
        "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273,
        "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294,
    }),
}  # fmt: skip


def argument(index: int) -> Instruction:
    """Load the low half of one argument of the call."""
    return (LOAD, 0, 0, 16 + 8 * index)


def answer(action: int) -> Instruction:
    """End the filter with `action`."""
    return (RETURN, 0, 0, action)


def refuse_values(index: int, values: list[int]) -> list[Instruction]:
    """Deny the call when its argument has one of these values."""
    tests = [(EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    return [argument(index), *tests, answer(ALLOW), answer(DENY)]


def watchers() -> list[int]:
    """Return the ids by which supervisor, guard and launcher could be killed from in here.

    In a pid namespace there are none: its first process cannot be killed from inside.
    """
    found, pid = [], os.getppid()
    for _ in range(3):
        if pid <= 1:
            break
        found += [pid, 2**32 - pid, *(int(name) for name in os.listdir(f"/proc/{pid}/task")[:16])]
        with open(f"/proc/{pid}/stat", "rb") as file:
            pid = int(file.read().rpartition(b")")[2].split()[1])
    return found


def socket_rule(sockets: str) -> list[Instruction]:
    """Deny every address family but the wanted ones (unix; inet, inet6 and netlink)."""
    families = {"none": (), "unix": (1,), "internet": (1, 2, 10, 16)}[sockets]
    tests = [(EQUAL, len(families) - at, 0, family) for at, family in enumerate(families)]
    return [argument(0), *tests, answer(DENY), answer(ALLOW)]


def truncation_rule(flags: int) -> list[Instruction]:
    """Deny opening a file for reading and emptying it: before ABI 3 Landlock lets that pass."""
    both = os.O_TRUNC | os.O_ACCMODE
    emptied = (EQUAL, 0, 1, os.O_TRUNC | os.O_RDONLY)
    return [argument(flags), (AND, 0, 0, both), emptied, answer(DENY), answer(ALLOW)]


def seccomp_rules(cage: Cage, abi: int) -> dict[str, list[Instruction]]:
    """Return for each call's name what is decided about it."""
    rules = {name: [answer(DENY)] for name in DENIED}
    rules |= {name: [answer(ABSENT)] for name in MISSING}
    rules["socket"] = socket_rule(cage["sockets"])
    namespaces = (ANY_BIT, 0, 1, 0x7E020000)  # every CLONE_NEW* that clone() takes
    rules["clone"] = [argument(0), namespaces, answer(DENY), answer(ALLOW)]
    typing = (EQUAL, 1, 0, 0x5412)  # TIOCSTI, TIOCLINUX: input for somebody else's terminal
    rules["ioctl"] = [argument(1), typing, (EQUAL, 0, 1, 0x541C), answer(DENY), answer(ALLOW)]
    rules["prctl"] = refuse_values(0, [4])  # PR_SET_DUMPABLE would hide the run's marker
    everybody = 2**32 - 1  # kill(-1): all that this user runs
    rules |= {name: refuse_values(0, [everybody, *watchers()]) for name in SIGNALS}
    rules["prlimit64"] = [argument(0), (EQUAL, 1, 0, 0), answer(DENY), answer(ALLOW)]
    if cage["freeze_modes"]:
        rules |= {name: [answer(PRETEND)] for name in MODES}
        if abi < 3:
            rules |= {"truncate": [answer(DENY)], "open": truncation_rule(1)}
            rules["openat"] = truncation_rule(2)
    return rules


def apply_seccomp(cage: Cage, abi: int) -> None:
    """Install the filter; calls that no rule names are allowed."""
    architecture, numbers = NUMBERS[os.uname().machine]
    program: list[Instruction] = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, architecture), answer(KILL)]
    program.append((LOAD, 0, 0, 0))
    if os.uname().machine == "x86_64":  # the x32 calls are numbered from here
        program += [(AT_LEAST, 0, 1, 0x40000000), answer(DENY)]
    program += [(AT_LEAST, 0, 1, NEWEST), answer(ABSENT)]
    for name, decision in seccomp_rules(cage, abi).items():
        if name in numbers:
            program += [(EQUAL, 0, len(decision), numbers[name]), *decision]
    program.append(answer(ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filter_ = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    if LIBC.prctl(22, 2, filter_, 0, 0) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise failed("seccomp")


# --- in order ------------------------------------------------------------------------------------


def lock_up(cage: Cage) -> None:
    """Take the rights away, in the one order that works."""
    prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
    # Should memory run out, the kernel takes this one first.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")
    set_rlimits(cage["rlimits"])
    os.chdir(cage["folder"])
    drop_capabilities()
    abi = 0
    if cage["landlock"] != "off" and (cage["landlock"] == "must" or landlock_abi() > 0):
        tcp = cage["sockets"] == "internet"
        abi = apply_landlock(cage["readable"], cage["writable"], tcp=tcp)
    if os.uname().machine in NUMBERS or cage["landlock"] == "must":
        apply_seccomp(cage, abi)


def main() -> None:
    """Read the cage and the command from the arguments; never return."""
    cage: Cage = json.loads(sys.argv[1])
    command = sys.argv[3:]
    try:
        lock_up(cage)
        os.execvpe(command[0], command, cage["environment"])
    except (OSError, KeyError, ValueError) as error:
        print(f"confine: cannot start {command[0]}: {error}", file=sys.stderr)
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()

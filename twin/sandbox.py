"""Rights that a process gives up before it reads what a stranger sent: network, files, further processes.

Linux only, without any library or privilege: no_new_privs, Landlock (files) and seccomp (system calls). What the system
lacks is named, and the rest holds.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# prctl(2)
_NO_NEW_PRIVS = 38
# landlock(7); the numbers of its calls are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_READ = _READ_FILE | _READ_DIR | _EXECUTE
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
# How many rights on files each version knows: 13, then with moving between folders, truncating, device calls.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_RIGHTS_NOW = 16
_TCP = 0b11
# capabilities(7): the one that lets root read its own program in other users' folders; Landlock says which.
_DAC_OVERRIDE = 1 << 1
_CAPABILITY_VERSION = 0x20080522
# seccomp(2) and the instructions of its filters
_FILTER_MODE, _ALL_THREADS = 1, 1
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_THREAD = 0x00010000
_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000

# Per architecture: its audit number, seccomp, clone, clone3, and the calls that are refused.
_CALLS = {
    "x86_64": (
        0xC000003E, 317, 56, 435,
        (
            # Network.
            41, 42, 43, 44, 46, 49, 50, 53, 288, 307,
            # Other processes: fork, vfork, execve, kill, ptrace, tkill, process_vm_*, execveat, pidfd_*.
            57, 58, 59, 62, 101, 200, 310, 311, 322, 424, 434, 438,
            # The system: mounts, modules, keys, namespaces, handles, bpf, userfaultfd, io_uring.
            135, 155, 161, 165, 166, 167, 169, 175, 246, 248, 249, 250, 272, 298, 304, 308, 313, 320, 321, 323,
            425, 426, 427, 428, 429, 430, 431, 432, 442,
        ),
    ),
    "aarch64": (
        0xC00000B7, 277, 220, 435,
        (
            198, 199, 200, 201, 202, 203, 206, 211, 242, 269,
            117, 129, 130, 221, 270, 271, 281, 424, 434, 438,
            39, 40, 41, 51, 92, 97, 104, 105, 142, 217, 218, 219, 224, 241, 265, 268, 273, 280, 282, 294,
            425, 426, 427, 428, 429, 430, 431, 432, 442,
        ),
    ),
}  # fmt: skip


def confine(readable: Iterable[Path], writable: Iterable[Path]) -> list[str]:
    """Give up, for good, all but reading and writing these folders and files; return what the system lacks.

    To be called before the process has threads: they would keep their rights to files.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    lacking = []
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        lacking.append("no_new_privs")
    if not _restrict_files(libc, readable, writable):
        lacking.append("Landlock")
    _drop_capabilities(libc)
    if not _restrict_calls(libc):
        lacking.append("seccomp")
        if libc.unshare(_NEW_NETWORK) and libc.unshare(_NEW_NETWORK | _NEW_USER):
            lacking.append("network namespaces")
    return lacking


def _restrict_files(libc: ctypes.CDLL, readable: Iterable[Path], writable: Iterable[Path]) -> bool:
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rights = (1 << _RIGHTS.get(version, _RIGHTS_NOW)) - 1
    ruleset = struct.pack("=QQ", rights, _TCP) if version >= 4 else struct.pack("=Q", rights)
    rules = libc.syscall(_CREATE_RULESET, ruleset, ctypes.c_size_t(len(ruleset)), 0)
    if rules < 0:
        return False
    try:
        for paths, allowed in ((readable, _READ), (writable, rights)):
            for path in paths:
                _allow(libc, rules, path, allowed & rights)
        return not libc.syscall(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    # What is not there cannot be read anyway.
    with suppress(OSError):
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            rule = struct.pack("=Qi", rights if path.is_dir() else rights & _OF_A_FILE, handle)
            libc.syscall(_ADD_RULE, rules, 1, rule, 0)
        finally:
            os.close(handle)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    if os.geteuid() == 0:
        kept = _DAC_OVERRIDE
        libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION, 0), struct.pack("=6I", kept, kept, 0, 0, 0, 0))


def _restrict_calls(libc: ctypes.CDLL) -> bool:
    if (machine := platform.machine()) not in _CALLS or struct.calcsize("P") != 8:
        return False
    audit, seccomp, clone, clone3, refused = _CALLS[machine]

    def refuse(error: int) -> bytes:
        return struct.pack("=HBBI", _RETURN, 0, 0, _REFUSE | error)

    program = [
        struct.pack("=HBBI", _LOAD, 0, 0, 4),
        # The calls of another architecture have other numbers.
        struct.pack("=HBBI", _EQUAL, 1, 0, audit),
        struct.pack("=HBBI", _RETURN, 0, 0, _KILL),
        struct.pack("=HBBI", _LOAD, 0, 0, 0),
        struct.pack("=HBBI", _AT_LEAST, 0, 1, 0x40000000),
        refuse(errno.EPERM),
    ]
    for call in refused:
        program += [struct.pack("=HBBI", _EQUAL, 0, 1, call), refuse(errno.EPERM)]
    # Its flags cannot be looked at, and the C library then takes the older call.
    program += [struct.pack("=HBBI", _EQUAL, 0, 1, clone3), refuse(errno.ENOSYS)]
    program += [
        struct.pack("=HBBI", _EQUAL, 0, 3, clone),
        struct.pack("=HBBI", _LOAD, 0, 0, 16),
        struct.pack("=HBBI", _ANY_BIT, 1, 0, _THREAD),
        refuse(errno.EPERM),
        struct.pack("=HBBI", _RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(program))
    filters = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    return not libc.syscall(seccomp, _FILTER_MODE, _ALL_THREADS, filters)

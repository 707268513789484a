"""Run a program with the system calls, and the capabilities, that a systemd unit leaves it, and without systemd.

    python confined.py UNIT PROGRAM [WORD…]

It has seccomp filters as systemd makes them of SystemCallFilter=, SystemCallErrorNumber=EPERM, RestrictAddressFamilies=
and MemoryDenyWriteExecute=, by libseccomp, which systemd itself uses. No capabilities and no new privileges.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

ALLOW = 0x7FFF0000  # actions of libseccomp
FAIL = 0x00050000
EQUAL, MASKED_EQUAL, GREATER = 4, 7, 6
FAMILIES = 64  # more than there are address families
WRITE_EXECUTE = mmap.PROT_WRITE | mmap.PROT_EXEC


class Comparison(ctypes.Structure):
    """What one argument of a system call is compared with."""

    _fields_ = [("argument", ctypes.c_uint), ("how", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


SECCOMP = ctypes.CDLL("libseccomp.so.2")
SECCOMP.seccomp_init.restype = ctypes.c_void_p


def settings(unit: str) -> dict[str, list[str]]:
    """What a unit says, by key; all lines of a key that is repeated."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def sets() -> dict[str, list[str]]:
    """systemd's sets of system calls, by name; a set may name others."""
    show = ["systemd-analyze", "--no-pager", "syscall-filter"]
    found: dict[str, list[str]] = {}
    for line in subprocess.run(show, check=True, capture_output=True, text=True).stdout.splitlines():
        if line.startswith("@"):
            members = found[line.strip()] = []
        elif line.startswith("    ") and not line.strip().startswith("#") and found:
            members.append(line.strip())
        elif line.startswith("#"):
            break  # what this kernel has beside all sets
    return found


def calls_of(words: list[str], known: dict[str, list[str]]) -> set[str]:
    """The system calls of these words, of which those with an @ are sets."""
    return {call for word in words for call in (calls_of(known[word], known) if word.startswith("@") else {word})}


def allowed(filters: list[str]) -> set[str]:
    """The system calls that lines of SystemCallFilter= allow; a line with ~ takes some away."""
    known = sets()
    found = calls_of(["@default"], known)
    for line in filters:
        if line.startswith("~"):
            found -= calls_of(line[1:].split(), known)
        else:
            found |= calls_of(line.split(), known)
    return found


def rule(context: ctypes.c_void_p, action: int, name: str, *comparisons: Comparison) -> None:
    number = SECCOMP.seccomp_syscall_resolve_name(name.encode())
    if number == -1:
        return  # this kernel's machine has no such call
    array = (Comparison * len(comparisons))(*comparisons)
    done = SECCOMP.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, len(comparisons), array)
    if done not in (0, -errno.EDOM):  # EDOM: a call of another machine
        raise OSError(-done, f"seccomp_rule_add_array: {name}: {os.strerror(-done)}")


def load(context: ctypes.c_void_p) -> None:
    if done := SECCOMP.seccomp_load(context):
        raise OSError(-done, f"seccomp_load: {os.strerror(-done)}")


def confine(unit: dict[str, list[str]]) -> None:
    """This process, and what it executes, has no more than that from here on."""
    arguments = ctypes.c_void_p(SECCOMP.seccomp_init(ctypes.c_uint32(ALLOW)))
    if unit.get("MemoryDenyWriteExecute") == ["yes"]:
        refuse = FAIL | errno.EPERM
        rule(arguments, refuse, "mmap", Comparison(2, MASKED_EQUAL, WRITE_EXECUTE, WRITE_EXECUTE))
        rule(arguments, refuse, "mprotect", Comparison(2, MASKED_EQUAL, mmap.PROT_EXEC, mmap.PROT_EXEC))
    families = {int(getattr(socket, name)) for line in unit["RestrictAddressFamilies"] for name in line.split()}
    for family in set(range(FAMILIES)) - families:
        rule(arguments, FAIL | errno.EAFNOSUPPORT, "socket", Comparison(0, EQUAL, family, 0))
    rule(arguments, FAIL | errno.EAFNOSUPPORT, "socket", Comparison(0, GREATER, FAMILIES - 1, 0))
    calls = ctypes.c_void_p(SECCOMP.seccomp_init(ctypes.c_uint32(FAIL | errno.EPERM)))
    for name in allowed(unit["SystemCallFilter"]) | {"seccomp"}:  # the other filter is still to come
        rule(calls, ALLOW, name)
    load(calls)
    load(arguments)


def main() -> None:
    unit, program, words = sys.argv[1], sys.argv[2], sys.argv[2:]
    confine(settings(Path(unit).read_text("utf-8")))
    os.execv(program, words)


if __name__ == "__main__":
    main()

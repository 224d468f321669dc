"""Denying device files in a cgroup of v2, which has no file for it: a small BPF program decides on each open.

bpf(2); the kernel's include/uapi/linux/bpf.h and Documentation/bpf/standardization/instruction-set.rst. It takes
CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN. The program ends with the cgroup.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_PROG_LOAD, _PROG_ATTACH = 5, 8
_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE = 15, 6
_ALLOW_MULTI = 2
_CHARACTER_DEVICE = 2
_LOAD_WORD, _AND, _JUMP_UNLESS_EQUAL, _MOVE, _EXIT = 0x61, 0x57, 0x55, 0xB7, 0x95


def attach(cgroup: str, rules: Iterable[str]) -> None:
    """Deny what the rules name (``c 195:3 rwm``: character devices only) to all of the cgroup. Raises ``OSError``."""
    program = _load(program_of([_numbers(rule) for rule in rules]))
    folder = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _bpf(_PROG_ATTACH, struct.pack("=IIII", folder, program, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI))
    finally:
        os.close(folder)
        os.close(program)


def available() -> bool:
    """Whether this process may load such programs."""
    try:
        os.close(_load(program_of([])))
    except OSError:
        return False
    return True


def program_of(denied: list[tuple[int, int]]) -> bytes:
    """Allow everything but these devices, each named by its major and minor number."""
    code = _step(_LOAD_WORD, 2, 1, 0) + _step(_AND, 2, number=0xFFFF)
    code += _step(_LOAD_WORD, 3, 1, 4) + _step(_LOAD_WORD, 4, 1, 8)
    code += _step(_JUMP_UNLESS_EQUAL, 2, offset=4 * len(denied), number=_CHARACTER_DEVICE)
    for major, minor in denied:
        code += _step(_JUMP_UNLESS_EQUAL, 3, offset=3, number=major)
        code += _step(_JUMP_UNLESS_EQUAL, 4, offset=2, number=minor)
        code += _step(_MOVE, 0, number=0) + _step(_EXIT)
    return code + _step(_MOVE, 0, number=1) + _step(_EXIT)


def _step(code: int, target: int = 0, source: int = 0, offset: int = 0, *, number: int = 0) -> bytes:
    return struct.pack("=BBhi", code, target | source << 4, offset, number)


def _numbers(rule: str) -> tuple[int, int]:
    major, _, minor = rule.split(" ")[1].partition(":")
    return int(major), int(minor)


def _load(code: bytes) -> int:
    import ctypes

    steps, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"Apache-2.0")
    addresses = ctypes.addressof(steps), ctypes.addressof(licence)
    return _bpf(_PROG_LOAD, struct.pack("=IIQQIIQII", _TYPE_CGROUP_DEVICE, len(code) // 8, *addresses, 0, 0, 0, 0, 0))


def _bpf(command: int, attributes: bytes) -> int:
    """Raises ``OSError``."""
    import ctypes

    number = _SYS_BPF.get(os.uname().machine)
    if number is None:
        raise OSError("the number of bpf(2) on this machine is not known")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    block = ctypes.create_string_buffer(attributes, len(attributes))
    answer = int(libc.syscall(ctypes.c_long(number), ctypes.c_int(command), block, ctypes.c_uint(len(attributes))))
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf(2): {os.strerror(error)}")
    return answer

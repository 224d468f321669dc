"""Taking disk space beforehand and giving it back: fallocate(2), for which Python has no function.

A file that is only appended to can drop its oldest part and keep its name, its writers and all offsets: the part
becomes a hole, which takes no space and reads as zeros.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_KEEP_SIZE = 1
_PUNCH_HOLE = 2
BLOCK_BYTES = 4096

_fallocate: Callable[[int, int, int, int], int] | None = None
_errno: Callable[[], int] | None = None


def load() -> None:
    """Find the function once, in the warm parent, so that the forked supervisors have it already."""
    global _fallocate, _errno
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        function = getattr(libc, "fallocate64", None) or libc.fallocate
        function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        _fallocate, _errno = function, ctypes.get_errno
    except (ImportError, OSError, AttributeError):
        _fallocate = None


def punch(fd: int, start: int, end: int, *, whole_blocks: bool = True) -> bool:
    """Give back the blocks between the offsets. ``False``: this file system cannot. Raises ``OSError``.

    Args:
        whole_blocks: leave parts of blocks at both ends as they are; else they are made zeros.
    """
    if whole_blocks:
        start, end = -(-start // BLOCK_BYTES) * BLOCK_BYTES, end // BLOCK_BYTES * BLOCK_BYTES
    return end <= start or _call(fd, _PUNCH_HOLE | _KEEP_SIZE, start, end - start)


def reserve_beyond(fd: int, length: int) -> bool:
    """Take so much space after the end of the file, which does not grow by it. ``False``: it is not to be had."""
    try:
        return _call(fd, _KEEP_SIZE, os.fstat(fd).st_size, length)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return False
        raise


def drop_all_but(fd: int, path: str, keep_bytes: int) -> None:
    """For file systems that cannot punch: empty the file and let it grow again to its size, then write its end anew.
    What others append in that moment may be lost. Raises ``OSError``."""
    size = os.fstat(fd).st_size
    with open(path, "r+b") as file:
        file.seek(max(0, size - keep_bytes))
        end = file.read()
        file.truncate(0)
        file.truncate(size)
        file.seek(size - len(end))
        file.write(end)


def data_from(fd: int, offset: int) -> int:
    """The first offset, from this one on, that is not in a hole; at the latest the end of the file."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return max(offset, os.fstat(fd).st_size)
        return offset


def _call(fd: int, mode: int, start: int, length: int) -> bool:
    if _fallocate is None:
        load()
    if _fallocate is None or _errno is None:
        return False
    while _fallocate(fd, mode, start, length) != 0:
        number = _errno()
        if number in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True

"""What ranks agree on. Without a process group the one process agrees with itself."""

from __future__ import annotations

import atexit
import time
from typing import Any, List

from .place import info

LAST_WORD_S = 0.1
_waits_at_exit = False


def distributed() -> bool:
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """In the process group; without one, as the launcher says."""
    import torch.distributed as dist

    return dist.get_rank() if distributed() else info().rank


def world_size() -> int:
    import torch.distributed as dist

    return dist.get_world_size() if distributed() else 1


def _wait_at_exit() -> None:
    """Have the process wait a moment before the interpreter ends.

    A thread of gloo's drops the tensors of a collective shortly after that has returned, and needs the interpreter for
    it. One that comes when the interpreter is being taken down is unwound by force and aborts the process ("terminate
    called without an active exception", seen with torch 2.13 and Python 3.11), though all its work was done. This makes
    it less likely; it cannot rule it out.
    """
    global _waits_at_exit
    if not _waits_at_exit:
        _waits_at_exit = True
        atexit.register(time.sleep, LAST_WORD_S)


def from_first(value: Any) -> Any:
    """What rank 0 has, on all ranks."""
    import torch.distributed as dist

    if not distributed():
        return value
    _wait_at_exit()
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def of_everyone(value: Any) -> "List[Any]":
    """What each rank has, by rank, on all ranks. Returns when all have come so far."""
    import torch.distributed as dist

    if not distributed():
        return [value]
    _wait_at_exit()
    held: "List[Any]" = [None] * dist.get_world_size()
    dist.all_gather_object(held, value)
    return held

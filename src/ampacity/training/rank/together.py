"""What ranks agree on. Without a process group the one process agrees with itself."""

from __future__ import annotations

from typing import Any, List

from .place import info


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


def from_first(value: Any) -> Any:
    """What rank 0 has, on all ranks."""
    import torch.distributed as dist

    if not distributed():
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def of_everyone(value: Any) -> "List[Any]":
    """What each rank has, by rank, on all ranks. Returns when all have come so far."""
    import torch.distributed as dist

    if not distributed():
        return [value]
    held: "List[Any]" = [None] * dist.get_world_size()
    dist.all_gather_object(held, value)
    return held

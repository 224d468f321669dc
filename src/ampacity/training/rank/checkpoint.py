"""``checkpoint`` and ``restore`` over ``torch.distributed.checkpoint``: for one process, DDP and FSDP2 alike."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, Mapping, Optional

from . import folders
from .place import info
from .progress import append

if TYPE_CHECKING:
    import torch

KEPT = 3
"""How many complete checkpoints are kept."""

_RANDOM = "ampacity_random"
_last_saved_at: Optional[float] = None


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or read; the text says why and where."""


def checkpoint(state: Mapping[str, Any], *, step: int, keep: int = KEPT) -> None:
    """Save the state as it is after ``step``. All ranks call it; it returns on all when the checkpoint is durable.

    Args:
        state: names to modules (bare, DDP or FSDP2), optimizers, anything with ``state_dict`` and
            ``load_state_dict``, tensors, or plain values. The random generators of Python, NumPy and torch are saved
            with it.
        step: names it; :func:`restore` returns it.
        keep: how many complete ones are left in the folder.

    Raises:
        CheckpointError: there is no folder for checkpoints, or it cannot be written.
    """
    from torch.distributed.checkpoint.state_dict_saver import save

    global _last_saved_at
    root = _root()
    rank = info().rank
    if rank == 0:
        _io(lambda: folders.begin(root, step), root)
    _barrier()
    folder = folders.folder_of(root, step)
    with _alone_is_fine():
        _io(lambda: save(_collect(state), checkpoint_id=str(folder), no_dist=not _distributed()), folder)
    _barrier()
    if rank == 0:
        _io(lambda: folders.seal(folder), folder)
        folders.prune(root, keep)
        append({"step": step, "checkpoint": str(folder)})
    _barrier()
    _last_saved_at = time.monotonic()


def restore(state: Mapping[str, Any]) -> Optional[int]:
    """Load the newest complete checkpoint into the state, in place; its step, or ``None`` when there is none.

    One that turns out to be damaged is passed over, with a word on stderr, for the one before it. Plain values in a
    mutable mapping are replaced there.

    Raises:
        CheckpointError: there are checkpoints, but none can be read.
    """
    root = _root(required=False)
    steps = _agreed(folders.complete(root)) if root is not None else []
    if root is None or not steps:
        return None
    from torch.distributed.checkpoint.api import CheckpointException  # no Exception, so it is named below

    trouble: Optional[BaseException] = None
    for step in steps:
        folder = folders.folder_of(root, step)
        try:
            _load(state, folder)
        except (Exception, CheckpointException) as error:  # noqa: BLE001 - whatever a damaged file raises
            print(f"ampacity: the checkpoint {folder} cannot be read: {_brief(error)}", file=sys.stderr, flush=True)
            trouble = error
            continue
        return step
    reason = "" if trouble is None else _brief(trouble)
    raise CheckpointError(f"none of the checkpoints in {root} can be read: {reason}") from trouble


def checkpoint_due() -> bool:
    """Whether a checkpoint is due by the workload's ``checkpoint.every``. Rank 0 decides for all; all ranks call it."""
    every = os.environ.get("AMPACITY_CHECKPOINT_EVERY_S")
    if every is None:
        return False
    global _last_saved_at
    if _last_saved_at is None:
        _last_saved_at = time.monotonic()
    due = time.monotonic() - _last_saved_at >= float(every)
    return bool(_agreed([int(due)])[0])


def _root(*, required: bool = True) -> Any:
    directory = info().checkpoint_dir
    if directory:
        return Path(directory)
    if required:
        raise CheckpointError("AMPACITY_CHECKPOINT_DIR is not set: there is no folder for checkpoints")
    return None


def _load(state: Mapping[str, Any], folder: Path) -> None:
    from torch.distributed.checkpoint.state_dict_loader import load

    collected = _collect(state)
    with _alone_is_fine():
        load(collected, checkpoint_id=str(folder), no_dist=not _distributed())
    _spread(state, collected)


# Between a user's objects and the plain state that is saved --------------------------------------------------------


def _collect(state: Mapping[str, Any]) -> Dict[str, Any]:
    """The state as nested dictionaries of tensors and plain values, by sharded tensors where a module is sharded."""
    import torch
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict

    modules = [value for value in state.values() if isinstance(value, torch.nn.Module)]
    found: Dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, torch.nn.Module):
            found[name] = get_model_state_dict(value)
        elif isinstance(value, torch.optim.Optimizer):
            found[name] = get_optimizer_state_dict(_owner(value, modules, name), value)
        elif hasattr(value, "state_dict") and hasattr(value, "load_state_dict"):
            found[name] = value.state_dict()
        else:
            found[name] = value
    found[f"{_RANDOM}_{info().rank}"] = _random_state()
    return found


def _spread(state: Mapping[str, Any], loaded: Mapping[str, Any]) -> None:
    """Give what was loaded back to the user's objects."""
    import torch
    from torch.distributed.checkpoint.state_dict import set_model_state_dict, set_optimizer_state_dict

    modules = [value for value in state.values() if isinstance(value, torch.nn.Module)]
    for name, value in state.items():
        if isinstance(value, torch.nn.Module):
            set_model_state_dict(value, loaded[name])
        elif isinstance(value, torch.optim.Optimizer):
            set_optimizer_state_dict(_owner(value, modules, name), value, loaded[name])
        elif hasattr(value, "state_dict") and hasattr(value, "load_state_dict"):
            value.load_state_dict(loaded[name])
        elif not isinstance(value, torch.Tensor) and isinstance(state, dict):
            state[name] = loaded[name]
    _set_random_state(loaded[f"{_RANDOM}_{info().rank}"])


def _owner(optimizer: "torch.optim.Optimizer", modules: "list[torch.nn.Module]", name: str) -> "torch.nn.Module":
    """The module whose parameters the optimizer steps."""
    stepped = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for module in modules:
        if any(id(parameter) in stepped for parameter in module.parameters()):
            return module
    raise CheckpointError(f"the optimizer {name!r} steps no module of the state: give its module as well")


def _random_state() -> Dict[str, Any]:
    import torch

    numpy = sys.modules.get("numpy")
    return {
        "python": random.getstate(),
        "numpy": numpy.random.get_state() if numpy is not None else None,
        "torch": torch.get_rng_state(),
    }


def _set_random_state(saved: Mapping[str, Any]) -> None:
    import torch

    version, inner, gauss = saved["python"]
    random.setstate((version, tuple(inner), gauss))
    numpy = sys.modules.get("numpy")
    if numpy is not None and saved["numpy"] is not None:
        numpy.random.set_state(saved["numpy"])
    torch.set_rng_state(saved["torch"].cpu())


# Ranks together ----------------------------------------------------------------------------------------------------


def _distributed() -> bool:
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def _barrier() -> None:
    import torch.distributed as dist

    if _distributed():
        dist.barrier()


def _agreed(values: "list[int]") -> "list[int]":
    """What rank 0 has, on all ranks."""
    import torch.distributed as dist

    if not _distributed():
        return values
    held: "list[list[int] | None]" = [values]
    dist.broadcast_object_list(held, src=0)
    return held[0] or []


def _io(act: Any, where: Path) -> None:
    try:
        act()
    except OSError as error:
        raise CheckpointError(f"the checkpoint {where} cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def _alone_is_fine() -> Iterator[None]:
    """A single process without a process group is meant, and needs no warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _brief(error: BaseException) -> str:
    """The last line of an error that tells the whole story of every rank."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

"""``checkpoint`` and ``restore`` over ``torch.distributed.checkpoint``: for one process, DDP and FSDP2 alike."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional

from . import folders, together
from .place import info
from .progress import append

SAVE = "save"
"""The file in the member's folder by which the agent asks for a save."""

KEPT = 3
"""How many complete checkpoints are kept."""

_last_saved_at: Optional[float] = None


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or read; the text says why and where."""


def checkpoint(state: Mapping[str, Any], *, step: int, keep: int = KEPT) -> None:
    """Save the state as it is after ``step``. All ranks call it; it returns on all when the checkpoint is durable.

    Args:
        state: names to modules (bare, DDP or FSDP2), optimizers, anything with ``state_dict`` and
            ``load_state_dict``, tensors, or plain values. Plain values are kept for each rank; tensors outside of
            modules and optimizers count as the same on all. The random generators of Python, NumPy and torch (the
            current CUDA device's too) are saved with it.
        step: names it; :func:`restore` returns it.
        keep: how many complete ones are left in the folder; at least 1.

    Raises:
        CheckpointError: there is no folder for checkpoints, or it cannot be written. On all ranks alike, and the
            complete ones before it are left as they were.
        ValueError: ``keep`` or ``step`` is out of range.
    """
    from . import state as states

    if keep < 1 or step < 0:
        raise ValueError(f"keep has to be 1 or more and step 0 or more, not {keep} and {step}")
    root = _root()
    if not together.distributed() and info().world_size > 1:
        text = "torch.distributed is not initialized: call init_process_group first"
        raise CheckpointError(f"{info().world_size} ranks cannot save together: {text}")
    rank, world_size = together.rank(), together.world_size()
    folder = folders.saving_of(root, step)
    try:
        _all_or_none(folder, lambda: folders.begin(root, step) if rank == 0 else None)
        _all_or_none(folder, lambda: _save(states.collect(state), folder))
        parts = _all_or_none(folder, lambda: folders.sums_of(folder, rank, world_size))
        _all_or_none(folder, lambda: _finish(root, step, folders.merged(parts), keep) if rank == 0 else None)
    except CheckpointError:
        if rank == 0:
            folders.give_up(folder)
        raise
    global _last_saved_at
    _last_saved_at = time.monotonic()


def _save(collected: Mapping[str, Any], folder: Path) -> None:
    from torch.distributed.checkpoint.state_dict_saver import save as save_shards

    with _alone_is_fine():
        save_shards(dict(collected), checkpoint_id=str(folder), no_dist=not together.distributed())


def _finish(root: Path, step: int, sums: folders.Sums, keep: int) -> None:
    done = folders.seal(root, step, sums)
    folders.prune(root, keep, step)
    append({"step": step, "checkpoint": str(done)})
    asked = _asking_file()
    if asked is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(asked)


def restore(state: Mapping[str, Any]) -> Optional[int]:
    """Load the newest complete checkpoint into the state, in place; its step, or ``None`` when there is none.

    One that is damaged is passed over, with a word on stderr, for the one before it. Plain values in a mutable mapping
    are replaced there. The number of ranks may differ from that which saved.

    Raises:
        CheckpointError: there are checkpoints, but none can be read. On all ranks alike.
    """
    root = _root(required=False)
    if root is None:
        return None
    first = together.rank() == 0
    if first:
        with contextlib.suppress(OSError):  # a folder that is read-only now can still be read from
            folders.settle(root)
    steps = together.from_first(folders.complete(root) if first else [])
    reasons = []
    for step in steps:
        folder = folders.folder_of(root, step)
        reason = _load(state, folder)
        if not reason:
            return int(step)
        reasons.append(reason)
        if first:
            print(f"ampacity: the checkpoint {folder} cannot be read: {reason}", file=sys.stderr, flush=True)
    if reasons:
        raise CheckpointError(f"none of the checkpoints in {root} can be read: {reasons[0]}")
    return None


def _load(state: Mapping[str, Any], folder: Path) -> str:
    """Load it on all ranks; empty, or why it cannot be. Nothing is loaded from files that are damaged."""
    from torch.distributed.checkpoint.api import CheckpointException  # no Exception, so it is named below

    from . import state as states

    try:
        reason = folders.damage(folder, together.rank(), together.world_size())
    except OSError as error:
        reason = _brief(error)
    reason = _first_of(together.of_everyone(reason))
    if reason:
        return reason
    try:
        with _alone_is_fine():
            states.load(state, folder)
    except (Exception, CheckpointException) as error:  # noqa: BLE001 - whatever an unfitting state raises
        reason = _brief(error)
    return _first_of(together.of_everyone(reason))


def checkpoint_due() -> bool:
    """Whether a checkpoint is due: by the workload's ``checkpoint.every``, or because the job is to leave its place.
    Rank 0 decides for all; all ranks call it."""
    global _last_saved_at
    if _last_saved_at is None:
        _last_saved_at = time.monotonic()
    every = os.environ.get("AMPACITY_CHECKPOINT_EVERY_S")
    asked = _asking_file()
    if every is None and asked is None:
        return False
    due = every is not None and time.monotonic() - _last_saved_at >= float(every)
    return bool(together.from_first(due or (asked is not None and asked.exists())))


def _asking_file() -> Optional[Path]:
    """``None`` outside a job of Ampacity. Rank 0 looks in its member's folder, where the agent puts it."""
    place = info()
    return Path(place.member_dir) / SAVE if place.member_dir else None


def _root(*, required: bool = True) -> Any:
    directory = info().checkpoint_dir
    if directory:
        return Path(directory)
    if required:
        raise CheckpointError("AMPACITY_CHECKPOINT_DIR is not set: there is no folder for checkpoints")
    return None


def _all_or_none(folder: Path, act: "Callable[[], Any]") -> "list[Any]":
    """Do it on every rank; what each answered. Where one cannot, all raise ``CheckpointError``."""
    from torch.distributed.checkpoint.api import CheckpointException

    from .state import StateError

    answer, reason = None, ""
    try:
        answer = act()
    except (OSError, CheckpointException, StateError) as error:
        reason = _brief(error)
    results = together.of_everyone((answer, reason))
    reason = _first_of([each for _, each in results])
    if reason:
        raise CheckpointError(f"the checkpoint {folder} cannot be written: {reason}")
    return [each for each, _ in results]


@contextlib.contextmanager
def _alone_is_fine() -> Iterator[None]:
    """A single process without a process group is meant, and needs no warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _first_of(reasons: "list[str]") -> str:
    return next((reason for reason in reasons if reason), "")


def _brief(error: BaseException) -> str:
    """The last line of an error that tells the whole story of every rank."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

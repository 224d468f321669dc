"""Between a user's objects and what ``torch.distributed.checkpoint`` saves.

Tensors are saved by name, so that a shard is written once and a module that is sharded otherwise can read it. All the
rest (plain values, the state of schedulers and loaders, random generators) is pickled, one piece for each rank: such a
state may have other keys when it is loaded than when the run began.
"""

from __future__ import annotations

import pickle
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, MutableMapping

from . import together

if TYPE_CHECKING:
    import torch

OURS = "ampacity"
"""The name under which the pickled pieces are saved."""


class StateError(Exception):
    """The state does not fit, or cannot be saved; the text says why."""


@dataclass(frozen=True)
class TensorAt:
    """Stands in a pickled piece where a tensor was: its number among the tensors of that name."""

    number: int


def collect(state: Mapping[str, Any]) -> Dict[str, Any]:
    """The state as ``torch.distributed.checkpoint`` takes it. Raises ``StateError``."""
    import torch

    if OURS in state:
        raise StateError(f"the name {OURS!r} is taken: give that entry of the state another one")
    found: Dict[str, Any] = {}
    plain: Dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, (torch.nn.Module, torch.optim.Optimizer)):
            found[name] = _of_torch(state, name, value)
            continue
        tensors: "List[torch.Tensor]" = []
        plain[name] = _without_tensors(_state_of(value), tensors)
        if tensors:
            found[name] = {str(number): tensor for number, tensor in enumerate(tensors)}
    try:
        piece = pickle.dumps({"plain": plain, "random": _random_state()})
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise StateError(f"the state holds something that cannot be saved: {error}") from error
    found[OURS] = {_piece_name(together.rank()): piece}
    return found


def load(state: Mapping[str, Any], folder: Path) -> None:
    """Load what was saved there into the objects. All ranks call it. Raises ``StateError``, and what torch raises."""
    import torch
    from torch.distributed.checkpoint.filesystem import FileSystemReader

    metadata = FileSystemReader(folder).read_metadata().state_dict_metadata
    own = f"{OURS}.{_piece_name(together.rank())}" in metadata
    piece_name = _piece_name(together.rank() if own else 0)
    holder: Dict[str, Any] = {OURS: {piece_name: b""}}
    _dcp_load(holder, folder)
    piece = pickle.loads(holder[OURS][piece_name])
    wanted: Dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, (torch.nn.Module, torch.optim.Optimizer)):
            wanted[name] = _of_torch(state, name, value)
        elif name not in piece["plain"]:
            raise StateError(f"it holds no {name!r}; it has: {', '.join(_names(metadata, piece))}")
        else:
            tensors = _targets(name, value, metadata)
            if tensors:
                wanted[name] = tensors
    _dcp_load(wanted, folder)
    for name, value in state.items():
        if isinstance(value, (torch.nn.Module, torch.optim.Optimizer)):
            _to_torch(state, name, value, wanted[name])
        else:
            _give_back(state, name, value, _with_tensors(piece["plain"][name], wanted.get(name, {})))
    if own:  # a rank that was not there then draws its own numbers, not those of rank 0
        _set_random_state(piece["random"])


def _dcp_load(wanted: Dict[str, Any], folder: Path) -> None:
    from torch.distributed.checkpoint.state_dict_loader import load as load_shards

    load_shards(wanted, checkpoint_id=str(folder), no_dist=not together.distributed())


def _cuda_in_use() -> bool:
    """Whether this process has begun to use CUDA. Asking for the generator's state would begin it."""
    import torch

    return torch.cuda.is_available() and bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _piece_name(rank: int) -> str:
    return f"rank_{rank}"


def _names(metadata: Mapping[str, Any], piece: Mapping[str, Any]) -> "List[str]":
    return sorted({name.split(".", 1)[0] for name in metadata if not name.startswith(f"{OURS}.")} | set(piece["plain"]))


# Modules and optimizers ----------------------------------------------------------------------------------------------


def _of_torch(state: Mapping[str, Any], name: str, value: Any) -> Dict[str, Any]:
    import torch
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict

    if isinstance(value, torch.nn.Module):
        return get_model_state_dict(value)
    return dict(get_optimizer_state_dict(_stepped(state, name, value), value))


def _to_torch(state: Mapping[str, Any], name: str, value: Any, loaded: Any) -> None:
    import torch
    from torch.distributed.checkpoint.state_dict import set_model_state_dict, set_optimizer_state_dict

    if isinstance(value, torch.nn.Module):
        set_model_state_dict(value, loaded)
    else:
        set_optimizer_state_dict(_stepped(state, name, value), value, loaded)


def _stepped(state: Mapping[str, Any], name: str, optimizer: "torch.optim.Optimizer") -> "torch.nn.Module":
    """The module whose parameters the optimizer steps; several are put under one roof, by their names."""
    import torch

    left = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    found: Dict[str, Any] = {}
    for key, value in state.items():
        if isinstance(value, torch.nn.Module):
            owned = left & {id(parameter) for parameter in value.parameters()}
            if owned:
                found[key.replace(".", "_")] = value
                left -= owned
    if left:
        text = f"the optimizer {name!r} steps {len(left)} parameters of no module in the state: give the module as well"
        raise StateError(text)
    return next(iter(found.values())) if len(found) == 1 else torch.nn.ModuleDict(found)


# All the rest --------------------------------------------------------------------------------------------------------


def _is_stateful(value: Any) -> bool:
    return hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


def _state_of(value: Any) -> Any:
    return value.state_dict() if _is_stateful(value) else value


def _give_back(state: Mapping[str, Any], name: str, value: Any, loaded: Any) -> None:
    import torch

    if _is_stateful(value):
        value.load_state_dict(loaded)
    elif not isinstance(value, torch.Tensor) and isinstance(state, MutableMapping):
        state[name] = loaded  # a tensor was filled in place


def _without_tensors(value: Any, tensors: "List[torch.Tensor]") -> Any:
    """The value with its tensors replaced by their numbers; they are appended to the list."""
    import torch

    if isinstance(value, torch.Tensor):
        tensors.append(value)
        return TensorAt(len(tensors) - 1)
    if type(value) is dict:
        return {key: _without_tensors(each, tensors) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_without_tensors(each, tensors) for each in value)
    return value


def _with_tensors(value: Any, tensors: Mapping[str, Any]) -> Any:
    if isinstance(value, TensorAt):
        return tensors[str(value.number)]
    if type(value) is dict:
        return {key: _with_tensors(each, tensors) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_with_tensors(each, tensors) for each in value)
    return value


def _targets(name: str, value: Any, metadata: Mapping[str, Any]) -> Dict[str, Any]:
    """Where the saved tensors of that name are read to: those that the value has now, else new ones."""
    import torch

    now: "List[torch.Tensor]" = []
    _without_tensors(_state_of(value), now)
    found: Dict[str, Any] = {}
    while f"{name}.{len(found)}" in metadata:
        number = len(found)
        about = metadata[f"{name}.{number}"]
        fits = number < len(now) and (now[number].shape, now[number].dtype) == (about.size, about.properties.dtype)
        found[str(number)] = now[number] if fits else torch.empty(about.size, dtype=about.properties.dtype)
    if isinstance(value, torch.Tensor) and found.get("0") is not value:
        raise StateError(f"the tensor {name!r} has another shape or dtype than the one that was saved")
    return found


def _random_state() -> Dict[str, Any]:
    import torch

    numpy = sys.modules.get("numpy")
    return {
        "python": random.getstate(),
        "numpy": numpy.random.get_state() if numpy is not None else None,
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if _cuda_in_use() else None,
    }


def _set_random_state(saved: Mapping[str, Any]) -> None:
    import torch

    random.setstate(saved["python"])
    numpy = sys.modules.get("numpy")
    if numpy is not None and saved["numpy"] is not None:
        numpy.random.set_state(saved["numpy"])
    torch.set_rng_state(saved["torch"])
    if saved["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(saved["cuda"])

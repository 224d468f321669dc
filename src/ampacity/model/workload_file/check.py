"""From plain values to checked keys: pydantic's findings, said in Ampacity's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .keys import MEANT, NOT_BUILT, WorkloadKeys
from .mistakes import Mistake, Mistakes, Path
from .types import nearest, said

Keys = TypeVar("Keys", bound=BaseModel)


def check(plain: object, line_of: Callable[[Path], int], mistakes: Mistakes) -> WorkloadKeys | None:
    """The keys of one workload, or ``None`` after every mistake in it was added."""
    if not isinstance(plain, Mapping):
        hint = "Write keys and values, such as 'name: hello' and 'run: echo hello'."
        mistakes.add(Mistake(f"a workload is a map of keys, not {said(plain)}.", line=line_of(()), hint=hint))
        return None
    return check_keys(plain, WorkloadKeys, line_of, mistakes)


def check_keys(
    plain: Mapping[Any, object],
    model: type[Keys],
    line_of: Callable[[Path], int],
    mistakes: Mistakes,
    *,
    at: Path = (),
) -> Keys | None:
    """The keys of a map as this model has them, or ``None`` after every mistake in it was added. ``at``: where in the
    document the map stands."""
    try:
        return model.model_validate(dict(plain))
    except ValidationError as error:
        for details in error.errors(include_url=False):
            path = tuple(part for part in details["loc"] if part != "[key]")
            message, hint = _said(details, path, model)
            whole = (*at, *path)
            mistakes.add(Mistake(message, path=whole, line=line_of(whole), hint=hint))
        return None


def _said(details: ErrorDetails, path: Path, model: type[BaseModel]) -> tuple[str, str]:
    value = details["input"]
    match details["type"]:
        case "mistake":
            context = details["ctx"]
            return context["message"], context["hint"]
        case "missing":
            return "is missing.", f"Add a line '{path[-1]}: …'."
        case "extra_forbidden":
            return _unknown(path, model)
        case _ if value is None:
            return "has no value.", "Give one, or leave the key out."
        case "list_type":
            return f"has to be a list, not {said(value)}.", _as_list(value)
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"has to be a map of keys, not {said(value)}.", _as_map(path, model)
        case _:
            return f"is wrong: {details['msg']}.", ""


def _unknown(path: Path, model: type[BaseModel]) -> tuple[str, str]:
    key, parent = str(path[-1]), path[:-1]
    known = keys_at(parent, model)
    if model is not WorkloadKeys:
        return "is not a key that is known here.", nearest(key, known) or f"The keys are {', '.join(known)}."
    if key in NOT_BUILT.get(tuple(str(part) for part in parent), ()):
        return "is not supported yet.", "Leave it out."
    if key.lower() in known:
        return "is not a key that is known here.", f"Did you mean {key.lower()}?"
    if not parent and key in MEANT:
        return "is not a key that is known here.", f"Did you mean {MEANT[key]}?"
    elsewhere = [".".join((*above, key)) for above in _PLACES if above != parent and key in keys_at(above)]
    hint = f"Did you mean {elsewhere[0]}?" if elsewhere else nearest(key, known)
    return "is not a key that is known here.", hint or f"The keys are {', '.join(known)}."


def keys_at(path: Path, model: type[BaseModel] = WorkloadKeys) -> tuple[str, ...]:
    """The keys that a map at this place of a workload file may have, or of another file with these keys."""
    for part in path:
        found = _nested(model, str(part))
        if found is None:
            return ()
        model = found
    return tuple(model.model_fields)


def _nested(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    field = model.model_fields.get(key)
    arms = () if field is None else (field.annotation, *get_args(field.annotation))
    bare = (get_args(arm)[0] if get_origin(arm) is Annotated else arm for arm in arms)
    return next((arm for arm in bare if isinstance(arm, type) and issubclass(arm, BaseModel)), None)


_PLACES: tuple[tuple[str, ...], ...] = (
    (),
    *((key,) for key in WorkloadKeys.model_fields if _nested(WorkloadKeys, key) is not None),
)


def _as_list(value: object) -> str:
    return f"Write [{value}]." if isinstance(value, str) and len(value) <= 60 else "Write it as [a, b]."


def _as_map(path: Path, model: type[BaseModel]) -> str:
    keys = keys_at(path, model)
    example: Any = f"{{{keys[0]}: …}}" if keys else "{NAME: value}"
    return f"Write it as {example}" + (f"; its keys are {', '.join(keys)}." if keys else ".")

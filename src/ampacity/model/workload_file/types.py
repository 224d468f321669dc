"""The types of values in a workload file: how each is checked, and what editors are told about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from difflib import get_close_matches
from posixpath import normpath
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from ampacity.model.errors import InvalidSpec
from ampacity.model.quantities import (
    parse_accelerator_choice,
    parse_bytes,
    parse_count_range,
    parse_cpus,
    parse_duration,
    parse_memory,
    parse_power,
)
from ampacity.model.resources import AcceleratorRequest, Range
from ampacity.model.workload import Deadline, RetryEvent

from .tree import Number

_NAME = "[a-z0-9][a-z0-9-]{0,62}"
_ENV_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_MODEL = "[A-Za-z0-9][A-Za-z0-9._/-]{0,127}(:[A-Za-z0-9][A-Za-z0-9._-]{0,62})?"
_NUMBER = "[0-9]+([.][0-9]+)?"
_SIZE = f"{_NUMBER} ?([KMGTP]i?B|B)"

PRIORITIES = {"low": -100, "normal": 0, "high": 100}
RESERVED_ENVS = (
    *("AMPACITY_", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"),
    *("ZE_AFFINITY_MASK", "HABANA_VISIBLE_MODULES"),
)
"""Beginnings of names that a job may not set: they say which devices it was given."""


def wrong(message: str, hint: str = "") -> PydanticCustomError:
    """A mistake as pydantic carries it; ``mistakes_of`` takes it apart again."""
    return PydanticCustomError("mistake", "{message}", {"message": message, "hint": hint})


def nearest(text: str, choices: Iterable[str]) -> str:
    """``Did you mean train?``, or nothing where nothing is near."""
    near = get_close_matches(text.lower(), list(choices), n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else ""


def said(value: object) -> str:
    """What kind of value it is, for people."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the truth value {str(value).lower()}"
        case Number() | int() | float():
            return f"the number {str(value)[:60]}"
        case str():
            return f"the text {value if len(value) <= 60 else value[:57] + '...'!r}"
        case list() | tuple():
            return "a list"
        case dict():
            return "a map"
        case _:
            return f"a {type(value).__name__}"


def _text(value: object) -> str:
    if isinstance(value, str) and not isinstance(value, Number):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise wrong("has characters in it that are not text.", "Write plain text.")
        return value
    hint = f'Put it in quotes: "{value}".' if isinstance(value, (Number, int, float)) else ""
    raise wrong(f"has to be text, not {said(value)}.", hint)


def scalar(value: object) -> str:
    """Text, or a number as it was written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, bool):
        raise wrong(f"has to be text, not {said(value)}.", f'Put it in quotes: "{str(value).lower()}".')
    return _text(value)


def _quantity(parse: Callable[[str], Any], example: str) -> Callable[[object], Any]:
    def check(value: object) -> Any:
        if value is None or isinstance(value, (bool, list, tuple, dict)):
            raise wrong(f"has to be a value such as {example}, not {said(value)}.", f"Write {example}.")
        try:
            return parse(scalar(value))
        except InvalidSpec as error:
            raise wrong(error.message, error.hint) from error

    return check


def _whole(minimum: int, maximum: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        text = str(value)
        if not isinstance(value, (Number, int)) or isinstance(value, bool) or not re.fullmatch("-?[0-9]{1,15}", text):
            raise wrong(f"has to be a whole number, not {said(value)}.")
        number = int(text)
        if not minimum <= number <= maximum:
            raise wrong(f"has to be between {minimum} and {maximum}, not {number}.")
        return number

    return check


def _money(value: object) -> float:
    text = str(value) if isinstance(value, (Number, int, float)) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[0-9]+([.][0-9]*)?(e-?[0-9]{1,2})?", text):
        raise wrong(f"has to be a number such as 0.5, not {said(value)}.", "Write money for a million tokens.")
    return float(text)


def _rate(value: object) -> float:
    text = str(value) if isinstance(value, (Number, int, float)) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[0-9]+([.][0-9]*)?(e[+-]?[0-9]{1,2})?", text) or float(text) <= 0:
        raise wrong(f"has to be a number above 0 such as 3.1, not {said(value)}.", "Write steps a second.")
    return float(text)


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise wrong(f"has to be true or false, not {said(value)}.", "Write true or false.")


def _name(value: object) -> str:
    text = _text(value)
    if re.fullmatch(_NAME, text):
        return text
    nearest = re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
    hint = f"Did you mean {nearest}?" if nearest else ""
    raise wrong(f"{_short(text)} is not a name: small letters, digits and '-', at most 63, '-' not first.", hint)


def _env_name(value: object) -> str:
    text = str(value)
    if not re.fullmatch(_ENV_NAME, text):
        raise wrong(f"{_short(text)} is not a name of a variable.", "Use letters, digits and '_', no digit first.")
    if text.startswith(RESERVED_ENVS):
        raise wrong(f"{text} is set by Ampacity itself.", "Choose another name.")
    return text


def _priority(value: object) -> int:
    if isinstance(value, str) and value in PRIORITIES:
        return PRIORITIES[value]
    if isinstance(value, str) and not isinstance(value, Number):
        raise wrong(f"{_short(value)} is not a priority.", f"Write {', '.join(PRIORITIES)} or a number.")
    return _whole(-1000, 1000)(value)


def _deadline(value: object) -> Deadline:
    """A time with its zone, or a duration from the submission on."""
    text = scalar(value).strip()
    if re.match("[0-9]{4}-", text):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise wrong(f"{_short(text)} is not a time.", "Write it as 2030-05-31T18:00Z, or as 12h.") from None
        if moment.tzinfo is None:
            raise wrong(f"{_short(text)} has no time zone.", f"Write {text}Z, or with an offset such as +02:00.")
        return Deadline(at=moment.timestamp())
    try:
        return Deadline(within_s=parse_duration(text))
    except InvalidSpec as error:
        raise wrong(error.message, error.hint or "Write a time (2030-05-31T18:00Z) or a duration (12h).") from error


def _path(value: object) -> str:
    text = _text(value)
    if not text.strip():
        raise wrong("is empty.", "Write a path, such as '.', or leave the key out.")
    if text.startswith("~"):
        raise wrong(f"{_short(text)}: '~' is not filled in.", "Write a path from / on, or one relative to the file.")
    return text


def absolute_path(value: object) -> str:
    """A path from the root on, written as short as can be."""
    text = _path(value)
    if not text.startswith("/"):
        raise wrong(f"{_short(text)} does not begin at the root.", "Write it from / on.")
    short = "/" + normpath(text).lstrip("/")
    if short != text:
        raise wrong(f"{_short(text)} can be written shorter.", f"Write {short}.")
    return text


def _filled(value: object) -> str:
    text = _text(value)
    if not text.strip():
        raise wrong("is empty.", "Write a command, or leave the key out.")
    return text


def _model_ref(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(_MODEL, text):
        raise wrong(f"{_short(text)} is not the name of a model.", "Write it as name or name:version.")
    return text


def _url_path(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"/[!-~]{0,500}", text):
        raise wrong(f"{_short(text)} is not a path of a URL.", "Write it as /health.")
    return text


def _retry_event(value: object) -> RetryEvent:
    events = ", ".join(RetryEvent)
    if not isinstance(value, str) or value not in list(RetryEvent):
        raise wrong(f"has to be one of {events}, not {said(value)}.", f"Write {events}.")
    return RetryEvent(value)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _pattern(pattern: str, *, number: str = "") -> WithJsonSchema:
    """Text of this form; with ``number`` also a JSON number of that type."""
    text = {"type": "string", "pattern": f"^({pattern})$"}
    least = 1 if number == "integer" else 0
    return WithJsonSchema({"anyOf": [text, {"type": number, "minimum": least}]} if number else text)


def _ranged(pattern: str) -> str:
    return rf"{pattern}|{pattern}\+|{pattern}\.\.{pattern}"


Money = Annotated[float, PlainValidator(_money), WithJsonSchema({"type": "number", "minimum": 0})]
Rate = Annotated[float, PlainValidator(_rate), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
Text = Annotated[str, PlainValidator(_text), WithJsonSchema({"type": "string"})]
Filled = Annotated[str, PlainValidator(_filled), _pattern(r"[\s\S]*\S[\s\S]*")]
Scalar = Annotated[str, PlainValidator(scalar), WithJsonSchema({"type": ["string", "number"]})]
Flag = Annotated[bool, PlainValidator(_flag), WithJsonSchema({"type": "boolean"})]
Name = Annotated[str, PlainValidator(_name), _pattern(_NAME)]
EnvName = Annotated[str, PlainValidator(_env_name), _pattern(_ENV_NAME)]
Path = Annotated[str, PlainValidator(_path), _pattern(r"[^~][\s\S]*")]
ModelRef = Annotated[str, PlainValidator(_model_ref), _pattern(_MODEL)]
UrlPath = Annotated[str, PlainValidator(_url_path), _pattern("/[!-~]*")]
Event = Annotated[
    RetryEvent, PlainValidator(_retry_event), WithJsonSchema({"enum": [str(each) for each in RetryEvent]})
]
Priority = Annotated[
    int,
    PlainValidator(_priority),
    WithJsonSchema({"anyOf": [{"enum": list(PRIORITIES)}, {"type": "integer", "minimum": -1000, "maximum": 1000}]}),
]
CountRange = Annotated[
    Range,
    PlainValidator(_quantity(parse_count_range, "2 or 2..4")),
    _pattern(_ranged("[0-9]*[1-9][0-9]*"), number="integer"),
]
Cpus = Annotated[Range, PlainValidator(_quantity(parse_cpus, "16+")), _pattern(_ranged(_NUMBER), number="number")]
Memory = Annotated[Range, PlainValidator(_quantity(parse_memory, "128GB+")), _pattern(_ranged(_SIZE))]
Size = Annotated[int, PlainValidator(_quantity(parse_bytes, "100GB")), _pattern(_SIZE)]
Duration = Annotated[
    float,
    PlainValidator(_quantity(parse_duration, "10m")),
    _pattern(f"(?=.)({_NUMBER}d)?({_NUMBER}h)?({_NUMBER}m)?({_NUMBER}s)?({_NUMBER}ms)?"),
]
Due = Annotated[
    Deadline,
    PlainValidator(_deadline),
    _pattern(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+(Z|[+-][0-9]{2}:?[0-9]{2})"
        f"|(?=.)({_NUMBER}d)?({_NUMBER}h)?({_NUMBER}m)?({_NUMBER}s)?({_NUMBER}ms)?"
    ),
]
_ACCELERATORS = r" *([A-Za-z][A-Za-z0-9_.-]*(\+[a-z][a-z.]*)?(:[^:|,]+){0,2}|[0-9][^|,]*)"
Accelerators = Annotated[
    tuple[AcceleratorRequest, ...],
    PlainValidator(_quantity(parse_accelerator_choice, "H100:8")),
    _pattern(rf"{_ACCELERATORS}( *\| *{_ACCELERATORS})*", number="number"),
]
Power = Annotated[int, PlainValidator(_quantity(parse_power, "3kW")), _pattern(f"{_NUMBER} ?[kM]?W")]


def whole(minimum: int, maximum: int) -> tuple[PlainValidator, WithJsonSchema]:
    """The parts of an annotation for a whole number within bounds."""
    schema = WithJsonSchema({"type": "integer", "minimum": minimum, "maximum": maximum})
    return PlainValidator(_whole(minimum, maximum)), schema


Port = Annotated[int, *whole(0, 65535)]
Count = Annotated[int, *whole(1, 10_000)]
Retries = Annotated[int, *whole(0, 1_000_000)]

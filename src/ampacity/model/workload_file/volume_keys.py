"""The key ``volumes``: what a workload finds at which path. How it is checked, and read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from posixpath import join, normpath
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

from ampacity.model.volume import VolumeUse

from .mistakes import Mistake
from .types import Flag, Name, Path, absolute_path, scalar, whole, wrong

KERNELS_OWN = ("/dev", "/proc", "/sys")


def _target(value: object) -> str:
    text = absolute_path(value)
    if text == "/" or any(f"{text}/".startswith(f"{own}/") for own in KERNELS_OWN):
        raise wrong("is a folder that no job can do without.", "Choose another one, such as /data.")
    return text


Target = Annotated[str, PlainValidator(_target), WithJsonSchema({"type": "string", "pattern": "^/"})]


class VolumeKeys(BaseModel):
    """What is mounted: a volume by its name, or a folder of the node."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    volume: Name | None = Field(default=None, description="The name of a volume of the topology file.")
    folder: Path | None = Field(
        default=None, description="A folder that every node has at that path, relative to this file: ./corpus."
    )
    read_only: Flag | None = Field(default=None, description="It may only be read.")
    worth: Annotated[int, *whole(0, 1000)] | None = Field(
        default=None, description="What it is worth to be near the volume, against preferences; as it says itself else."
    )


def _use(value: object) -> object:
    """Text is short for a volume's name or, where it has a '/' or begins with a '.', for a folder."""
    if isinstance(value, (dict, VolumeKeys)):
        return value
    text = scalar(value)
    return {"folder" if "/" in text or text.startswith(".") else "volume": text}


Use = Annotated[VolumeKeys, BeforeValidator(_use, json_schema_input_type=str | VolumeKeys)]


def contradictions_of_volumes(volumes: Mapping[str, VolumeKeys]) -> Iterator[Mistake]:
    for target, use in volumes.items():
        path = ("volumes", target)
        if (use.volume is None) == (use.folder is None):
            hint = "Write volume: for one of the topology file, or folder: for one of the node."
            yield Mistake("has to name either a volume or a folder.", path=path, hint=hint)
        elif use.worth is not None and use.volume is None:
            yield Mistake("goes with a volume.", path=(*path, "worth"), hint="A folder is near wherever it is.")


def uses_of(volumes: Mapping[str, VolumeKeys], directory: str) -> tuple[VolumeUse, ...]:
    """By their targets, so that one within another is mounted after it."""
    return tuple(
        VolumeUse(
            target=target,
            volume=keys.volume or "",
            folder="" if keys.folder is None else normpath(join(directory, keys.folder)),
            read_only=bool(keys.read_only),
            worth=keys.worth,
        )
        for target, keys in sorted(volumes.items())
    )


def plain_volumes(uses: tuple[VolumeUse, ...]) -> dict[str, Any]:
    """The keys and values that these uses are read from."""
    return {
        use.target: {
            **({"volume": use.volume} if use.volume else {}),
            **({"folder": use.folder} if use.folder else {}),
            **({"read_only": True} if use.read_only else {}),
            **({} if use.worth is None else {"worth": use.worth}),
        }
        for use in uses
    }

"""The keys of a topology file: the one definition of what is checked and of what is refused."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from ampacity.model.volume import USUAL_WORTH
from ampacity.model.workload_file.rule_keys import Label
from ampacity.model.workload_file.types import Count, Flag, Name, Power, absolute_path, scalar, whole


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _nodes(value: object) -> list[str]:
    """A list, or one text with commas between the names."""
    if isinstance(value, list):
        return [scalar(each) for each in value]
    return [part.strip() for part in re.split(r",(?![^\[]*\])", scalar(value))]


NodeNames = Annotated[list[str], PlainValidator(_nodes)]
"""Names of nodes, and ranges of them: ``n[01-16]``."""


class PlaceKeys(_Keys):
    """One place of a tree: a rack, a leaf switch."""

    inside: Label | None = Field(default=None, description="The place that it is a part of.")
    nodes: NodeNames | None = Field(default=None, description="The nodes there: n1, n[02-16].")


class TreeKeys(_Keys):
    """A named tree: its levels from the root down, and its places."""

    levels: list[Label] = Field(description="The names of its levels, from the root down: [spine, leaf].")
    places: dict[Label, Any] = Field(description="Its places by name.")


class FeedKeys(_Keys):
    """A power feed and what draws from it."""

    power: Power = Field(description="What it can give: 12kW.")
    nodes: NodeNames | None = Field(default=None, description="The nodes that draw from it.")


Folder = Annotated[str, PlainValidator(absolute_path)]


class StorageKeys(_Keys):
    """A volume: a folder that nodes have, which workloads mount by its name."""

    path: Folder = Field(description="Where it is, on each node that has it: /mnt/corpus.")
    nodes: NodeNames | None = Field(default=None, description="The nodes that have it. All where left out.")
    near: NodeNames | None = Field(
        default=None, description="Those that need not fetch it from afar: it is on their disks, or kept there."
    )
    tree: Label | None = Field(
        default=None, description="The tree by which other nodes are nearer to those, or farther: fabric."
    )
    worth: Annotated[int, *whole(0, 1000)] = Field(
        default=USUAL_WORTH, description="What it is worth to be on a node that is near, against preferences."
    )
    read_only: Flag = Field(default=False, description="Nobody may write to it.")


class TopologyFileKeys(_Keys):
    """A document about topology has one of these at its top."""

    topology: dict[Label, Any] | None = Field(default=None, description="Trees by name: fabric, site.")
    feeds: dict[Label, Any] | None = Field(default=None, description="Power feeds by name.")
    licences: dict[Label, Count] | None = Field(default=None, description="How many there are of each licence.")
    storage: dict[Name, Any] | None = Field(default=None, description="Volumes by name.")

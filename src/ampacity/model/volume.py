"""Volumes: data by name, on which nodes it is, to which it is near, and how a workload mounts it."""

from __future__ import annotations

from dataclasses import dataclass

from .ids import NodeId

USUAL_WORTH = 10
"""What a node that has the data near by is worth more than others, against preferences of one each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A folder that nodes have, known to all by a name.

    Attributes:
        path: where it is on each of its nodes; absolute.
        nodes: those that have it; ``None`` = all.
        near: those of them that need not fetch it from afar: it is on their own disks, or kept there.
        tree: the topology tree by which other nodes are nearer to those or farther; empty = there is no telling.
        worth: how much more a node in ``near`` is worth to who mounts it. By the tree others are worth a part of that.
        read_only: nobody may write to it.
    """

    path: str
    nodes: tuple[NodeId, ...] | None = None
    near: tuple[NodeId, ...] = ()
    tree: str = ""
    worth: int = USUAL_WORTH
    read_only: bool = False

    def is_on(self, node: NodeId) -> bool:
        return self.nodes is None or node in self.nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeUse:
    """What a workload finds at a path.

    Attributes:
        target: the path, absolute.
        volume: the name of a volume; empty = ``folder``.
        folder: a folder of every node that it may go to; absolute.
        worth: what it is worth to be near; ``None`` = as the volume says.
    """

    target: str
    volume: str = ""
    folder: str = ""
    read_only: bool = False
    worth: int | None = None

"""Where a workload may go and where it would rather go: rules about nodes, apart from what it needs on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

LABEL = "[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?"
"""The form of a label's key and of its value, of a taint's key and value, and of the names of trees and levels."""

ANY_VALUE = "*"
"""A label of whatever value; as a toleration: every taint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """A label has one of these values, or with ``negated`` none of them (a node without the label has none)."""

    key: str
    values: tuple[str, ...]
    negated: bool = False

    def holds(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        found = value is not None and (ANY_VALUE in self.values or value in self.values)
        return found is not self.negated

    def __str__(self) -> str:
        if ANY_VALUE in self.values:
            return f"no label {self.key}" if self.negated else f"a label {self.key}"
        return f"{self.key}{'!=' if self.negated else '='}{'|'.join(self.values)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """Nodes of which all these rules hold are worth that much more. Worths add up; the most worth is tried first."""

    labels: tuple[LabelRule, ...]
    worth: int


class TopologyMode(StrEnum):
    """``required``: all in one place of the level, or not at all. ``preferred``: in one where that can be, else in as
    few as can be."""

    REQUIRED = "required"
    PREFERRED = "preferred"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyRule:
    """A gang stays together in a place of that level of that tree (``fabric``, ``leaf``)."""

    tree: str
    level: str
    mode: TopologyMode = TopologyMode.PREFERRED


@dataclass(frozen=True, slots=True, kw_only=True)
class ApartRule:
    """It does not share a place with workloads of these names (of its project), nor they with it. Its own name keeps
    its replicas apart. The place is a node, or one of a level of a tree."""

    workloads: tuple[str, ...]
    tree: str = ""
    level: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRules:
    """All rules of one workload. ``tolerations``: taints of nodes that do not keep it off, as ``key``, ``key=value``
    or ``*``."""

    selector: tuple[LabelRule, ...] = ()
    prefer: tuple[Preference, ...] = ()
    apart: ApartRule | None = None
    tolerations: tuple[str, ...] = ()
    topology: TopologyRule | None = None

    def admit(self, labels: Mapping[str, str], taints: Iterable[str]) -> bool:
        """Whether a node with these may be used."""
        return all(rule.holds(labels) for rule in self.selector) and self.tolerates(taints)

    def tolerates(self, taints: Iterable[str]) -> bool:
        return all(tolerated(taint, self.tolerations) for taint in taints)


NO_RULES = PlacementRules()


def tolerated(taint: str, tolerations: tuple[str, ...]) -> bool:
    """``team=vision`` is tolerated as itself, as ``team`` and as ``*``."""
    return bool({taint, taint.partition("=")[0], ANY_VALUE} & set(tolerations))

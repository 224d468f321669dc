"""The keys of rules about nodes: labels, taints, neighbours, topology. How each is checked, and read to a rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

from ampacity.model.rules import (
    ANY_VALUE,
    LABEL,
    ApartRule,
    LabelRule,
    PlacementRules,
    Preference,
    TopologyMode,
    TopologyRule,
)

from .types import Name, nearest, said, scalar, whole, wrong

_TAINT = rf"{LABEL}(={LABEL})?|\*"


def _label(value: object) -> str:
    text = scalar(value)
    if not re.fullmatch(LABEL, text):
        raise wrong(f"{text[:60]!r} is not a label.", "Use letters, digits, '.', '_', '/' and '-', at most 63.")
    return text


def _values(value: object) -> tuple[str, ...]:
    """Of a selector: one value or several, each as it is or all with a '!' before it."""
    items = value if isinstance(value, list) else [value]
    texts = tuple("true" if item is True else "false" if item is False else scalar(item) for item in items)
    bare = [text.removeprefix("!") for text in texts]
    if not texts:
        raise wrong("is empty.", "Write a value, a list of values, or '*' for any.")
    if len({text.startswith("!") for text in texts}) > 1:
        raise wrong("mixes values with and without '!'.", "Write values to have, or values not to have.")
    for text in bare:
        if text != ANY_VALUE:
            _label(text)
    return texts


def _toleration(value: object) -> str:
    text = scalar(value)
    if not re.fullmatch(_TAINT, text):
        raise wrong(f"{text[:60]!r} is not a taint.", "Write key, key=value, or '*' for all.")
    return text


def _mode(value: object) -> TopologyMode:
    modes = list(TopologyMode)
    if not isinstance(value, str) or value not in modes:
        raise wrong(f"has to be one of {', '.join(modes)}, not {said(value)}.", nearest(str(value), modes))
    return TopologyMode(value)


Label = Annotated[str, PlainValidator(_label), WithJsonSchema({"type": "string", "pattern": f"^({LABEL})$"})]
_ONE = {"type": ["string", "number"]}
Values = Annotated[
    tuple[str, ...],
    PlainValidator(_values),
    WithJsonSchema({"anyOf": [_ONE, {"type": "boolean"}, {"type": "array", "items": _ONE}]}),
]
Selector = dict[Label, Values]
Toleration = Annotated[str, PlainValidator(_toleration), WithJsonSchema({"type": "string", "pattern": f"^({_TAINT})$"})]
Mode = Annotated[TopologyMode, PlainValidator(_mode), WithJsonSchema({"enum": [str(mode) for mode in TopologyMode]})]


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PreferKeys(_Keys):
    """Nodes that it would rather have."""

    labels: Selector = Field(description="What the nodes' labels have to be.")
    worth: Annotated[int, *whole(1, 1000)] = Field(
        default=1, description="How much that is worth against other preferences; worths add up."
    )


class ApartKeys(_Keys):
    """Workloads that it does not share a node with, or a place of a tree."""

    workloads: list[Name] = Field(description="Their names. Its own keeps its replicas apart.")
    tree: Label | None = Field(default=None, description="Not in one place of this tree, instead of one node: site.")
    level: Label | None = Field(default=None, description="The level of that tree: rack.")


class TopologyKeys(_Keys):
    """Where its nodes have to be together."""

    tree: Label = Field(default="fabric", description="The tree: fabric where it is left out.")
    level: Label = Field(description="All nodes in one place of this level: leaf.")
    mode: Mode = Field(
        default=TopologyMode.REQUIRED, description="required (left out): or it waits. preferred: or in few places."
    )


def _apart(value: object) -> object:
    """A list is short for ``workloads``."""
    return {"workloads": value} if isinstance(value, list) else value


Apart = Annotated[ApartKeys, BeforeValidator(_apart, json_schema_input_type=list[Name] | ApartKeys)]


def rules_of(
    selector: Selector | None,
    prefer: list[PreferKeys] | None,
    apart: ApartKeys | None,
    tolerations: list[Toleration] | None,
    topology: TopologyKeys | None,
) -> PlacementRules:
    """The rules that the keys amount to."""
    return PlacementRules(
        selector=_label_rules(selector or {}),
        prefer=tuple(Preference(labels=_label_rules(each.labels), worth=each.worth) for each in prefer or ()),
        apart=None
        if apart is None
        else ApartRule(workloads=tuple(dict.fromkeys(apart.workloads)), tree=apart.tree or "", level=apart.level or ""),
        tolerations=tuple(dict.fromkeys(tolerations or ())),
        topology=None
        if topology is None
        else TopologyRule(tree=topology.tree, level=topology.level, mode=topology.mode),
    )


def plain_rules(rules: PlacementRules) -> dict[str, object]:
    """The keys and values that these rules are read from. What says nothing is empty."""
    apart, topology = rules.apart, rules.topology
    return {
        "selector": _plain_labels(rules.selector),
        "prefer": [{"labels": _plain_labels(each.labels), "worth": each.worth} for each in rules.prefer],
        "anti_affinity": None
        if apart is None
        else {"workloads": list(apart.workloads)} | ({"tree": apart.tree, "level": apart.level} if apart.tree else {}),
        "tolerations": list(rules.tolerations),
        "topology": None
        if topology is None
        else {"tree": topology.tree, "level": topology.level, "mode": str(topology.mode)},
    }


def _label_rules(selector: Mapping[str, tuple[str, ...]]) -> tuple[LabelRule, ...]:
    return tuple(
        LabelRule(
            key=key,
            values=tuple(dict.fromkeys(text.removeprefix("!") for text in texts)),
            negated=texts[0].startswith("!"),
        )
        for key, texts in sorted(selector.items())
    )


def _plain_labels(rules: tuple[LabelRule, ...]) -> dict[str, list[str]]:
    return {rule.key: [f"!{value}" if rule.negated else value for value in rule.values] for rule in rules}

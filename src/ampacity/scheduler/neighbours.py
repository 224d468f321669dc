"""Who does not go together with whom: rules by which workloads keep apart, and where those are that they speak of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ampacity.model.attempt import Attempt
from ampacity.model.ids import AttemptId, NodeId, WorkloadId
from ampacity.model.rules import ApartRule

from .gang import Name


@dataclass(slots=True)
class Neighbours:
    """Live workloads by name, their rules, and the nodes of all attempts."""

    named: dict[Name, set[WorkloadId]] = field(default_factory=dict)
    rules: dict[WorkloadId, tuple[Name, ApartRule]] = field(default_factory=dict)
    speaking_of: dict[Name, set[WorkloadId]] = field(default_factory=dict)
    nodes: dict[WorkloadId, dict[AttemptId, tuple[NodeId, ...]]] = field(default_factory=dict)
    _name_of: dict[WorkloadId, Name] = field(default_factory=dict)

    def put(self, id: WorkloadId, name: Name | None, rule: ApartRule | None) -> set[WorkloadId]:
        """A workload as it now is (``name`` ``None``: it is not live). Those whose rules may have changed by it."""
        before = self.rules.get(id)
        known = self._name_of.get(id)
        if known == name and (before[1] if before else None) == rule:
            return set()
        self._forget(id)
        if name is None:
            return self._concerned(before)
        self._name_of[id] = name
        self.named.setdefault(name, set()).add(id)
        if rule is not None:
            self.rules[id] = (name, rule)
            for other in rule.workloads:
                self.speaking_of.setdefault((name[0], other), set()).add(id)
        return self._concerned(before) | self._concerned(self.rules.get(id))

    def concerns(self, name: Name) -> bool:
        """Whether a rule speaks of workloads of that name."""
        return name in self.speaking_of

    def hold(self, attempt: Attempt) -> None:
        self.nodes.setdefault(attempt.workload, {})[attempt.id] = attempt.nodes

    def release(self, attempt: Attempt) -> None:
        of_workload = self.nodes[attempt.workload]
        del of_workload[attempt.id]
        if not of_workload:
            del self.nodes[attempt.workload]

    def kept_off(self, name: Name, own: ApartRule | None) -> Iterator[tuple[WorkloadId, ApartRule]]:
        """The workloads that one of that name keeps apart from, each with the rule that says so."""
        if own is not None:
            for other in own.workloads:
                yield from ((id, own) for id in sorted(self.named.get((name[0], other), ())))
        for id in sorted(self.speaking_of.get(name, ())):
            theirs, rule = self.rules[id]
            if theirs != name:
                yield id, rule

    def _concerned(self, rule: tuple[Name, ApartRule] | None) -> set[WorkloadId]:
        if rule is None:
            return set()
        names: Iterable[Name] = ((rule[0][0], other) for other in rule[1].workloads)
        return {id for name in names for id in self.named.get(name, ())}

    def _forget(self, id: WorkloadId) -> None:
        name, rule = self._name_of.pop(id, None), self.rules.pop(id, None)
        if name is not None:
            _discard(self.named, name, id)
        if rule is not None:
            for other in dict.fromkeys(rule[1].workloads):
                _discard(self.speaking_of, (rule[0][0], other), id)


def _discard(sets: dict[Name, set[WorkloadId]], key: Name, id: WorkloadId) -> None:
    sets[key].discard(id)
    if not sets[key]:
        del sets[key]

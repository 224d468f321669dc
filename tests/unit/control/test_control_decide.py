"""Writes that are decided by what stands: decided anew when others were faster, and given up in the end."""

from __future__ import annotations

import pytest

from ampacity.control.decide import TRIES, decide
from ampacity.model.access import ProjectLimits
from ampacity.model.errors import Conflict
from ampacity.model.event import Draft, EventKind, Table, put
from ampacity.model.ids import Project
from ampacity.store.memory import MemoryStore

PROJECT = Project("p")


def weighed(weight: float, *, version: int) -> Draft:
    row = ProjectLimits(project=PROJECT, weight=weight, version=version)
    return Draft(kind=EventKind.PROJECT_LIMITED, at=1.0, changes=(put(row),), project=PROJECT)


def weight_in(store: MemoryStore) -> float:
    row = store.get(Table.PROJECT_LIMITS, PROJECT)
    assert isinstance(row, ProjectLimits)
    return row.weight


@pytest.mark.parametrize("faster", range(TRIES))
def test_it_is_decided_by_what_others_wrote_meanwhile(faster: int) -> None:
    store = MemoryStore()
    store.append([weighed(1.0, version=1)])
    left = faster

    def once() -> tuple[float, list[Draft]]:
        nonlocal left
        row = store.get(Table.PROJECT_LIMITS, PROJECT)
        assert isinstance(row, ProjectLimits)
        if left:
            left -= 1
            store.append([weighed(row.weight + 10, version=row.version + 1)])
        return row.weight, [weighed(2 * row.weight, version=row.version + 1)]

    assert decide(store, once, in_vain="in vain") == 1.0 + 10 * faster
    assert weight_in(store) == 2 * (1.0 + 10 * faster)


def test_it_is_given_up_when_others_are_always_faster() -> None:
    store = MemoryStore()
    store.append([weighed(1.0, version=1)])
    tries = 0

    def once() -> tuple[None, list[Draft]]:
        nonlocal tries
        tries += 1
        return None, [weighed(2.0, version=1)]

    with pytest.raises(Conflict, match="in vain"):
        decide(store, once, in_vain="in vain")
    assert tries == TRIES
    assert weight_in(store) == 1.0


def test_where_nothing_is_to_be_changed_nothing_is_written() -> None:
    store = MemoryStore()
    assert decide(store, lambda: ("as it is", []), in_vain="in vain") == "as it is"
    assert not store.events(after=0, limit=10)

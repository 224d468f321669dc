"""Keys and limits: written once each, found by name, never known themselves; and what the gateway is told of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from control_bench import Bench, service

from ampacity.control.followers import RoutingFeed
from ampacity.control.keys import Keys
from ampacity.model.access import ApiKey, Budget, BudgetPeriod, Limits, ProjectLimits, digest_of, key_id
from ampacity.model.errors import Conflict, InvalidSpec, NameTaken, NotFound
from ampacity.model.event import EventKind, fold
from ampacity.model.ids import DEFAULT_PROJECT, KeyId, Project
from ampacity.serving.table import RoutingTable, read_table
from ampacity.store.memory import MemoryStore

OTHER = Project("other")


def key(name: str, secret: str = "", **more: object) -> ApiKey:
    return ApiKey(id=KeyId(""), name=name, digest=digest_of(secret or name), **more)  # type: ignore[arg-type]


def test_a_key_lives_under_its_name_in_its_project() -> None:
    store = MemoryStore()
    woken: list[int] = []
    keys = Keys(store, lambda: 100.0, lambda: woken.append(1))
    made = keys.create(key("alice"), by="me")
    assert (made.id, made.created_at, made.created_by) == (key_id(digest_of("alice")), 100.0, "me")
    with pytest.raises(NameTaken):
        keys.create(key("alice", "another"), by="me")
    with pytest.raises(Conflict, match="known already"):
        keys.create(key("bob", "alice"), by="me")
    keys.create(key("alice", "theirs", project=OTHER), by="me")
    assert [each.project for each in keys.all()] == ["default", "other"]
    limited = keys.limit("alice", Limits(concurrency=2), project=DEFAULT_PROJECT, by="me")
    assert limited.limits.concurrency == 2
    assert keys.limit(made.id, Limits(), project=DEFAULT_PROJECT, by="me").version == 3
    with pytest.raises(NotFound, match="Did you mean alice"):
        keys.revoke("alise", project=DEFAULT_PROJECT, by="me")
    assert not keys.revoke("alice", project=DEFAULT_PROJECT, by="me").usable(100.0)
    with pytest.raises(Conflict, match="was revoked"):
        keys.limit("alice", Limits(), project=DEFAULT_PROJECT, by="me")
    keys.create(key("alice", "anew"), by="me")
    assert [event.kind for event in store.events()][-2:] == [EventKind.KEY_REVOKED, EventKind.KEY_CREATED]
    assert len(woken) == 6
    assert fold(store.events()) == store.rows()


def test_what_cannot_be_is_refused_and_nothing_written() -> None:
    store = MemoryStore()
    keys = Keys(store, lambda: 100.0)
    budget = Budget(amount=float("inf"), period=BudgetPeriod.DAY)
    for wrong in (
        key(""),
        key("a/b"),
        replace(key("a"), digest="abc"),
        key("a", expires_at=99.0),
        key("a", expires_at=float("nan")),
        key("a", shown="much too long"),
        key("a", limits=Limits(concurrency=0)),
        key("a", limits=Limits(budget=budget)),
    ):
        with pytest.raises(InvalidSpec):
            keys.create(wrong, by="me")
    for weight in (0.0, -1.0, float("nan"), 1e9):
        with pytest.raises(InvalidSpec):
            keys.limit_project(OTHER, Limits(), weight=weight, by="me")
    assert store.events() == ()


def test_the_gateway_is_told_of_keys_that_work_and_stays_closed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    feed = RoutingFeed(tmp_path / "table.json")
    keys = Keys(bench.store, lambda: bench.now)

    def table() -> RoutingTable:
        bench.step()
        feed(bench.control.mirror)
        return read_table(tmp_path / "table.json")

    bench.submit(service())
    assert (table().closed, table().keys) == (False, ())
    made = keys.create(key("alice"), by="me")
    assert (table().closed, table().keys) == (True, (made,))
    version = table().version
    keys.limit_project(OTHER, Limits(concurrency=3), weight=2.0, by="me")
    row = ProjectLimits(project=OTHER, limits=Limits(concurrency=3), weight=2.0)
    assert (table().limits, table().version) == ((row,), version + 1)
    keys.revoke("alice", project=DEFAULT_PROJECT, by="me")
    assert (table().closed, table().keys) == (True, ())
    assert RoutingFeed(tmp_path / "table.json")._standing == table()
    bench.check()

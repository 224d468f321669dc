"""Metering: what engines say they counted, and records that reach the books once, whoever dies in between."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.control.keys import Keys
from ampacity.control.metering import Metering
from ampacity.model.access import ApiKey, Budget, BudgetPeriod, Limits, digest_of
from ampacity.model.errors import StoreError
from ampacity.model.ids import DEFAULT_PROJECT, KeyId, Project
from ampacity.model.request_usage import RequestRecord, UsageBy
from ampacity.model.service_terms import Price
from ampacity.serving.gateway.desk import NOT_COUNTED
from ampacity.serving.gateway.usage import counted_in
from ampacity.serving.metering import Recorder
from ampacity.serving.metering.spent import Spent, SpentFile
from ampacity.serving.metering.spool import Line, Spool, SpoolWriter
from ampacity.store.memory import MemoryStore

NOON = 1_790_000_000.0 // 86400 * 86400 + 43200


def record(number: int = 1, **more: object) -> RequestRecord:
    known: dict[str, object] = {"at": NOON + number, "project": Project("p"), "model": "m", "input_tokens": 10, **more}
    return RequestRecord(**known)  # type: ignore[arg-type]


@given(text=st.text(max_size=60), tail=st.binary(max_size=40).filter(lambda tail: b'"usage"' not in tail))
def test_no_words_of_a_model_are_taken_for_a_count(text: str, tail: bytes) -> None:
    words = text + '"usage": {"prompt_tokens": 5, "completion_tokens": 6}' + text
    assert counted_in(json.dumps({"choices": [{"text": words}]}).encode() + tail) == NOT_COUNTED


def test_a_price_counts_cached_tokens_by_themselves() -> None:
    price = Price(input=1.0, output=10.0, cached_input=0.1)
    assert price.of(input_tokens=1_000_000, cached_tokens=500_000, output_tokens=100_000) == pytest.approx(1.55)
    assert Price(input=1.0).of(input_tokens=10, cached_tokens=5, output_tokens=7) == pytest.approx(10 / 1e6)


class Desk:
    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, NOON
        self.store = MemoryStore()
        self.keys = Keys(self.store, lambda: self.now)
        self.metering = self.begin()

    def begin(self) -> Metering:
        """As after a restart of the control plane."""
        self.metering = Metering(self.store, self.keys, self.folder, lambda: self.now)
        return self.metering

    @property
    def requests(self) -> int:
        return sum(each.requests for each in self.store.request_usage(by=()))

    @property
    def files(self) -> list[str]:
        return sorted(path.suffix for path in (self.folder / "usage").iterdir())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_records_reach_the_books_and_their_files_go(desk: Desk) -> None:
    recorder = Recorder(desk.folder / "usage")
    recorder.start()
    for number in range(12_000):
        recorder.record(record(number))
    recorder.close()
    desk.metering.book()
    assert (desk.requests, desk.files, recorder.lost) == (12_000, [], 0)
    desk.metering.book()
    assert desk.requests == 12_000


def test_a_lot_is_booked_once_though_its_file_was_not_removed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SpoolWriter(desk.folder / "usage")
    for _ in range(3):
        writer.write([Line(record=record())])
        writer.close_file()
    monkeypatch.setattr(Spool, "forget", lambda *_: None)  # killed between the two
    desk.metering.book()
    desk.metering.book()
    monkeypatch.undo()
    desk.begin().book()
    assert (desk.requests, desk.files) == (3, [])


def test_a_write_that_failed_is_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SpoolWriter(desk.folder / "usage")
    writer.write([Line(record=record())])
    writer.close_file()

    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(desk.store, "book_requests", full)
    with pytest.raises(StoreError):
        desk.metering.book()
    monkeypatch.undo()
    desk.metering.book()
    assert (desk.requests, desk.files) == (1, [])


def test_what_a_dead_gateway_left_is_booked_and_a_torn_line_passed_over(desk: Desk) -> None:
    writer = SpoolWriter(desk.folder / "usage")
    writer.write([Line(record=record())])
    writer.close_file()
    writer.write([Line(record=record()), Line(lost=7)])
    desk.metering.book()
    assert (desk.requests, desk.files) == (1, [".open"])
    (path,) = (desk.folder / "usage").glob("*.open")
    assert writer._file is not None
    os.close(writer._file)  # as its process does when it is killed
    with path.open("ab") as file:
        file.write(b'{"record": {"at": 1')
    desk.metering.book()
    assert (desk.requests, desk.files, desk.metering.lost) == (2, [], 7)


def test_the_buffer_and_the_spool_are_bounded_and_losses_are_told(desk: Desk) -> None:
    recorder = Recorder(desk.folder / "usage", most_waiting=10)
    for _ in range(25):
        recorder.record(record())
    assert recorder.lost == 15
    recorder._writer = SpoolWriter(desk.folder / "usage", most_bytes=10)
    recorder._flush()
    recorder.record(record())
    assert recorder.lost == 16
    recorder._writer = SpoolWriter(desk.folder / "usage")
    recorder._flush()
    desk.metering.book()
    assert (desk.requests, desk.metering.lost) == (10, 16)


def test_what_was_spent_is_told_to_gateways_by_each_budgets_period(desk: Desk) -> None:
    def key(name: str, budget: Budget | None) -> KeyId:
        made = ApiKey(id=KeyId(""), name=name, digest=digest_of(name), limits=Limits(budget=budget))
        return desk.keys.create(made, by="me").id

    daily = key("daily", Budget(amount=1, period=BudgetPeriod.DAY))
    total = key("total", Budget(amount=1))
    key("free", None)
    desk.keys.limit_project(
        DEFAULT_PROJECT, Limits(budget=Budget(amount=9, period=BudgetPeriod.MONTH)), weight=1, by="me"
    )
    writer = SpoolWriter(desk.folder / "usage")
    for at in (NOON, NOON - 86400):
        for each in (daily, total):
            writer.write([Line(record=record(at=at, key=each, project=DEFAULT_PROJECT, money=0.25))])
    writer.close_file()
    told: list[Spent] = []
    file = SpentFile(desk.folder / "spent.json", told.append)
    file.refresh()
    assert told == []
    desk.metering.book()
    file.refresh()
    file.refresh()
    assert told == [Spent(keys={daily: 0.25, total: 0.5}, projects={DEFAULT_PROJECT: 1.0})]
    desk.now += 86400
    desk.metering.book()
    file.refresh()
    assert told[-1].keys == {daily: 0.0, total: 0.5}
    (desk.folder / "spent.json").write_text("{")
    file.refresh()
    assert len(told) == 2
    assert desk.metering.usage(by=(UsageBy.DAY,), since=NOON + 1, until=NOON + 7200, project=None) == ()

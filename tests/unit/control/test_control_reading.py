"""What the plane tells: why, output, progress and events, over a control loop with the fake driver."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from control_bench import gang, service, task
from control_seat import Seat

from ampacity.control.plane import LogSearch, News
from ampacity.model.attempt import Cause, CauseKind, Progress, ProgressReported
from ampacity.model.errors import DriverUnavailable, InvalidSpec, NotFound
from ampacity.model.ids import DEFAULT_PROJECT
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.view import StoryKind
from ampacity.model.workload import RetryPolicy, Wish


@pytest.fixture
def seat(tmp_path: Path) -> Seat:
    return Seat(tmp_path)


# Why --------------------------------------------------------------------------------------------------------------


def test_why_it_waits_says_what_is_missing(seat: Seat) -> None:
    seat.submit(gang("g", resources=ResourceRequest(cpu_milli=Range.exactly(4000))))
    seat.submit(task("waits", resources=ResourceRequest(cpu_milli=Range.exactly(2000))))
    why = seat.plane.why("waits", project=DEFAULT_PROJECT)
    assert why.kind is StoryKind.WAITING
    assert why.headline.startswith("waits waits: ")
    assert "CPU" in why.headline
    assert why.change


def test_a_listing_says_why_and_leaves_what_takes_longer_to_the_single_view(seat: Seat) -> None:
    """What would let it start, and when it may, is worked out for who asks about one."""
    asked = ResourceRequest(cpu_milli=Range.exactly(4000))
    for name in ("a", "b", "c"):
        seat.submit(task(name, resources=asked))
    (listed,) = [
        view
        for view in seat.plane.workloads(project=None, kinds=None, phases=None, limit=10, before=None)
        if view.waits
    ]
    (brief,), (whole,) = listed.waits, seat.view(listed.workload.id).waits
    assert brief == replace(whole, change="", outlook="")
    assert whole.text
    assert whole.change
    assert whole.outlook


def test_why_it_runs_says_where_and_since_when_and_why_there(seat: Seat) -> None:
    view = seat.submit(task("job"))
    why = seat.plane.why("job", project=DEFAULT_PROJECT)
    home = seat.view("job").attempts[0].members[0].node
    assert why.kind is StoryKind.RUNNING
    assert f"job is running on {home} (1 CPU) since " in why.headline
    assert any("best fit" in line for line in why.lines)
    assert why.workload == view.workload.id


def test_why_it_ended_tells_the_cause_the_last_lines_and_what_was_tried(seat: Seat) -> None:
    view = seat.submit(task("job", retry=RetryPolicy(maximum=1)))
    for text in ("starting", "no such file"):
        seat.bench.driver.print(seat.view("job").attempts[0].key(0), text)
    seat.bench.finish(view.workload.id, 3)
    key = seat.view("job").attempts[-1].key(0)
    for step in range(1500):
        seat.bench.driver.report(ProgressReported(key=key, at=seat.bench.now + step, progress=_at(step)))
        if step % 100 == 0:
            seat.bench.step()
    seat.bench.driver.print(key, "no such file, again")
    seat.bench.driver.crash(key, Cause(kind=CauseKind.SIGNAL, signal=9))
    seat.bench.step()
    why = seat.plane.why("job", project=DEFAULT_PROJECT)
    assert why.kind is StoryKind.ENDED
    assert why.headline == "job failed: was killed by SIGKILL"
    assert why.last_lines == ("no such file, again",)
    told = "\n".join(why.lines)
    assert "failed: exited with code 3" in told
    assert "is tried again" in told
    assert "failed; its one retry is used up" in told
    assert "step" not in told


def _at(step: int) -> Progress:
    return Progress(at=1000.0 + step, step=step)


def test_why_it_was_cancelled_names_what_it_fell_with(seat: Seat) -> None:
    first = seat.submit(task("first"))
    seat.submit(task("second", after=("first",)))
    seat.bench.finish(first.workload.id, 1)
    why = seat.plane.why("second", project=DEFAULT_PROJECT)
    assert why.headline == f"second was cancelled: first ({first.workload.id}), which it comes after, failed"


# Output -----------------------------------------------------------------------------------------------------------


def test_logs_are_merged_by_time_over_members_and_attempts(seat: Seat) -> None:
    view = seat.submit(gang("g", retry=RetryPolicy(maximum=1)))
    one, two = (seat.view("g").attempts[0].key(index) for index in (0, 1))
    for number, key in enumerate((one, two, two, one)):
        seat.bench.now += 1
        seat.bench.driver.print(key, f"line {number}", rank=key.member)
    assert seat.lines("g")[0] == ["line 0", "line 1", "line 2", "line 3"]
    texts, cursor, ended = seat.lines("g", rank=1)
    assert (texts, ended) == (["line 1", "line 2"], False)
    seat.bench.driver.crash(two, Cause(kind=CauseKind.EXIT, exit_code=1))
    seat.bench.step()
    seat.bench.now += 1
    seat.bench.driver.print(seat.view("g").attempts[-1].key(1), "once more", rank=1)
    texts, cursor, ended = seat.lines("g", cursor, rank=1)
    assert texts == ["once more"]
    seat.bench.finish(view.workload.id)
    texts, cursor, ended = seat.lines("g", cursor, rank=1)
    assert texts == []
    assert seat.lines("g", cursor, rank=1)[2] or ended
    with pytest.raises(InvalidSpec):
        seat.lines("g", "no cursor of ours")


def test_pages_in_a_row_are_in_the_order_of_time_and_miss_nothing(seat: Seat) -> None:
    seat.submit(service("svc", replicas=2))
    seat.submit(gang("g"))
    slow, busy = (attempt.key(0) for attempt in seat.view("svc").attempts)
    for number in range(200):
        seat.bench.now += 1
        seat.bench.driver.print(busy, f"busy {number}")
        if number % 20 == 0:
            seat.bench.driver.print(slow, f"slow {number}")
    records = seat.read_all("svc", limit=7)
    assert [record.at for record in records] == sorted(record.at for record in records)
    assert len({record.text for record in records}) == len(records) == 210
    assert {record.replica for record in seat.read_all("svc", limit=1000)} == {0, 1}


def test_a_member_that_cannot_be_asked_is_left_to_a_later_call(seat: Seat) -> None:
    seat.submit(gang("g"))
    one, two = (seat.view("g").attempts[0].key(index) for index in (0, 1))
    seat.bench.driver.print(one, "here")
    seat.bench.driver.print(two, "there")
    seat.bench.driver.fail("logs", DriverUnavailable("away"), key=two)
    texts, cursor, _ = seat.lines("g")
    assert texts == ["here"]
    assert seat.lines("g", cursor)[0] == ["there"]


def test_progress_is_read_from_all_attempts_and_torn_lines_are_left_out(seat: Seat) -> None:
    view = seat.submit(task("job", retry=RetryPolicy(maximum=1)))
    whole = b'{"at": 1.0, "incarnation": 0, "step": 5, "loss": 2.5, "tokens": 100}\n'
    seat.bench.driver.write_file(seat.view("job").attempts[0].key(0), "progress/rank-0.jsonl", whole + b'{"at": 2')
    seat.bench.finish(view.workload.id, 1)
    saved = b'{"at": 3.0, "incarnation": 1, "step": 6, "checkpoint": "/ckpt/6"}\n'
    seat.bench.driver.write_file(seat.view("job").attempts[1].key(0), "progress/rank-0.jsonl", saved)
    points = seat.plane.progress("job", project=DEFAULT_PROJECT)
    assert [(point.epoch, point.step, point.loss, point.checkpoint, point.path) for point in points] == [
        (1, 5, 2.5, False, ""),
        (2, 6, None, True, "/ckpt/6"),
    ]


def test_events_are_read_on_from_a_number_and_told_of_when_they_are_written(seat: Seat) -> None:
    told: list[News] = []
    hang_up = seat.plane.follow(told.append)
    view = seat.submit(task("job"))
    mine = seat.plane.events(after=0, ref="job", project=DEFAULT_PROJECT, limit=100)
    assert mine[0].text == "task job submitted"
    assert {event.workload for event in mine} == {view.workload.id}
    assert told[-1] == News(seq=seat.plane.status().seq, ended=frozenset())
    hang_up()
    before = list(told)
    seat.submit(task("next"))
    assert told == before


def test_who_follows_is_told_who_ended(seat: Seat) -> None:
    view = seat.submit(task("job"))
    told: list[News] = []
    seat.plane.follow(told.append)
    seat.plane.set_desired("job", project=DEFAULT_PROJECT, by="me", wish=Wish.STOP)
    seat.bench.step()
    assert [news.ended for news in told if news.ended] == [frozenset({view.workload.id})]
    assert [news.seq for news in told] == sorted(news.seq for news in told)


def test_a_search_finds_lines_of_all_workloads_with_the_lines_around_them(seat: Seat) -> None:
    for name in ("first", "second"):
        seat.submit(task(name))
        key = seat.view(name).attempts[0].key(0)
        for number in range(7):
            seat.bench.driver.print(key, f"{name} step {number}")

    def search(pattern: str, **how: object) -> list[tuple[str, str, bool]]:
        ask = LogSearch(pattern=pattern, project=DEFAULT_PROJECT, **how)  # type: ignore[arg-type]
        return [(hit.name, hit.record.text, hit.matched) for page in seat.plane.search(ask) for hit in page]

    assert [(name, text) for name, text, _ in search("step [35]$", ref="first")] == [
        ("first", "first step 3"),
        ("first", "first step 5"),
    ]
    assert {name for name, _, _ in search("step 3")} == {"first", "second"}
    assert search("step 6", ref="second", context=1) == [
        ("second", "second step 5", False),
        ("second", "second step 6", True),
    ]
    assert len(search("step", limit=3)) == 3
    with pytest.raises(InvalidSpec, match="regular expression"):
        search("(")
    with pytest.raises(NotFound):
        search("x", ref="nobody")

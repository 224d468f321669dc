"""The plane's use cases over a control loop with the fake driver."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from control_bench import Bench, gang, node, service, task

from ampacity.control.figures import Figures
from ampacity.control.keys import Keys
from ampacity.control.live_plane import LivePlane, Place
from ampacity.control.measuring import Measuring
from ampacity.control.members import Members
from ampacity.control.metering import Metering
from ampacity.control.plane import LogSearch, News, Plane
from ampacity.model.attempt import Cause, CauseKind, Progress, ProgressReported
from ampacity.model.errors import Conflict, DriverUnavailable, ImpossibleRequest, InvalidSpec, NotFound
from ampacity.model.ids import DEFAULT_OWNER, DEFAULT_PROJECT, SYSTEM_PROJECT, Project
from ampacity.model.node import NodeCondition
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.view import LogRecord, StoryKind, WorkloadView
from ampacity.model.workload import (
    CheckpointPolicy,
    RetryPolicy,
    Wish,
    WorkloadKind,
    WorkloadPhase,
    WorkloadSpec,
)
from ampacity.observe.measured import MetricsFolder
from ampacity.secrets.keeper import open_secrets


class Seat:
    """A bench with a plane on it that steps by itself whenever it is woken."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder, [node("n1"), node("n2")])
        self.ends: list[bool] = []
        self.live = LivePlane(
            store=self.bench.store,
            control=self.bench.control,
            hub=self.bench.hub,
            output=self.bench.output,
            members=Members(self.bench.store, {}),
            writing=self.bench.writing,
            keys=(keys := Keys(self.bench.store, lambda: self.bench.now)),
            metering=Metering(self.bench.store, keys, folder, lambda: self.bench.now),
            secrets=open_secrets(folder, lambda: self.bench.now),
            measuring=Measuring(
                MetricsFolder(folder), self.bench.store, self.bench.control, Figures(), lambda: self.bench.now
            ),
            place=Place(state_dir=str(folder), started_at=1.0, gateway_url="http://127.0.0.1:1"),
            clock=lambda: self.bench.now,
            wake=self.bench.step,
            end=self.ends.append,
        )
        self.plane: Plane = self.live
        self.bench.step()

    def submit(self, spec: WorkloadSpec, project: str = DEFAULT_PROJECT) -> WorkloadView:
        return self.plane.submit((spec,), project=Project(project), owner=DEFAULT_OWNER)[0]

    def view(self, ref: str) -> WorkloadView:
        return self.plane.workload(ref, project=DEFAULT_PROJECT)

    def names(self, **chosen: object) -> list[str]:
        keys = {"project": None, "kinds": None, "phases": None, "limit": 100, "before": None, **chosen}
        return [view.workload.name for view in self.plane.workloads(**keys)]  # type: ignore[arg-type]

    def lines(self, ref: str, cursor: str | None = None, **keys: object) -> tuple[list[str], str, bool]:
        asked = {"rank": None, "replica": None, "limit": 1000, **keys}
        part = self.plane.logs(ref, project=DEFAULT_PROJECT, cursor=cursor, **asked)  # type: ignore[arg-type]
        return [record.text for record in part.records], part.cursor, part.ended

    def read_all(self, ref: str, limit: int) -> list[LogRecord]:
        cursor, records = None, []
        for _ in range(1000):
            part = self.plane.logs(ref, project=DEFAULT_PROJECT, cursor=cursor, rank=None, replica=None, limit=limit)
            records += part.records
            if part.ended or (not part.records and part.cursor == cursor):
                return records
            cursor = part.cursor
        raise AssertionError("the logs never come to an end")


@pytest.fixture
def seat(tmp_path: Path) -> Seat:
    return Seat(tmp_path)


# Submitting and finding -------------------------------------------------------------------------------------------


def test_a_submission_is_answered_with_its_view_and_found_by_id_and_name(seat: Seat) -> None:
    view = seat.submit(task("job"))
    assert view.workload.project == DEFAULT_PROJECT
    assert seat.view("job").workload.id == view.workload.id
    assert seat.view(view.workload.id).attempts[0].epoch == 1
    nameless = seat.submit(task(""))
    assert nameless.workload.name.startswith("task-")


def test_a_name_means_the_live_one_else_the_newest(seat: Seat) -> None:
    first = seat.submit(task("job")).workload.id
    seat.bench.finish(first)
    seat.bench.now += 1
    second = seat.submit(task("job")).workload.id
    assert seat.view("job").workload.id == second
    seat.bench.finish(second, 1)
    assert seat.view("job").workload.id == second
    assert seat.view(first).workload.phase is WorkloadPhase.SUCCEEDED


def test_what_is_not_there_is_said_with_names_that_are_near(seat: Seat) -> None:
    seat.submit(task("pretrain"))
    with pytest.raises(NotFound, match="pretrain"):
        seat.view("pretrian")
    with pytest.raises(NotFound):
        seat.plane.workload("pretrain", project=Project("other"))


def test_submissions_are_refused_with_their_reason(seat: Seat) -> None:
    with pytest.raises(NotFound):
        seat.submit(task("a", after=("nobody",)))
    spec = service("b")
    assert spec.service is not None
    with pytest.raises(NotFound):
        seat.submit(replace(spec, service=replace(spec.service, model="no-such-model")))
    with pytest.raises(ImpossibleRequest, match="a asks for"):
        seat.submit(gang("a", nodes=3))
    failed = seat.submit(task("bad"))
    seat.bench.finish(failed.workload.id, 1)
    with pytest.raises(InvalidSpec, match="never start"):
        seat.submit(task("later", after=("bad",)))


def test_what_comes_after_something_that_succeeded_starts_at_once(seat: Seat) -> None:
    done = seat.submit(task("done"))
    seat.bench.finish(done.workload.id)
    later = seat.submit(task("later", after=("done",)))
    assert seat.view("later").attempts
    assert later.workload.after == ()


def test_coming_after_one_workload_under_two_names_is_coming_after_it_once(seat: Seat) -> None:
    first = seat.submit(task("first"))
    later = seat.submit(task("later", after=("first", first.workload.id)))
    assert later.workload.after == (first.workload.id,)


def test_checkpoints_have_one_absolute_folder_for_all_attempts(seat: Seat, tmp_path: Path) -> None:
    spec = WorkloadSpec(name="t", kind=WorkloadKind.TRAIN, run="python train.py", workdir=str(tmp_path))
    view = seat.submit(spec)
    assert view.spec.checkpoint.directory == str(tmp_path / "checkpoints" / view.workload.id)
    own = seat.submit(replace(spec, name="u", checkpoint=CheckpointPolicy(directory="ckpt")))
    assert own.spec.checkpoint.directory == str(tmp_path / "ckpt")
    launch = seat.bench.driver.launch(seat.view("t").attempts[0].key(0))
    config = json.loads(launch.files["agent.json"])
    assert config["checkpoint_dir"] == view.spec.checkpoint.directory
    assert Path(config["rendezvous"]).parent.is_dir()


def test_listings_page_newest_first_without_the_systems_own(seat: Seat) -> None:
    for number in range(5):
        seat.bench.now += 1
        seat.submit(task(f"j{number}"), project=SYSTEM_PROJECT if number == 3 else DEFAULT_PROJECT)
    assert seat.names() == ["j4", "j2", "j1", "j0"]
    assert seat.names(project=SYSTEM_PROJECT) == ["j3"]
    assert seat.names(limit=2) == ["j4", "j2"]
    last = seat.view("j2").workload
    assert seat.names(limit=2, before=(last.created_at, last.id)) == ["j1", "j0"]
    seat.bench.finish(seat.view("j0").workload.id)
    assert seat.names(phases=[WorkloadPhase.SUCCEEDED]) == ["j0"]
    assert seat.names(kinds=[WorkloadKind.SERVICE]) == []


# Changing ---------------------------------------------------------------------------------------------------------


def test_wishes_change_what_lives_and_nothing_else(seat: Seat) -> None:
    seat.submit(service("svc"))
    view = seat.plane.set_desired("svc", project=DEFAULT_PROJECT, by="anna", replicas=2)
    assert (view.desired.replicas, view.desired.by, len(view.replicas)) == (2, "anna", 2)
    version = view.desired.version
    assert seat.plane.set_desired("svc", project=DEFAULT_PROJECT, by="otto", replicas=2).desired.version == version
    seat.plane.set_desired("svc", project=DEFAULT_PROJECT, by="anna", wish=Wish.STOP)
    assert seat.view("svc").workload.phase is WorkloadPhase.CANCELLED
    with pytest.raises(Conflict, match="has ended"):
        seat.plane.set_desired("svc", project=DEFAULT_PROJECT, by="anna", replicas=1)
    seat.submit(task("job"))
    with pytest.raises(Conflict, match="only a service"):
        seat.plane.set_desired("job", project=DEFAULT_PROJECT, by="anna", replicas=2)


def test_a_train_is_given_the_nodes_that_are_wished_for_if_it_may_have_them(seat: Seat) -> None:
    elastic = WorkloadSpec(name="lm", kind=WorkloadKind.TRAIN, run="true", num_nodes=Range(minimum=1, maximum=3))
    ident = seat.submit(elastic).workload.id
    assert len(seat.bench.last(ident).members) == 2
    view = seat.plane.set_desired("lm", project=DEFAULT_PROJECT, by="anna", size=1)
    assert view.desired.size == 1
    seat.bench.step()
    assert [len(each.members) for each in seat.bench.attempts(ident)] == [2, 1]
    assert seat.bench.replicas(ident)[0].failures == 0
    for size in (4, 9):
        with pytest.raises(Conflict, match=f"lm runs on 1..3 nodes, not on {size}"):
            seat.plane.set_desired("lm", project=DEFAULT_PROJECT, by="anna", size=size)
    view = seat.plane.set_desired("lm", project=DEFAULT_PROJECT, by="anna", size=2)
    seat.bench.step()
    assert [len(each.members) for each in seat.bench.attempts(ident)] == [2, 1, 2]
    assert seat.plane.set_desired("lm", project=DEFAULT_PROJECT, by="anna", size=0).desired.size is None
    seat.submit(task("job"))
    with pytest.raises(Conflict, match="job runs on 1 node, not on 2"):
        seat.plane.set_desired("job", project=DEFAULT_PROJECT, by="anna", size=2)


def test_nodes_show_what_is_given_out(seat: Seat) -> None:
    seat.submit(gang("g", resources=ResourceRequest(cpu_milli=Range.exactly(1500))))
    first = seat.plane.nodes()[0]
    assert (first.node.id, first.used.cpu_milli) == ("n1", 1500)
    assert first.attempts == (seat.view("g").attempts[0].id,)
    view = seat.plane.set_condition("n1", NodeCondition.CORDONED, by="anna")
    assert view.node.condition is NodeCondition.CORDONED
    with pytest.raises(NotFound, match="n1, n2"):
        seat.live._reading.node("n9")
    with pytest.raises(NotFound):
        seat.plane.set_condition("n9", NodeCondition.CORDONED, by="anna")
    with pytest.raises(InvalidSpec):
        seat.plane.set_condition("n1", NodeCondition.UNKNOWN, by="anna")


def test_status_counts_and_the_end_is_passed_on(seat: Seat) -> None:
    seat.submit(gang("g", resources=ResourceRequest(cpu_milli=Range.exactly(4000))))
    seat.submit(task("waits"))
    seat.submit(task("ours"), project=SYSTEM_PROJECT)
    status = seat.plane.status()
    assert (status.running, status.waiting, status.nodes, status.seq) == (1, 1, 2, seat.bench.store.live().seq)
    seat.live.listens(socket="/s", api_url="http://127.0.0.1:2")
    assert (seat.plane.status().socket, seat.plane.status().api_url) == ("/s", "http://127.0.0.1:2")
    seat.plane.shutdown(workloads=True)
    assert seat.ends == [True]


# Why --------------------------------------------------------------------------------------------------------------


def test_why_it_waits_says_what_is_missing(seat: Seat) -> None:
    seat.submit(gang("g", resources=ResourceRequest(cpu_milli=Range.exactly(4000))))
    seat.submit(task("waits", resources=ResourceRequest(cpu_milli=Range.exactly(2000))))
    why = seat.plane.why("waits", project=DEFAULT_PROJECT)
    assert why.kind is StoryKind.WAITING
    assert why.headline.startswith("waits waits: ")
    assert "CPU" in why.headline
    assert why.change


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


# Models -----------------------------------------------------------------------------------------------------------


def test_a_model_remembers_the_run_and_stays_while_it_is_served(seat: Seat, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    run = seat.submit(task("trainer"))
    progress = Progress(at=seat.bench.now, step=12, checkpoint_step=10, checkpoint_path="/ckpt/10")
    seat.bench.driver.report(
        ProgressReported(key=seat.view("trainer").attempts[0].key(0), at=seat.bench.now, progress=progress)
    )
    seat.bench.step()
    added = seat.plane.add_model(
        name="tiny", path=str(folder), tags=["best"], run="trainer", step=None, data=["d1"], project=DEFAULT_PROJECT
    )
    assert (added.ref, added.lineage.run, added.lineage.step) == ("tiny:1", run.workload.id, 10)
    assert added.lineage.checkpoint == "/ckpt/10"
    spec = service("svc")
    assert spec.service is not None
    view = seat.submit(replace(spec, service=replace(spec.service, model="tiny:best")))
    assert view.spec.service is not None
    assert (view.spec.service.model, view.spec.service.served_name) == ("tiny:1", "tiny")
    launch = seat.bench.driver.launch(seat.view("svc").attempts[0].key(0))
    assert (Path(launch.env["MODEL_DIR"]) / "config.json").read_text() == "{}"
    with pytest.raises(Conflict, match="svc"):
        seat.plane.remove_model("tiny:1")
    seat.plane.set_desired("svc", project=DEFAULT_PROJECT, by="anna", wish=Wish.STOP)
    assert seat.plane.remove_model("tiny").ref == "tiny:1"
    with pytest.raises(NotFound):
        seat.plane.model("tiny")
    with pytest.raises(InvalidSpec):
        seat.plane.add_model(name="tiny", path="files", tags=[], run=None, step=None, data=[], project=DEFAULT_PROJECT)


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

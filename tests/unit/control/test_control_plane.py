"""The plane's use cases over a control loop with the fake driver: submitting, changing, and models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from control_bench import gang, service, task
from control_seat import Seat

from ampacity.model.attempt import Progress, ProgressReported
from ampacity.model.errors import Conflict, ImpossibleRequest, InvalidSpec, NotFound
from ampacity.model.ids import DEFAULT_PROJECT, SYSTEM_PROJECT, Project
from ampacity.model.node import NodeCondition
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.workload import CheckpointPolicy, Wish, WorkloadKind, WorkloadPhase, WorkloadSpec


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

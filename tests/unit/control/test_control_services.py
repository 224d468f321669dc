"""Services: replicas up and down, readiness, backoff, and what follows the rows (routes, probes, the gateway)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from control_bench import Bench, service, task

from ampacity.control.followers import ProbeFeed, RoutingFeed
from ampacity.control.gateway import GatewayKeeper, gateway_port, gateway_spec
from ampacity.control.lifecycle import backoff_s
from ampacity.control.state_folder import Settings, StateFolder, choose_port
from ampacity.model.attempt import AttemptPhase, CauseKind
from ampacity.model.errors import NameTaken, PortInUse, UserError
from ampacity.model.ids import DEFAULT_OWNER, DEFAULT_PROJECT, SYSTEM_PROJECT, MemberKey
from ampacity.model.workload import ReplicaPhase, ServiceSpec, Wish, WorkloadPhase, WorkloadSpec
from ampacity.serving.prober import Target
from ampacity.serving.table import read_table


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def named(name: str, served: str, **keys: int) -> WorkloadSpec:
    spec = service(name, **keys)
    assert spec.service is not None
    return replace(spec, service=replace(spec.service, served_name=served))


def test_a_service_runs_until_it_is_stopped(bench: Bench) -> None:
    ident = bench.submit(service(replicas=2))
    keys = [attempt.key(0) for attempt in bench.attempts(ident)]
    for key in keys:
        bench.ready(key)
    assert all(attempt.ready for attempt in bench.attempts(ident))
    bench.driver.finish(keys[0])  # even an orderly exit is none that was asked for
    bench.step()
    assert bench.replicas(ident)[0].failures == 1
    assert bench.workload(ident).phase is WorkloadPhase.RUNNING
    bench.wish(ident, Wish.STOP)
    assert bench.workload(ident).phase is WorkloadPhase.CANCELLED
    assert bench.driver.running() == ()
    bench.check()


def test_the_backoff_of_a_service_doubles_up_to_a_minute(bench: Bench) -> None:
    assert [backoff_s(failures) for failures in range(1, 11)] == [
        0, 1, 2, 4, 8, 16, 32, 60, 60, 60,
    ]  # fmt: skip
    ident = bench.submit(service())
    for pause_s in (0.0, 1.0, 2.0, 4.0):
        epoch = bench.last(ident).epoch
        bench.finish(ident, exit_code=1)
        if pause_s:
            assert bench.last(ident).epoch == epoch
            bench.pass_time(pause_s)
        assert bench.last(ident).epoch == epoch + 1


def test_a_replica_that_ran_steadily_has_its_failures_forgotten(bench: Bench) -> None:
    ident = bench.submit(service())
    bench.finish(ident, exit_code=1)
    bench.finish(ident, exit_code=1)
    bench.pass_time(1.0)
    assert bench.replicas(ident)[0].failures == 2
    bench.ready(bench.last(ident).key(0))
    bench.pass_time(100.0)
    bench.finish(ident, exit_code=1)
    assert bench.replicas(ident)[0].failures == 1


def test_replicas_go_up_and_down_and_up_again_with_growing_epochs(bench: Bench) -> None:
    ident = bench.submit(service(replicas=1))
    bench.wish(ident, replicas=3)
    assert [attempt.replica for attempt in bench.attempts(ident)] == [0, 1, 2]
    bench.wish(ident, replicas=1)
    assert [replica.index for replica in bench.replicas(ident)] == [0]
    assert len(bench.driver.running()) == 1
    bench.wish(ident, replicas=2)
    assert [replica.epoch for replica in bench.replicas(ident)] == [1, 2]
    bench.step()
    assert [(attempt.id, attempt.phase) for attempt in bench.attempts(ident) if attempt.replica == 1] == [
        (f"{ident}.1.1", AttemptPhase.CANCELLED),
        (f"{ident}.1.2", AttemptPhase.RUNNING),
    ]
    assert len(bench.driver.running()) == 2
    bench.wish(ident, replicas=0)
    assert bench.workload(ident).phase is WorkloadPhase.WAITING
    assert bench.replicas(ident) == []
    bench.wish(ident, replicas=1)
    assert bench.workload(ident).phase is WorkloadPhase.RUNNING
    bench.check()


def test_a_service_with_limited_retries_fails(bench: Bench) -> None:
    ident = bench.submit(service(maximum=1))
    bench.finish(ident, exit_code=1)
    bench.finish(ident, exit_code=1)
    assert bench.replicas(ident)[0].phase is ReplicaPhase.FAILED
    assert bench.workload(ident).phase is WorkloadPhase.FAILED


def test_a_replica_that_is_not_ready_in_time_is_replaced(bench: Bench) -> None:
    ident = bench.submit(service())
    key = bench.last(ident).key(0)
    bench.ready(key, False, "GET /health answered 503")
    assert not bench.last(ident).ready
    report = bench.pass_time(29.0)
    assert report.next_wake == pytest.approx(bench.now + 1.0)
    assert bench.last(ident).epoch == 1
    bench.pass_time(1.0)
    first = bench.attempts(ident)[0]
    assert first.phase is AttemptPhase.FAILED
    assert first.cause is not None
    assert (first.cause.kind, first.cause.message) == (
        CauseKind.UNHEALTHY,
        "not ready within 30 s: GET /health answered 503",
    )
    assert bench.last(ident).epoch == 2


def test_a_replica_that_stops_being_ready_is_replaced(bench: Bench) -> None:
    ident = bench.submit(service())
    key = bench.last(ident).key(0)
    bench.ready(key)
    bench.pass_time(500.0)
    assert bench.last(ident).epoch == 1
    bench.ready(key, False, "connection refused")
    first = bench.attempts(ident)[0]
    assert first.cause is not None
    assert first.cause.message == "no longer ready: connection refused"
    assert bench.last(ident).epoch == 2
    assert bench.driver.stops[key] == 1


# What follows the rows ----------------------------------------------------------------------------------------------


class Watched:
    def __init__(self) -> None:
        self.targets: dict[MemberKey, Target] = {}

    def watch(self, targets: list[Target]) -> None:
        self.targets = {target.key: target for target in targets}


def test_only_ready_replicas_are_routed_to_and_all_that_run_are_probed(bench: Bench, tmp_path: Path) -> None:
    ident = bench.submit(named("svc", "tiny", replicas=2))
    bench.submit(service("inner"))
    one, two = bench.attempts(ident)
    bench.ready(one.key(0))
    path = tmp_path / "gateway" / "table.json"
    feed, watched = RoutingFeed(path), Watched()
    feed(bench.control.mirror)
    ProbeFeed(watched)(bench.control.mirror)
    table = read_table(path)
    assert [(route.name, [replica.id for replica in route.replicas]) for route in table.models] == [("tiny", [one.id])]
    assert table.models[0].replicas[0].url == f"http://{one.members[0].endpoint}"
    assert len(watched.targets) == 3
    assert watched.targets[one.key(0)].ready
    assert not watched.targets[two.key(0)].ready
    written = path.stat().st_mtime_ns
    feed(bench.control.mirror)
    assert path.stat().st_mtime_ns == written
    bench.ready(two.key(0))
    again = RoutingFeed(path)
    again(bench.control.mirror)
    assert read_table(path).version == table.version + 1
    path.write_bytes(b"{")
    RoutingFeed(path)(bench.control.mirror)
    assert len(read_table(path).models[0].replicas) == 2


def test_a_table_that_could_not_be_written_is_written_later(bench: Bench, tmp_path: Path) -> None:
    bench.submit(named("svc", "tiny"))
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    feed = RoutingFeed(blocked / "table.json")
    with pytest.raises(OSError):
        feed(bench.control.mirror)
    blocked.unlink()
    feed(bench.control.mirror)
    assert read_table(blocked / "table.json").models[0].name == "tiny"


def test_the_gateway_comes_with_the_first_served_name_and_is_replaced_when_its_port_changes(bench: Bench) -> None:
    table = bench.folder / "table.json"
    rings: list[int] = []

    def keeper(port: int) -> GatewayKeeper:
        spec = gateway_spec(table, Settings(), host="127.0.0.1", port=port)
        return GatewayKeeper(bench.writing, spec, lambda: rings.append(1))

    def gateways() -> list[tuple[int, WorkloadPhase]]:
        rows = bench.store.rows()
        found = [row for row in rows.workloads.values() if row.project == SYSTEM_PROJECT]
        specs = [(rows.spec(row.id).spec.service or ServiceSpec(), row) for row in found]
        return sorted((spec.port, row.phase) for spec, row in specs)

    def keep(port: int) -> None:
        for _ in range(3):
            keeper(port)(bench.control.mirror)
            bench.step()

    bench.submit(service("inner"))
    keep(4000)
    assert gateways() == []
    ident = bench.submit(named("svc", "tiny"))
    keep(4000)
    assert gateways() == [(4000, WorkloadPhase.RUNNING)]
    assert rings == [1]
    keep(5000)
    assert gateways() == [(4000, WorkloadPhase.CANCELLED), (5000, WorkloadPhase.RUNNING)]
    bench.wish(ident, Wish.STOP)
    gateway = next(row for row in bench.control.mirror.rows.workloads.values() if row.project == SYSTEM_PROJECT)
    bench.writing.set_desired(gateway.id, project=SYSTEM_PROJECT, by="shutdown", wish=Wish.STOP, replicas=None)
    bench.step()
    keep(5000)
    assert {phase for _, phase in gateways()} == {WorkloadPhase.CANCELLED}


def test_the_gateways_port_stays_as_long_as_it_can(bench: Bench, tmp_path: Path) -> None:
    import socket

    folder = StateFolder(tmp_path / "state")
    port = gateway_port(folder, bench.store, 0)
    assert gateway_port(folder, bench.store, 0) == port
    assert gateway_port(folder, bench.store, None) == port
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(PortInUse):
            gateway_port(folder, bench.store, port)
        moved = gateway_port(folder, bench.store, 0)
        assert moved != port
        spec = gateway_spec(tmp_path / "table.json", Settings(), host="127.0.0.1", port=port)
        bench.writing.submit(spec, project=SYSTEM_PROJECT, owner=DEFAULT_OWNER)
        assert gateway_port(folder, bench.store, None) == port  # it is our own gateway that listens there
    wanted = choose_port(0)
    assert gateway_port(folder, bench.store, wanted) == wanted


def test_workers_and_tls_are_what_up_was_told(tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    spec = gateway_spec(table, Settings(gateway_workers=4), host="127.0.0.1", port=1)
    assert "--workers 4" in spec.run
    assert "--tls" not in spec.run
    with pytest.raises(UserError, match="needs --tls-cert"):
        gateway_spec(table, Settings(gateway_tls="0.0.0.0:7443"), host="127.0.0.1", port=1)
    missing = Settings(gateway_tls="0.0.0.0:7443", gateway_cert="/missing", gateway_key="/missing")
    with pytest.raises(UserError, match="cannot be used"):
        gateway_spec(table, missing, host="127.0.0.1", port=1)


def test_two_services_cannot_have_one_served_name(bench: Bench) -> None:
    bench.submit(named("one", "tiny"))
    with pytest.raises(NameTaken, match="tiny"):
        bench.submit(named("two", "tiny"))
    bench.writing.submit(task("tiny"), project=DEFAULT_PROJECT, owner=DEFAULT_OWNER)

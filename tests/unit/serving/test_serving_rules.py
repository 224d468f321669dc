"""The pure rules of serving: readiness, names, and the rewriting of bodies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.model.errors import InvalidSpec
from ampacity.model.workload import ServiceSpec, WorkloadKind, WorkloadSpec
from ampacity.serving.gateway.answers import Refusal
from ampacity.serving.gateway.body import read_body, with_model
from ampacity.serving.launch import health_path, replica_command, served_name, upstream_name
from ampacity.serving.probing import FIRST_INTERVAL_S, Health, Verdict
from ampacity.serving.table import ModelRoute, ReplicaRoute, RoutingTable, UnreadableTable, read_table, write_table

ROUTE = ModelRoute(
    name="m",
    workload="w",
    upstream="m",
    replicas=tuple(ReplicaRoute(id=i, url=f"http://127.0.0.1:{ord(i)}") for i in "abc"),
)


OK, MISS, REFUSED = Verdict(ok=True), Verdict(ok=False, detail="500"), Verdict(ok=False, refused=True, detail="refused")


def after(*verdicts: Verdict, failures: int = 3) -> Health:
    health = Health()
    for verdict in verdicts:
        health = health.after(verdict, interval_s=1.0, failures=failures)
    return health


def test_readiness_is_seen_at_once_and_lost_after_as_many_misses_as_allowed() -> None:
    assert after(REFUSED).ready is False
    assert after(REFUSED, OK).ready is True
    assert after(OK, MISS, MISS).ready is True
    assert after(OK, MISS, MISS, MISS).ready is False
    assert after(OK, MISS, MISS, OK, MISS, MISS).ready is True
    assert after(OK, REFUSED).ready is False


def test_one_that_is_not_ready_is_asked_often_at_first_and_never_more_seldom_than_its_interval() -> None:
    pauses = [after(*[REFUSED] * count).pause_s for count in range(1, 12)]
    assert pauses[0] == pytest.approx(FIRST_INTERVAL_S * 1.5)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 1.0
    assert after(OK).pause_s == 1.0


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(fields=st.dictionaries(st.text(), PLAIN, max_size=5), model=st.text(), upstream=st.text())
def test_only_the_model_is_rewritten(fields: dict[str, object], model: str, upstream: str) -> None:
    body = json.dumps({**fields, "model": model}).encode()
    asked = read_body(body)
    assert asked.model == model
    assert json.loads(with_model(body, asked, upstream)) == {**fields, "model": upstream}
    assert with_model(body, asked, model) is body


@pytest.mark.parametrize("body", [b"", b"null", b"{", b'{"model": null}', b'{"model": "\xff"}', b'{"a": 1}', b"\x00"])
def test_a_body_that_names_no_model_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        read_body(body)
    assert caught.value.status == 400


def test_streaming_is_read_off_the_body() -> None:
    assert read_body(b'{"model": "m", "stream": true}').stream
    assert not read_body(b'{"model": "m", "stream": false}').stream
    assert not read_body(b'{"model": "m"}').stream


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        (b'"max_tokens": 5', 5),
        (b'"max_tokens": 5.0', 5),
        (b'"max_tokens": 5, "max_completion_tokens": 3', 3),
        (b'"max_tokens": 5, "max_completion_tokens": null', 5),
        (b'"max_tokens": "many", "stream": true', None),
        (b'"max_tokens": -1', None),
        (b'"max_tokens": 5, "stream": "yes"', 5),
        (b'"max_tokens": 5, "timeout": null', 5),
    ],
)
def test_a_number_that_makes_no_sense_is_left_to_the_engine(fields: bytes, most: int | None) -> None:
    asked = read_body(b'{"model": "m", "messages": [1], ' + fields + b"}")
    assert asked.most_tokens == most
    assert asked.stream == (b"true" in fields)
    assert bytes(asked.messages) == b"[1]"


@pytest.mark.parametrize("timeout", [b"0", b"-1", b"1e9", b'"30"', b"true"])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(timeout: bytes) -> None:
    with pytest.raises(Refusal, match="no number of seconds"):
        read_body(b'{"model": "m", "timeout": ' + timeout + b"}")


def test_a_table_is_read_as_it_was_written_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.json"
    table = RoutingTable(version=3, models=(ROUTE,))
    write_table(path, table)
    assert read_table(path) == table
    assert [each.name for each in path.parent.iterdir()] == ["table.json"]
    for damage, words in ((b"[]", "is no routing table"), (b'{"version": 1, "format": 2}', "has the format 2")):
        path.write_bytes(damage)
        with pytest.raises(UnreadableTable, match=words):
            read_table(path)


SERVICE = WorkloadSpec(
    name="web", kind=WorkloadKind.SERVICE, service=ServiceSpec(model="tiny:3", engine="transformers")
)


def test_an_engine_serves_the_models_folder_on_the_port_that_it_is_given() -> None:
    command = replica_command(SERVICE, python="/py", model_dir="/hub/x")
    assert "/py" in command.argv
    assert "/hub/x" in command.argv
    assert command.argv[command.argv.index("--port") + 1] == "{port}"
    assert command.port == 0
    assert command.env["HF_HUB_OFFLINE"] == "1"


def test_the_users_arguments_come_last() -> None:
    assert SERVICE.service is not None
    spec = replace(SERVICE, service=replace(SERVICE.service, engine_args=("--dtype", "float32")))
    assert replica_command(spec, python="p", model_dir="/m").argv[-2:] == ("--dtype", "float32")


def test_names_inside_and_outside() -> None:
    assert served_name(SERVICE) == "tiny"
    assert upstream_name(SERVICE) == "tiny"
    assert SERVICE.service is not None
    slashed = replace(SERVICE, service=replace(SERVICE.service, served_name="org/tiny"))
    assert upstream_name(slashed) == "org%2Ftiny", "the engine is given a link of that name"
    own = WorkloadSpec(name="web", kind=WorkloadKind.SERVICE, run="serve", service=ServiceSpec(served_name="mine"))
    assert (served_name(own), upstream_name(own)) == ("mine", "mine")
    assert replica_command(own, python="p", model_dir="/m").env == {"MODEL_DIR": "/m"}
    assert health_path(own) == "/health"
    assert served_name(WorkloadSpec(name="t", kind=WorkloadKind.TASK, run="x")) == ""


def test_an_engine_that_is_not_known_is_named_with_a_near_one() -> None:
    assert SERVICE.service is not None
    spec = replace(SERVICE, service=replace(SERVICE.service, engine="transformer"))
    with pytest.raises(InvalidSpec, match=r"there is no engine 'transformer'. Did you mean transformers"):
        replica_command(spec, python="p", model_dir="/m")

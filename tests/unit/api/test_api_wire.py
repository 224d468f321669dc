"""Errors over the wire and back; what a query and a body may be."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.api.bodies import EventsQuery, LogsQuery, Submission, WorkloadsQuery
from ampacity.api.decode import read_body, read_query
from ampacity.api.wire import StreamLine, encode_lines, error_from_wire, error_to_wire
from ampacity.model.codec import decode, encode
from ampacity.model.errors import AmpacityError, BadRequest, InvalidSpec, UserError, Where, error_types
from ampacity.model.view import LogRecord
from ampacity.model.workload import WorkloadKind, WorkloadPhase

wheres = st.builds(Where, file=st.text(max_size=8), line=st.integers(0, 99), key=st.text(max_size=8))
texts = st.text(max_size=30)


@given(
    kind=st.sampled_from(sorted(error_types().values(), key=lambda kind: kind.code)),
    text=texts,
    hint=texts,
    where=wheres,
)
def test_an_error_comes_back_as_it_went(kind: type[AmpacityError], text: str, hint: str, where: Where) -> None:
    error: AmpacityError
    if issubclass(kind, BadRequest):
        error = kind(text, status=413, where=where, hint=hint)
    elif issubclass(kind, InvalidSpec):
        error = kind(text, where=where, hint=hint)
    else:
        error = kind(text, hint=hint)
    plain = msgspec.json.decode(encode(error_to_wire(error)))
    back = error_from_wire(plain, status=error.status)
    assert type(back) is kind
    assert (back.message, back.hint, back.status) == (error.message, error.hint, error.status)
    assert str(back) == str(error)
    assert getattr(back, "where", None) == getattr(error, "where", None)


@pytest.mark.parametrize(("status", "kind"), [(418, UserError), (500, AmpacityError)])
def test_a_code_of_a_newer_release_keeps_its_code(status: int, kind: type[AmpacityError]) -> None:
    back = error_from_wire({"code": "quota_exceeded", "message": "too much"}, status=status)
    assert type(back) is kind
    assert (back.code, back.status, back.message) == ("quota_exceeded", status, "too much")
    assert kind.code != "quota_exceeded"


@pytest.mark.parametrize("plain", [None, "text", [], {"code": 3}])
def test_what_is_no_error_of_ours_is_refused(plain: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        error_from_wire(plain, status=500)


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), max_size=5))
def test_lines_of_a_stream_are_one_line_each_whatever_the_text(printed: list[str]) -> None:
    lines = [
        StreamLine(record=LogRecord(at=1.5, replica=0, epoch=1, member=0, rank=0, stream="out", text=text))
        for text in printed
    ] + [StreamLine(cursor="c")]
    data = encode_lines(lines)
    assert data.count(b"\n") == len(lines)
    assert [decode(part, StreamLine) for part in data.split(b"\n")[:-1]] == lines


def test_a_query_as_people_write_it() -> None:
    assert read_query([("follow", ""), ("tail", "3")], LogsQuery) == LogsQuery(follow=True, tail=3)
    assert read_query([("follow", "False")], LogsQuery) == LogsQuery(follow=False)
    pairs = [("kind", "task,train"), ("phase", "failed"), ("phase", "waiting"), ("all", "1")]
    assert read_query(pairs, WorkloadsQuery) == WorkloadsQuery(
        kind=(WorkloadKind.TASK, WorkloadKind.TRAIN), phase=(WorkloadPhase.FAILED, WorkloadPhase.WAITING), all=True
    )
    assert read_query([("after", "7")], EventsQuery) == EventsQuery(after=7)


def refusal(read: Callable[[], object]) -> UserError | None:
    try:
        read()
    except UserError as error:
        return error
    return None


@given(st.binary(max_size=60))
def test_any_bytes_are_a_body_or_refused(data: bytes) -> None:
    refused = refusal(lambda: read_body(data, Submission))
    assert refused is None or refused.status in (400, 422)


@given(st.dictionaries(st.text(min_size=1, max_size=10), st.text(max_size=5), max_size=4))
def test_any_query_is_read_or_refused_by_name(pairs: dict[str, str]) -> None:
    refused = refusal(lambda: read_query(list(pairs.items()), WorkloadsQuery))
    assert refused is None or any(str(getattr(refused, "where", "")).startswith(name) for name in pairs)


def test_keys_inside_free_maps_are_not_taken_for_mistakes() -> None:
    body = (
        b'{"spec": {"name": "x", "kind": "train", "envs": {"LR": "1"}, "num_nodes": {"minimum": 1, "maximum": null}}}'
    )
    spec = read_body(body, Submission).spec
    assert spec is not None
    assert spec.envs == {"LR": "1"}
    nested = body.replace(b'"maximum": null', b'"maximum": null, "most": 3')
    with pytest.raises(InvalidSpec) as refused:
        read_body(nested, Submission)
    assert refused.value.where.key == "spec.num_nodes.most"

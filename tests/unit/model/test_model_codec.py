"""Nouns survive their encoding: rows, facts and events, whatever they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ampacity.model.attempt import MemberFact
from ampacity.model.codec import (
    FACT_TYPES,
    decode_event,
    decode_fact,
    decode_row,
    encode_event,
    encode_fact,
    encode_row,
)
from ampacity.model.event import ROW_TYPES, Change, Draft, Event, Row, Table, Touch, put, remove

st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(str, st.text(st.characters(exclude_categories=["Cs"]), max_size=5))
st.register_type_strategy(int, st.integers(-(2**53), 2**53))


def _dictionaries(mapping: Any) -> st.SearchStrategy[dict[Any, Any]]:
    keys, values = mapping.__args__
    return st.dictionaries(st.from_type(keys), st.from_type(values), max_size=2)


st.register_type_strategy(Mapping, _dictionaries)

TABLES = st.sampled_from(Table)
LOOSE = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@LOOSE
@given(data=st.data(), table=TABLES)
def test_a_row_comes_back_as_it_was(data: st.DataObject, table: Table) -> None:
    row: Row = data.draw(st.from_type(ROW_TYPES[table]))
    assert decode_row(table, encode_row(row)) == row
    assert encode_row(row) == encode_row(row)


@LOOSE
@given(data=st.data(), name=st.sampled_from(sorted(FACT_TYPES)))
def test_a_fact_comes_back_as_it_was(data: st.DataObject, name: str) -> None:
    fact: MemberFact = data.draw(st.from_type(FACT_TYPES[name]))
    line = encode_fact(fact)
    assert b"\n" not in line
    assert decode_fact(line) == fact


@LOOSE
@given(data=st.data(), table=TABLES, draft=st.from_type(Draft))
def test_an_event_comes_back_as_it_was(data: st.DataObject, table: Table, draft: Draft) -> None:
    row: Row = data.draw(st.from_type(ROW_TYPES[table]))
    changes: tuple[Change, ...] = (put(row), remove(row))
    touches = (Touch(table=table, key="x", version=3),)
    event = Event(seq=7, draft=replace(draft, changes=changes, touches=touches))
    assert decode_event(encode_event(event)) == event


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"fact": "other"}', b'{"fact": "member_started"}', b"\xff"])
def test_what_is_no_fact_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_fact(line)

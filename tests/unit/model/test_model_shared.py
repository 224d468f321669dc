"""Licences and watts: what nodes share."""

from __future__ import annotations

from ampacity.model.ids import NodeId
from ampacity.model.node import Node
from ampacity.model.resources import Allocation, Counted
from ampacity.model.shared import shared_free, take_shared
from ampacity.model.site import Site

SITE = Site(licences={"sim": 3}, feeds={"pdu": 1000}, feed_of={NodeId("n1"): "pdu"})
ON, OFF = (Node(id=NodeId(name), driver="fake", cpu_milli=1, memory_bytes=1, feed="other") for name in ("n1", "n2"))


def given(licences: int = 0, watts: int = 0) -> Allocation:
    counted = (Counted(name="sim", amount=licences),) if licences else ()
    return Allocation(cpu_milli=0, memory_bytes=0, licences=counted, power_w=watts)


def test_a_gang_gets_all_or_nothing_of_what_is_left() -> None:
    free = shared_free(SITE, [(ON, given(1, 400)), (None, given(1, 900))])
    assert (free.licences, free.watts) == ({"sim": 1}, {"pdu": 600}), "a node that is not known draws from no feed"
    assert take_shared(free, SITE, [(ON, given(1)), (OFF, given(1))]) is None
    assert take_shared(free, SITE, [(ON, given(0, 300)), (ON, given(0, 301))]) is None
    left = take_shared(free, SITE, [(ON, given(1, 300)), (ON, given(0, 300)), (OFF, given(0, 5000))])
    assert left is not None
    assert (left.licences, left.watts) == ({"sim": 0}, {"pdu": 0})


def test_who_wants_nothing_of_it_is_not_kept_off_by_what_others_were_given_too_much_of() -> None:
    free = shared_free(SITE, [(ON, given(4, 2000))])
    assert take_shared(free, SITE, [(ON, given())]) == free
    assert take_shared(free, SITE, [(OFF, given(0, 10))]) is not None
    assert take_shared(free, SITE, [(ON, given(0, 10))]) is None


def test_there_are_none_of_a_licence_that_no_file_names() -> None:
    allocation = Allocation(cpu_milli=0, memory_bytes=0, licences=(Counted(name="cad", amount=1),))
    assert take_shared(shared_free(SITE, []), SITE, [(OFF, allocation)]) is None

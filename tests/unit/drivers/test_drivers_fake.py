"""What the scripted driver promises to the tests of others, beyond the contract of all drivers."""

import pytest

from ampacity.drivers.base import Launch
from ampacity.drivers.fake import FakeDriver
from ampacity.model.attempt import Cause, CauseKind, MemberExited, MemberStarted
from ampacity.model.errors import DriverUnavailable
from ampacity.model.ids import AttemptId, MemberKey, NodeId
from ampacity.model.node import Node
from ampacity.model.resources import Allocation


def key(member: int = 0) -> MemberKey:
    return MemberKey(attempt=AttemptId("w1.0.1"), member=member, epoch=1)


def launch(member: int = 0, node: str = "n1") -> Launch:
    return Launch(
        key=key(member), node=NodeId(node), argv=("true",), allocation=Allocation(cpu_milli=1000, memory_bytes=0)
    )


@pytest.fixture
def driver() -> FakeDriver:
    nodes = [Node(id=NodeId(name), driver="", cpu_milli=8000, memory_bytes=1 << 30) for name in ("n1", "n2")]
    return FakeDriver(nodes, clock=lambda: 5.0)


def test_a_silent_node_is_absent_and_its_facts_come_when_it_returns(driver):
    driver.ensure_started(launch())
    after_start = driver.facts(None).cursor
    driver.silence("n1")
    driver.finish(key())
    assert [node.id for node in driver.nodes()] == ["n2"]
    assert driver.facts(after_start).facts == ()
    with pytest.raises(DriverUnavailable):
        driver.ensure_stopped(key(), grace_s=1, reason="test")
    driver.return_("n1")
    (fact,) = driver.facts(after_start).facts
    assert fact == MemberExited(key=key(), at=5.0, cause=Cause(kind=CauseKind.COMPLETED, exit_code=0))


def test_a_lost_reply_leaves_the_member_started_once(driver):
    driver.fail("ensure_started", DriverUnavailable("the reply was lost"), after=True)
    with pytest.raises(DriverUnavailable):
        driver.ensure_started(launch())
    driver.ensure_started(launch())
    assert driver.starts[key()] == 1
    assert driver.running() == (key(),)


def test_a_failure_before_the_work_starts_nothing(driver):
    driver.fail("ensure_started", DriverUnavailable("not now"), times=2, key=key())
    for _ in range(2):
        with pytest.raises(DriverUnavailable):
            driver.ensure_started(launch())
    assert driver.starts[key()] == 0
    driver.ensure_started(launch(1))
    driver.ensure_started(launch())
    assert driver.starts == {key(): 1, key(1): 1}


def test_facts_can_be_doubled_lost_and_reordered(driver):
    driver.double_facts = True
    driver.ensure_started(launch())
    assert driver.facts(None).facts == (MemberStarted(key=key(), at=5.0),) * 2
    driver.double_facts = False
    driver.lose_facts(1)
    driver.finish(key())
    assert len(driver.facts(None).facts) == 2
    driver.hold_facts()
    for member in range(1, 6):
        driver.ensure_started(launch(member))
    assert len(driver.facts(None).facts) == 2
    driver.release_facts(shuffle_seed=1)
    members = [fact.key.member for fact in driver.facts("2").facts]
    assert sorted(members) == [1, 2, 3, 4, 5]
    assert members != [1, 2, 3, 4, 5]


def test_a_reboot_ends_what_ran_there_and_changes_the_boot_id(driver):
    driver.ensure_started(launch())
    driver.ensure_started(launch(1, "n2"))
    before = {node.id: node.boot_id for node in driver.nodes()}
    driver.reboot("n1")
    after = {node.id: node.boot_id for node in driver.nodes()}
    assert after["n1"] != before["n1"]
    assert after["n2"] == before["n2"]
    assert driver.running() == (key(1),)
    assert driver.facts(None).facts[-1].cause.kind is CauseKind.SUPERVISOR_DIED

"""Finding a member of a workload: which attempt, on which driver."""

from __future__ import annotations

from collections.abc import Mapping

from ampacity.drivers.base import Driver
from ampacity.model.attempt import Attempt, Member
from ampacity.model.errors import DriverUnavailable, InvalidSpec, NotFound, Where
from ampacity.model.event import Table
from ampacity.model.ids import MemberKey
from ampacity.model.node import Node
from ampacity.model.view import WorkloadView
from ampacity.store.base import Store


class Members:
    """``drivers`` by name."""

    def __init__(self, store: Store, drivers: Mapping[str, Driver]) -> None:
        self._store, self._drivers = store, drivers

    def find(self, view: WorkloadView, *, replica: int, member: int) -> tuple[Driver, MemberKey, Attempt]:
        """The member of the replica's newest attempt.

        Raises:
            NotFound: there is none, or its node is not known any more.
            DriverUnavailable: no driver of that node is at work here.
        """
        name = view.workload.name
        attempts = [attempt for attempt in view.attempts if attempt.replica == replica]
        if not attempts:
            raise NotFound(f"{name} has no replica {replica} that was started.", hint=f"`ampacity why {name}`")
        attempt = max(attempts, key=lambda attempt: attempt.epoch)
        if not 0 <= member < len(attempt.members):
            raise InvalidSpec(
                f"{name} runs on {len(attempt.members)} node(s): there is no member {member}.",
                where=Where(key="member"),
                hint="Members count from 0.",
            )
        return self._driver(attempt.members[member]), attempt.key(member), attempt

    def _driver(self, member: Member) -> Driver:
        row = self._store.get(Table.NODES, member.node)
        if not isinstance(row, Node):
            raise NotFound(f"The node {member.node} is not known any more.")
        driver = self._drivers.get(row.driver)
        if driver is None:
            raise DriverUnavailable(f"No driver {row.driver!r} is at work here.")
        return driver

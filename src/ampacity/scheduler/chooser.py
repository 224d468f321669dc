"""The placement policy in force, over the board of one plan."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from ampacity.model.policy import PlacementName
from ampacity.model.resources import ResourceRequest

from .board import Board
from .demand import Demand, ask_of
from .fleet import Fleet
from .paces import Rates
from .placing import Mix, PlacementPolicy, PolicyName, Room, make
from .placing.base import Floats

MOST_POLICIES: Final = 4
"""So many are kept with what they have worked out: when demand swings between two mixes, nothing is worked out anew."""


@dataclass(slots=True)
class Policies:
    """Policies by name and by the demand that they expect. What they keep follows from those and from the rows."""

    made: dict[tuple[PlacementName, Mix], PlacementPolicy] = field(default_factory=dict)

    def of(self, name: PlacementName, mix: Mix) -> PlacementPolicy:
        policy = self.made.pop((name, mix), None)
        if policy is None:
            while len(self.made) >= MOST_POLICIES:
                del self.made[next(iter(self.made))]
            policy = make(PolicyName(name.value), mix=mix)
        self.made[name, mix] = policy
        return policy


@dataclass(frozen=True, slots=True)
class Chooser:
    """In which order rows are preferred, and which device a share comes from."""

    policy: PlacementPolicy
    room: Room
    fleet: Fleet

    def keys(self, request: ResourceRequest, rates: Rates = ()) -> Floats:
        """One number a row, the lower the better."""
        return -self.policy.rate(self.room, ask_of(request, self.fleet, rates)).value

    def on(self, board: Board) -> Chooser:
        """The same over another board of the fleet."""
        return replace(self, room=Room.of(board))

    def slot(self, request: ResourceRequest, row: int) -> int:
        """The device that a share comes from; -1 = the fullest that still holds it."""
        return int(self.policy.rate(self.room, ask_of(request, self.fleet)).slot[row])


def choose_by(board: Board, name: PlacementName, policies: Policies, demand: Demand) -> None:
    """Have the board's rows preferred as that policy does. ``best_fit`` needs none: the keys that say where a request
    fits are in its order."""
    board.placement = name
    if name is not PlacementName.BEST_FIT:
        policy, room = policies.of(name, demand.mix(board.fleet)), Room.of(board)
        policy.begin(room)
        board.preferring = Chooser(policy=policy, room=room, fleet=board.fleet)

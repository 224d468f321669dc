"""The orders by their names."""

from __future__ import annotations

from ampacity.model.policy import DEFAULT_POLICY, OrderName, SchedulerPolicy

from .base import Order
from .fair import ByFactors, Fair
from .plain import ByPriority, Fifo
from .sized import Gittins, LeastAttained, ShortestRemaining


def order_of(policy: SchedulerPolicy) -> Order:
    """The order within a queue that the settings name."""
    match policy.order:
        case OrderName.FIFO:
            return Fifo()
        case OrderName.PRIORITY:
            return ByPriority()
        case OrderName.MULTIFACTOR:
            return ByFactors(policy.multifactor)
        case OrderName.FAIR:
            return Fair(policy.points)
        case OrderName.SHORTEST_REMAINING:
            return ShortestRemaining()
        case OrderName.GITTINS:
            return Gittins()
        case OrderName.LEAST_ATTAINED:
            return LeastAttained()


DEFAULT_ORDER = order_of(DEFAULT_POLICY)

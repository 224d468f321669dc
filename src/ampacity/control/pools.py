"""Keeping the rows of pools: a driver says whether its pools place by themselves, and its nodes say which there are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from ampacity.model.event import EventKind
from ampacity.model.ids import NodeId
from ampacity.model.node import Node, Pool

from .batch import Batch
from .mirror import Mirror


def keep_pools(
    batch: Batch, mirror: Mirror, seen: Mapping[str, Mapping[NodeId, Node]], placing: Collection[str]
) -> None:
    """A row for each pool that places by itself. Pools in which we place need none.

    Args:
        seen: the nodes of each driver that answered.
        placing: the drivers whose pools place by themselves.
    """
    for driver, nodes in seen.items():
        for name in sorted({node.pool for node in nodes.values()}):
            known, itself = mirror.rows.pools.get(name), driver in placing
            if not itself and (known is None or known.driver != driver):
                continue
            now = Pool(name=name, driver=driver, places_itself=itself)
            if known is None or replace(now, version=known.version) != known:
                what = "places by itself" if itself else "is placed in by us"
                batch.write(EventKind.POOL_CHANGED, f"the pool {name} {what}", now)

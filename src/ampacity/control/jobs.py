"""Which attempts need the drivers now, with all that is known about each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from ampacity.model.attempt import Attempt, AttemptPhase, Member
from ampacity.model.ids import NodeId
from ampacity.model.node import Node, Pool, placing_pool
from ampacity.model.site import EMPTY_SITE, SITE_KEY, Site
from ampacity.model.workload import Replica, Workload, WorkloadSpec

from .mirror import Mirror, member_needs_call


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An attempt that is to be started or stopped. ``lost``: nodes that have been silent for too long. ``site``: where
    its volumes are. ``pools``: those that place by themselves among them."""

    workload: Workload
    spec: WorkloadSpec
    replica: Replica
    attempt: Attempt
    nodes: Mapping[str, Node]
    site: Site = EMPTY_SITE
    pools: Mapping[str, Pool] = field(default_factory=dict)
    lost: Collection[NodeId] = ()

    @property
    def stopping(self) -> bool:
        return self.attempt.phase is AttemptPhase.STOPPING

    def saves_until(self, now: float) -> float | None:
        """How long it is left alone so that it saves its state before it is told to end; ``None`` = not any longer."""
        stop = self.attempt.stop
        return stop.save_until if stop is not None and self.attempt.saves(now) else None

    def driver_of(self, member: Member) -> str:
        """The name of the driver of the member's node; empty when the node is not known."""
        node = self.nodes.get(member.node)
        return "" if node is None else node.driver

    def to_do(self) -> Iterator[Member]:
        """The members to start, or to stop. A silent node is left alone until it is back or given up."""
        for member in self.attempt.members:
            if not member_needs_call(member, stopping=self.stopping):
                continue
            node = self.nodes.get(member.node)
            silent = node is not None and node.unknown_since is not None and placing_pool(node, self.pools) is None
            if not silent or (self.stopping and member.node in self.lost):
                yield member


def jobs_to_do(mirror: Mirror, lost: Collection[NodeId]) -> list[Job]:
    """The live attempts that have a member to start or to stop."""
    jobs = []
    for ident in mirror.in_motion:
        attempt = mirror.rows.attempts[ident]
        workload = mirror.rows.workloads[attempt.workload]
        jobs.append(
            Job(
                workload=workload,
                spec=mirror.rows.specs[f"{workload.id}@{attempt.spec_revision}"].spec,
                replica=mirror.rows.replicas[f"{workload.id}.{attempt.replica}"],
                attempt=attempt,
                nodes=mirror.rows.nodes,
                pools=mirror.rows.pools,
                site=mirror.rows.sites.get(SITE_KEY, EMPTY_SITE),
                lost=lost,
            )
        )
    return jobs

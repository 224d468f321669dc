"""The plane's use cases that change what is desired. Each is one transaction, checked against the rows it read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from ampacity.hub import Hub
from ampacity.model.errors import Conflict, InvalidSpec, NotFound, Where
from ampacity.model.event import Draft, EventKind, Table, Touch, put
from ampacity.model.ids import SYSTEM_PROJECT, Owner, Project, WorkloadId
from ampacity.model.node import Node, NodeCondition
from ampacity.model.queue import Queue
from ampacity.model.resources import Range
from ampacity.model.view import WorkloadView
from ampacity.model.workload import Desired, SpecRevision, Wish, Workload, WorkloadKind, WorkloadSpec
from ampacity.store.feed import FeedStore

from .decide import decide
from .lookup import find
from .submitting import MakeReceipt, Submitting, random_ident


class Writing:
    """Submits workloads and changes wishes and conditions.

    Args:
        checkpoints: where checkpoints of jobs lie that name no folder of their own.
        clock: seconds since the epoch.
        nodes, queues: all that are known now.
        new_ident: makes the id of a new workload.
    """

    def __init__(
        self,
        store: FeedStore,
        hub: Hub,
        checkpoints: Path,
        clock: Callable[[], float],
        nodes: Callable[[], Collection[Node]],
        queues: Callable[[], Collection[Queue]] = tuple,
        *,
        new_ident: Callable[[], WorkloadId] = random_ident,
    ) -> None:
        self._store, self._clock = store, clock
        self._submitting = Submitting(store, hub, checkpoints, clock, nodes, new_ident, queues)

    def submit(self, spec: WorkloadSpec, *, project: Project, owner: Owner) -> WorkloadView:
        """One new workload. Durable when it returns. Raises what ``Plane.submit`` raises."""
        return self._submitting.submit((spec,), project=project, owner=owner)[0]

    def submit_all(
        self,
        specs: Sequence[WorkloadSpec],
        *,
        project: Project,
        owner: Owner,
        indices: Sequence[int] = (),
        receipt: MakeReceipt | None = None,
    ) -> tuple[WorkloadView, ...]:
        """See :meth:`Submitting.submit`."""
        return self._submitting.submit(specs, project=project, owner=owner, indices=indices, receipt=receipt)

    def set_desired(
        self,
        ref: str,
        *,
        project: Project,
        by: str,
        wish: Wish | None = None,
        replicas: int | None = None,
        size: int | None = None,
    ) -> WorkloadId:
        """``size``: nodes of a gang; 0 = again as its spec says. Raises ``NotFound``, ``Conflict``."""

        def once() -> tuple[WorkloadId, list[Draft]]:
            workload = find(self._store, ref, project)
            draft = self._changed_desire(workload, by=by, wish=wish, replicas=replicas, size=size)
            return workload.id, [] if draft is None else [draft]

        return decide(self._store, once, in_vain=f"{ref} is being changed by others; try again.")

    def stop_all(self, *, by: str) -> int:
        """Wish that all live workloads stop, in one transaction. How many are live.

        Raises ``Conflict``.
        """

        def once() -> tuple[int, list[Draft]]:
            rows = self._store.live()
            live = [row for row in rows.workloads.values() if not row.phase.ended]
            return len(live), [
                self._wished(row, replace(desired, wish=Wish.STOP), by=by)
                for row in live
                if (desired := rows.desired[row.id]).wish is not Wish.STOP
            ]

        return decide(self._store, once, in_vain="The workloads keep changing; try again.")

    def _changed_desire(
        self, workload: Workload, *, by: str, wish: Wish | None, replicas: int | None, size: int | None
    ) -> Draft | None:
        if workload.phase.ended:
            raise Conflict(f"{workload.name} ({workload.id}) has ended: {workload.phase}.")
        if replicas is not None and workload.kind is not WorkloadKind.SERVICE:
            raise Conflict(f"{workload.name} is a {workload.kind}; only a service has replicas.")
        if size:
            self._refuse_size(workload, size)
        desired = self._store.get(Table.DESIRED, workload.id)
        assert isinstance(desired, Desired), "a workload has its desired record"
        changed = replace(
            desired,
            wish=desired.wish if wish is None else wish,
            replicas=desired.replicas if replicas is None else replicas,
            size=desired.size if size is None else size or None,
        )
        if changed == desired:
            return None
        return self._wished(workload, changed, by=by)

    def _refuse_size(self, workload: Workload, size: int) -> None:
        row = self._store.get(Table.SPECS, f"{workload.id}@{workload.spec_revision}")
        assert isinstance(row, SpecRevision), "a workload has its spec"
        allowed = row.spec.num_nodes
        if not allowed.holds(size):
            nodes = "1 node" if allowed == Range.exactly(1) else f"{allowed} nodes"
            raise Conflict(
                f"{workload.name} runs on {nodes}, not on {size}.",
                hint="`num_nodes: 2..4` in its file makes a train elastic.",
            )

    def _wished(self, workload: Workload, changed: Desired, *, by: str) -> Draft:
        """``changed`` still has the version of the row that it replaces."""
        return Draft(
            kind=EventKind.DESIRED_CHANGED,
            at=self._clock(),
            changes=(put(replace(changed, by=by, version=changed.version + 1)),),
            touches=(Touch(table=Table.WORKLOADS, key=workload.id, version=workload.version + 1),),
            project=workload.project,
            owner=workload.owner,
            workload=workload.id,
            actor=by,
            text=f"{by} wishes: {changed.wish}"
            + (f", {changed.replicas} replicas" if workload.kind is WorkloadKind.SERVICE else "")
            + (f", {changed.size} nodes" if changed.size is not None else ""),
        )

    def set_condition(self, name: str, condition: NodeCondition, *, by: str) -> None:
        """Cordon a node or make it ready. Raises ``NotFound``, ``Conflict``."""

        def once() -> tuple[None, list[Draft]]:
            node = self._store.get(Table.NODES, name)
            if not isinstance(node, Node):
                raise NotFound(f"There is no node {name!r}.", hint="`ampacity nodes` lists them.")
            if condition is NodeCondition.UNKNOWN:
                raise InvalidSpec("a node is marked unknown by its silence alone.", where=Where(key="condition"))
            if node.unknown_since is not None:
                raise Conflict(f"The node {name} is silent; its condition changes once it is back.")
            changed = replace(node, condition=condition, version=node.version + 1)
            text = f"{by} made node {name} {condition}"
            draft = Draft(
                kind=EventKind.NODE_CHANGED,
                at=self._clock(),
                changes=(put(changed),),
                node=node.id,
                actor=by,
                text=text,
                project=SYSTEM_PROJECT,
            )
            return None, [draft]

        decide(self._store, once, in_vain=f"The node {name} is being changed by others; try again.")

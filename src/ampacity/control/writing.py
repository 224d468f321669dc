"""The plane's use cases that change what is desired. Each is one transaction, checked against the rows it read."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from ampacity.hub import Hub
from ampacity.model.errors import Conflict, ImpossibleRequest, InvalidSpec, NameTaken, NotFound, StaleVersion, Where
from ampacity.model.event import Draft, EventKind, Row, Table, Touch, put
from ampacity.model.ids import SYSTEM_PROJECT, Owner, Project, WorkloadId
from ampacity.model.node import Node, NodeCondition
from ampacity.model.view import WorkloadView
from ampacity.model.workload import (
    Desired,
    Replica,
    SpecRevision,
    Wish,
    Workload,
    WorkloadKind,
    WorkloadPhase,
    WorkloadSpec,
)
from ampacity.scheduler import could_ever_fit
from ampacity.serving.launch import served_name
from ampacity.store.feed import FeedStore

from .lookup import find, live_services

TRIES = 5
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


class Writing:
    """Submits workloads and changes wishes and conditions.

    Args:
        checkpoints: where checkpoints of jobs lie that name no folder of their own.
        clock: seconds since the epoch.
        nodes: all that are known now.
    """

    def __init__(
        self,
        store: FeedStore,
        hub: Hub,
        checkpoints: Path,
        clock: Callable[[], float],
        nodes: Callable[[], Collection[Node]],
    ) -> None:
        self._store, self._hub, self._checkpoints = store, hub, checkpoints
        self._clock, self._nodes = clock, nodes
        self._submitting = threading.Lock()

    def submit(self, spec: WorkloadSpec, *, project: Project, owner: Owner) -> WorkloadView:
        """The new workload. Durable when it returns. Raises what ``Plane.submit`` raises."""
        ident = WorkloadId("w" + "".join(secrets.choice(_ALPHABET) for _ in range(9)))
        spec = replace(spec, name=spec.name or f"{spec.kind}-{ident[-5:]}")
        self._refuse_impossible(spec)
        spec = self._with_checkpoint_folder(self._with_exact_model(spec), ident)
        with self._submitting:  # two services must not take one served name at the same time
            self._refuse_taken_route(spec)
            for _ in range(TRIES):
                fresh, draft = self._fresh(ident, spec, project, owner)
                try:
                    self._store.append([draft])
                except NameTaken as error:
                    hint = "Choose another name, or stop that one first."
                    raise NameTaken(error.message, hint=hint) from None
                except StaleVersion:
                    continue
                return fresh
        raise Conflict("The workloads that it comes after keep changing; submit it again.")

    def _fresh(
        self, ident: WorkloadId, spec: WorkloadSpec, project: Project, owner: Owner
    ) -> tuple[WorkloadView, Draft]:
        """The workload as it begins, and the event that writes it."""
        now = self._clock()
        before = self._before(spec, project)
        workload = Workload(
            id=ident,
            name=spec.name,
            kind=spec.kind,
            project=project,
            owner=owner,
            after=tuple(row.id for row in before),
            created_at=now,
        )
        desired = Desired(workload=ident, replicas=spec.replicas, by=owner)
        replicas = tuple(Replica(workload=ident, index=index) for index in range(spec.replicas))
        rows: tuple[Row, ...] = (workload, SpecRevision(workload=ident, revision=1, spec=spec), desired, *replicas)
        draft = Draft(
            kind=EventKind.WORKLOAD_SUBMITTED,
            at=now,
            changes=tuple(put(row) for row in rows),
            touches=tuple(Touch(table=Table.WORKLOADS, key=row.id, version=row.version + 1) for row in before),
            project=project,
            owner=owner,
            workload=ident,
            actor=owner,
            text=f"{spec.kind} {spec.name} submitted",
        )
        view = WorkloadView(workload=workload, spec=spec, desired=desired, replicas=replicas, attempts=())
        return view, draft

    def _before(self, spec: WorkloadSpec, project: Project) -> list[Workload]:
        """The live workloads that it comes after. One that has succeeded is done with."""
        live = []
        for ref in dict.fromkeys(spec.after):
            row = find(self._store, ref, project)
            if row.phase in (WorkloadPhase.FAILED, WorkloadPhase.CANCELLED):
                raise InvalidSpec(
                    f"{row.name!r} ({row.id}) is {row.phase}, so this would never start.",
                    where=Where(key="after"),
                    hint="Submit that one again first.",
                )
            if not row.phase.ended and row not in live:  # its id and its name may both be given
                live.append(row)
        return live

    def _refuse_impossible(self, spec: WorkloadSpec) -> None:
        refusal = could_ever_fit(spec, self._nodes())
        if refusal is not None:
            raise ImpossibleRequest(f"{spec.name} {refusal.message}", hint=refusal.hint)

    def _with_exact_model(self, spec: WorkloadSpec) -> WorkloadSpec:
        """The version that a tag or a bare name means now, so that all replicas serve the same one."""
        if spec.service is None or not spec.service.model:
            return spec
        exact = self._hub.get(spec.service.model).ref
        name = served_name(spec)
        return replace(spec, service=replace(spec.service, model=exact, served_name=name))

    def _with_checkpoint_folder(self, spec: WorkloadSpec, ident: WorkloadId) -> WorkloadSpec:
        """A training job's checkpoints lie in one absolute place, the same for all its attempts."""
        if spec.kind is not WorkloadKind.TRAIN:
            return spec
        own = spec.checkpoint.directory
        folder = Path(spec.workdir or "/") / own if own else self._checkpoints / ident
        return replace(spec, checkpoint=replace(spec.checkpoint, directory=str(folder)))

    def _refuse_taken_route(self, spec: WorkloadSpec) -> None:
        name = served_name(spec)
        if not name:
            return
        for row, standing in live_services(self._store):
            if served_name(standing) == name:
                raise NameTaken(
                    f"The endpoint already serves {name!r}, by the workload {row.name} ({row.id}).",
                    hint="Choose another served_name, or stop that one first.",
                )

    def set_desired(
        self, ref: str, *, project: Project, by: str, wish: Wish | None, replicas: int | None
    ) -> WorkloadId:
        """Raises ``NotFound``, ``Conflict``."""
        for _ in range(TRIES):
            workload = find(self._store, ref, project)
            draft = self._changed_desire(workload, by=by, wish=wish, replicas=replicas)
            if draft is None:
                return workload.id
            try:
                self._store.append([draft])
            except StaleVersion:
                continue
            return workload.id
        raise Conflict(f"{ref} is being changed by others; try again.")

    def _changed_desire(self, workload: Workload, *, by: str, wish: Wish | None, replicas: int | None) -> Draft | None:
        if workload.phase.ended:
            raise Conflict(f"{workload.name} ({workload.id}) has ended: {workload.phase}.")
        if replicas is not None and workload.kind is not WorkloadKind.SERVICE:
            raise Conflict(f"{workload.name} is a {workload.kind}; only a service has replicas.")
        desired = self._store.get(Table.DESIRED, workload.id)
        assert isinstance(desired, Desired), "a workload has its desired record"
        changed = replace(
            desired,
            wish=desired.wish if wish is None else wish,
            replicas=desired.replicas if replicas is None else replicas,
        )
        if changed == desired:
            return None
        return Draft(
            kind=EventKind.DESIRED_CHANGED,
            at=self._clock(),
            changes=(put(replace(changed, by=by, version=desired.version + 1)),),
            touches=(Touch(table=Table.WORKLOADS, key=workload.id, version=workload.version + 1),),
            project=workload.project,
            owner=workload.owner,
            workload=workload.id,
            actor=by,
            text=f"{by} wishes: {changed.wish}"
            + (f", {changed.replicas} replicas" if workload.kind is WorkloadKind.SERVICE else ""),
        )

    def set_condition(self, name: str, condition: NodeCondition, *, by: str) -> None:
        """Cordon a node or make it ready. Raises ``NotFound``, ``Conflict``."""
        for _ in range(TRIES):
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
            try:
                self._store.append([draft])
            except StaleVersion:
                continue
            return
        raise Conflict(f"The node {name} is being changed by others; try again.")

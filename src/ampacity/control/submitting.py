"""Submissions: from specs to new workloads, all of one submission in one transaction."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from ampacity.hub import Hub
from ampacity.model.array import ArrayPlace, element_name
from ampacity.model.errors import Conflict, ImpossibleRequest, InvalidSpec, NameTaken, StaleVersion, Where
from ampacity.model.event import Draft, EventKind, Row, Table, Touch, put
from ampacity.model.ids import DEFAULT_QUEUE, Owner, Project, QueueName, WorkloadId
from ampacity.model.node import Node
from ampacity.model.queue import Queue
from ampacity.model.receipt import Receipt
from ampacity.model.site import SITE_KEY, Site
from ampacity.model.view import WorkloadView
from ampacity.model.workload import Desired, Replica, SpecRevision, Workload, WorkloadKind, WorkloadPhase, WorkloadSpec
from ampacity.scheduler import could_ever_fit
from ampacity.serving.launch import served_name
from ampacity.store.feed import FeedStore

from .lookup import find, live_services

TRIES = 5

MakeReceipt = Callable[[tuple[WorkloadView, ...], float], Receipt]
"""Makes the receipt of a submission, of its views and the time."""
_ALPHABET = b"abcdefghijkmnpqrstuvwxyz23456789"
_IDENT_LETTERS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One workload to be. All is known of it but what it comes after."""

    ident: WorkloadId
    spec: WorkloadSpec
    array: ArrayPlace | None = None


@dataclass(slots=True, kw_only=True)
class _Submission:
    """The workloads of one try, as they come to be: those of the same submission may come after one another."""

    project: Project
    owner: Owner
    now: float
    rows: dict[str, Workload] = field(default_factory=dict)
    versions: dict[WorkloadId, int] = field(default_factory=dict)
    views: list[WorkloadView] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)


class Submitting:
    """Submits workloads. The arguments are those of :class:`ampacity.control.writing.Writing`."""

    def __init__(
        self,
        store: FeedStore,
        hub: Hub,
        checkpoints: Path,
        clock: Callable[[], float],
        nodes: Callable[[], Collection[Node]],
        new_ident: Callable[[], WorkloadId],
        queues: Callable[[], Collection[Queue]] = tuple,
    ) -> None:
        self._store, self._hub, self._checkpoints = store, hub, checkpoints
        self._clock, self._nodes, self._queues, self._new_ident = clock, nodes, queues, new_ident
        self._one_at_a_time = threading.Lock()

    def submit(
        self,
        specs: Sequence[WorkloadSpec],
        *,
        project: Project,
        owner: Owner,
        indices: Sequence[int] = (),
        receipt: MakeReceipt | None = None,
    ) -> tuple[WorkloadView, ...]:
        """The new workloads, in the order of the specs, all or none. Durable when it returns.

        ``indices``: each spec becomes an array of one workload for each index. ``receipt`` makes what is written with
        them. Raises what ``Plane.submit`` raises.
        """
        requests = [request for spec in specs for request in self._requests(spec, indices)]
        with self._one_at_a_time:  # two services must not take one served name at the same time
            self._refuse_taken_routes(requests)
            for _ in range(TRIES):
                made = _Submission(project=project, owner=owner, now=self._clock())
                for request in requests:
                    self._add(made, request)
                views = tuple(made.views)
                receipts = () if receipt is None else (receipt(views, made.now),)
                try:
                    self._store.append(made.drafts, receipts=receipts)
                except NameTaken as error:
                    hint = "Choose another name, or stop that one first."
                    raise NameTaken(error.message, hint=hint) from None
                except StaleVersion:
                    continue
                return views
        raise Conflict("The workloads that it comes after keep changing; submit it again.")

    def _requests(self, spec: WorkloadSpec, indices: Sequence[int]) -> Iterator[_Request]:
        """Checked, and with all that it is to have from now on."""
        ident = self._new_ident()
        spec = replace(spec, name=spec.name or f"{spec.kind}-{ident[-5:]}")
        self._refuse_impossible(spec)
        self._refuse_unknown_queue(spec.queue)
        self._refuse_unknown_volumes(spec)
        spec = self._with_exact_model(spec)
        if not indices:
            yield _Request(ident=ident, spec=self._with_checkpoint_folder(spec, ident))
        for index in indices:
            ident = self._new_ident()
            element = replace(spec, name=element_name(spec.name, index))
            place = ArrayPlace(array=spec.name, index=index, size=len(indices))
            yield _Request(ident=ident, spec=self._with_checkpoint_folder(element, ident), array=place)

    def _add(self, made: _Submission, request: _Request) -> None:
        """The workload as it begins, and the event that writes it."""
        ident, spec = request.ident, request.spec
        before = self._before(made, spec)
        workload = Workload(
            id=ident,
            name=spec.name,
            kind=spec.kind,
            project=made.project,
            owner=made.owner,
            after=tuple(row.id for row in before),
            created_at=made.now,
            array=request.array,
        )
        desired = Desired(workload=ident, replicas=spec.replicas, by=made.owner)
        replicas = tuple(Replica(workload=ident, index=index) for index in range(spec.replicas))
        rows: tuple[Row, ...] = (workload, SpecRevision(workload=ident, revision=1, spec=spec), desired, *replicas)
        touches = []
        for row in before:
            version = made.versions.get(row.id, row.version) + 1
            made.versions[row.id] = version
            touches.append(Touch(table=Table.WORKLOADS, key=row.id, version=version))
        made.drafts.append(
            Draft(
                kind=EventKind.WORKLOAD_SUBMITTED,
                at=made.now,
                changes=tuple(put(row) for row in rows),
                touches=tuple(touches),
                project=made.project,
                owner=made.owner,
                workload=ident,
                actor=made.owner,
                text=f"{spec.kind} {spec.name} submitted",
            )
        )
        made.rows[spec.name] = made.rows[ident] = workload
        made.views.append(WorkloadView(workload=workload, spec=spec, desired=desired, replicas=replicas, attempts=()))

    def _before(self, made: _Submission, spec: WorkloadSpec) -> list[Workload]:
        """The live workloads that it comes after. One that has succeeded is done with."""
        live: list[Workload] = []
        for ref in dict.fromkeys(spec.after):
            row = made.rows.get(ref) or find(self._store, ref, made.project)
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

    def _refuse_unknown_queue(self, queue: QueueName) -> None:
        """Work goes into a queue that is there and has no parts."""
        known = {str(each.name): each for each in self._queues()}
        parts = sorted(name for name, each in known.items() if each.parent == queue)
        if parts:
            raise InvalidSpec(
                f"the queue {queue!r} has parts, and work goes into those.",
                where=Where(key="queue"),
                hint=f"Name one of them: {', '.join(parts)}.",
            )
        if queue != DEFAULT_QUEUE and not isinstance(self._store.get(Table.QUEUES, queue), Queue):
            names = sorted({*known, DEFAULT_QUEUE})
            near = get_close_matches(queue, names, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"The queues are {', '.join(names)}."
            raise InvalidSpec(f"there is no queue {queue!r}.", where=Where(key="queue"), hint=hint)

    def _refuse_unknown_volumes(self, spec: WorkloadSpec) -> None:
        """Every volume that it mounts has to be one of the site's."""
        site = self._store.get(Table.SITES, SITE_KEY) if spec.volumes else None
        known = site.storage if isinstance(site, Site) else {}
        for use in spec.volumes:
            if use.volume and use.volume not in known:
                near = get_close_matches(use.volume, sorted(known), n=1)
                there = f"The volumes are {', '.join(sorted(known))}." if known else "No topology file names any."
                raise InvalidSpec(
                    f"there is no volume {use.volume!r}.",
                    where=Where(key=f"volumes.{use.target}"),
                    hint=f"Did you mean {near[0]}?" if near else f"{there} Name it under `storage`, or write a folder.",
                )

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

    def _refuse_taken_routes(self, requests: Sequence[_Request]) -> None:
        wanted = [name for request in requests if (name := served_name(request.spec))]
        if not wanted:
            return
        taken = {served_name(spec): f"the workload {row.name} ({row.id})" for row, spec in live_services(self._store)}
        for name in wanted:
            if name in taken:
                raise NameTaken(
                    f"The endpoint already serves {name!r}, by {taken[name]}.",
                    hint="Choose another served_name, or stop that one first.",
                )
            taken[name] = "another workload of the same submission"


def random_ident() -> WorkloadId:
    """One that nobody has had, or will have."""
    letters = bytes(_ALPHABET[byte & 31] for byte in secrets.token_bytes(_IDENT_LETTERS))
    return WorkloadId("w" + letters.decode())

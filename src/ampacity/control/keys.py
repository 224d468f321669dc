"""API keys and limits: made, changed and revoked. Each change is one event; the gateway reads them from its table."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches

from ampacity.model.access import ApiKey, Limits, ProjectLimits, key_id, limits_words
from ampacity.model.errors import Conflict, InvalidSpec, NameTaken, NotFound, Where
from ampacity.model.event import Draft, EventKind, Rows, put
from ampacity.model.ids import Project
from ampacity.store.base import Store

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHOWN_LENGTH = 8
_COUNTS = ("requests_per_minute", "tokens_per_minute", "concurrency")


class Keys:
    """Writes keys and limits of projects. Safe to use from several threads.

    Nobody else writes them, so they are held in memory, and read again only after a write that failed.

    Args:
        clock: seconds since the epoch.
        wake: told after each change.
    """

    def __init__(self, store: Store, clock: Callable[[], float], wake: Callable[[], None] = lambda: None) -> None:
        self._store, self._clock, self._wake = store, clock, wake
        self._lock = threading.RLock()  # a name is looked for before it is taken
        self._rows: Rows | None = None

    def all(self) -> tuple[ApiKey, ...]:
        """Every key, revoked ones included, by project and name."""
        with self._lock:
            found = tuple(self._standing().api_keys.values())
        return tuple(sorted(found, key=lambda key: (key.project, key.name, key.id)))

    def of_project(self, project: Project) -> tuple[ApiKey, ...]:
        return tuple(key for key in self.all() if key.project == project)

    def create(self, key: ApiKey, *, by: str) -> ApiKey:
        """Keep a key by its digest. ``id``, times and version are filled in here.

        Raises:
            InvalidSpec: the name, the digest, the time or a limit cannot be.
            NameTaken: a key of the project has the name.
            Conflict: this key is known already.
        """
        now = self._clock()
        made = replace(_checked(key, now), id=key_id(key.digest), created_at=now, created_by=by, version=1)
        with self._lock:
            if made.id in self._standing().api_keys:
                raise Conflict("This key is known already.", hint="Make a new one: keys are random.")
            if any(each.name == made.name and each.revoked_at is None for each in self.of_project(made.project)):
                raise NameTaken(
                    f"The project {made.project!r} has a key {made.name!r}.", hint="Revoke it, or choose another name."
                )
            self._write_key(EventKind.KEY_CREATED, made, by=by, text=f"{by} made the key {made.name}")
        return made

    def limit(self, ref: str, limits: Limits, *, project: Project, by: str) -> ApiKey:
        """Give a key other limits. Raises ``NotFound``, ``InvalidSpec``, ``Conflict`` (it is revoked)."""
        _check_limits(limits)
        with self._lock:
            standing = self._find(ref, project)
            changed = replace(standing, limits=limits, version=standing.version + 1)
            text = f"{by} set the limits of the key {standing.name}: {limits_words(limits)}"
            self._write_key(EventKind.KEY_CHANGED, changed, by=by, text=text)
        return changed

    def revoke(self, ref: str, *, project: Project, by: str) -> ApiKey:
        """Make a key useless for ever. Raises ``NotFound``, ``Conflict`` (it is revoked already)."""
        with self._lock:
            standing = self._find(ref, project)
            revoked = replace(standing, revoked_at=self._clock(), version=standing.version + 1)
            self._write_key(EventKind.KEY_REVOKED, revoked, by=by, text=f"{by} revoked the key {standing.name}")
        return revoked

    def project_limits(self, project: Project) -> ProjectLimits:
        """The limits in force; none and the weight 1 where none were set."""
        with self._lock:
            row = self._standing().project_limits.get(project)
        return ProjectLimits(project=project, version=0) if row is None else row

    def all_project_limits(self) -> tuple[ProjectLimits, ...]:
        with self._lock:
            return tuple(self._standing().project_limits.values())

    def limit_project(self, project: Project, limits: Limits, *, weight: float, by: str) -> ProjectLimits:
        """Set what all keys of the project may use together. Raises ``InvalidSpec``."""
        _check_limits(limits)
        if not (math.isfinite(weight) and 0 < weight <= 1000):
            raise InvalidSpec(f"A weight is more than 0 and at most 1000, not {weight:g}.", where=Where(key="weight"))
        with self._lock:
            version = self.project_limits(project).version + 1
            row = ProjectLimits(project=project, limits=limits, weight=weight, version=version)
            text = f"{by} set the limits of the project {project}: {limits_words(limits)}, weight {weight:g}"
            self._write(
                Draft(
                    kind=EventKind.PROJECT_LIMITED,
                    at=self._clock(),
                    changes=(put(row),),
                    project=project,
                    actor=by,
                    text=text,
                )
            )
        return row

    def _find(self, ref: str, project: Project) -> ApiKey:
        """The key of that name in the project, or of that id, which still works or has expired."""
        mine = self.of_project(project)
        found = [key for key in mine if ref in (key.name, key.id)]
        usable = [key for key in found if key.revoked_at is None]
        if usable:
            return usable[0]
        if found:
            raise Conflict(f"The key {ref} was revoked.", hint="Make a new one with `ampacity keys create`.")
        near = get_close_matches(ref, [key.name for key in mine if key.revoked_at is None], n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`ampacity keys` lists them."
        raise NotFound(f"There is no key {ref!r} in the project {project!r}.", hint=hint)

    def _write_key(self, kind: EventKind, key: ApiKey, *, by: str, text: str) -> None:
        draft = Draft(
            kind=kind,
            at=self._clock(),
            changes=(put(key),),
            project=key.project,
            owner=key.owner,
            actor=by,
            text=text,
        )
        self._write(draft)

    def _write(self, draft: Draft) -> None:
        rows = self._standing()
        self._rows = None
        (event,) = self._store.append([draft])
        for change in event.draft.changes:
            assert change.row is not None, "keys and limits are never removed"
            rows.table(change.table)[change.key] = change.row
        self._rows = rows
        self._wake()

    def _standing(self) -> Rows:
        if self._rows is None:
            live = self._store.live()
            self._rows = Rows(api_keys=dict(live.api_keys), project_limits=dict(live.project_limits))
        return self._rows


def _checked(key: ApiKey, now: float) -> ApiKey:
    if not _NAME.fullmatch(key.name):
        raise InvalidSpec(
            f"{key.name!r} cannot be the name of a key.",
            where=Where(key="name"),
            hint="Use letters, digits, '.', '_', '@' and '-', at most 63.",
        )
    if not _DIGEST.fullmatch(key.digest):
        raise InvalidSpec(
            "The digest is no SHA-256 in hex.", where=Where(key="digest"), hint="Send 64 digits 0-9a-f of the key's."
        )
    if len(key.shown) > _SHOWN_LENGTH:
        raise InvalidSpec(
            f"At most {_SHOWN_LENGTH} characters of a key are kept to show.",
            where=Where(key="shown"),
            hint="Send the last four.",
        )
    if key.expires_at is not None and not (math.isfinite(key.expires_at) and key.expires_at > now):
        raise InvalidSpec("The key would have expired already.", where=Where(key="expires_at"))
    _check_limits(key.limits)
    return key


def _check_limits(limits: Limits) -> None:
    for name in _COUNTS:
        count = getattr(limits, name)
        if count is not None and not 0 < count <= 10**15:
            raise InvalidSpec(f"A limit is at least 1, not {count}.", where=Where(key=f"limits.{name}"))
    if limits.budget is not None and not (math.isfinite(limits.budget.amount) and limits.budget.amount > 0):
        raise InvalidSpec(
            f"A budget is more than 0, not {limits.budget.amount:g}.",
            where=Where(key="limits.budget"),
            hint="Revoke the key where nothing may be spent.",
        )

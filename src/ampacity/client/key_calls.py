"""The client's calls about API keys, limits and usage."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass

from ampacity.api.answers import KeyPage, KeyView, UsageReport
from ampacity.model.access import KEY_PREFIX, Limits, ProjectLimits, digest_of
from ampacity.model.codec import to_plain
from ampacity.model.ids import DEFAULT_OWNER
from ampacity.model.request_usage import UsageBy

from .calls import Calls, path_of
from .link import Query

_RANDOM_BYTES = 32
_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeKey:
    """A new key. ``secret`` is known here and nowhere else: the control plane has its digest."""

    key: KeyView
    secret: str

    def __repr__(self) -> str:
        return f"MadeKey(key={self.key!r})"


class KeyCalls(Calls):
    """API keys of the project."""

    def api_keys(self, *, all: bool = False, project: str | None = None) -> tuple[KeyView, ...]:
        """The project's keys by name; with ``all`` those that were revoked or have expired, too."""
        query: Query = {"project": self._in(project), "all": all}
        found = self._link.call("GET", "/keys", KeyPage, query=query)
        keys = list(found.keys)
        while found.next is not None:
            found = self._link.call("GET", "/keys", KeyPage, query={**query, "next": found.next})
            keys.extend(found.keys)
        return tuple(keys)

    def create_key(
        self,
        name: str,
        *,
        limits: Limits | None = None,
        models: Collection[str] = (),
        priority: int = 0,
        expires_at: float | None = None,
        owner: str = DEFAULT_OWNER,
        project: str | None = None,
    ) -> MadeKey:
        """Make a key. It is made here; the control plane is told its SHA-256 only.

        Args:
            models: those that it opens; none = all.
            expires_at: seconds since the epoch.

        Raises:
            InvalidSpec: something about it cannot be.
            NameTaken: the project has a key of that name.
        """
        secret = KEY_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        body = {
            "name": name,
            "digest": digest_of(secret),
            "shown": secret[-_SHOWN:],
            "owner": owner,
            "models": tuple(models),
            "limits": to_plain(limits or Limits()),
            "priority": priority,
            "expires_at": expires_at,
        }
        made = self._link.call("POST", "/keys", KeyView, query={"project": self._in(project)}, body=body)
        return MadeKey(key=made, secret=secret)

    def limit_key(self, name: str, limits: Limits, *, project: str | None = None) -> KeyView:
        """Give a key other limits, all anew. What is under way is not cut off."""
        body = {"limits": to_plain(limits)}
        path = path_of("keys", name) + "/limits"
        return self._link.call("POST", path, KeyView, query={"project": self._in(project)}, body=body)

    def revoke_key(self, name: str, *, project: str | None = None) -> KeyView:
        """Make a key useless for ever. What is under way is not cut off."""
        return self._link.call("DELETE", path_of("keys", name), KeyView, query={"project": self._in(project)})

    def usage(
        self,
        *,
        by: Collection[UsageBy] = (),
        since: float = 0.0,
        until: float | None = None,
        project: str | None = None,
        all_projects: bool = False,
    ) -> UsageReport:
        """What requests have used, told apart by these; times in seconds since the epoch, whole hours."""
        query: Query = {
            "by": ",".join(by) or None,
            "since": since,
            "until": until,
            "project": None if all_projects else self._in(project),
        }
        return self._link.call("GET", "/usage", UsageReport, query=query)

    def limits(self, *, project: str | None = None) -> ProjectLimits:
        """What all keys of the project may use together, and its share where there is not enough for all."""
        return self._link.call("GET", "/limits", ProjectLimits, query={"project": self._in(project)})

    def set_limits(self, limits: Limits, *, weight: float = 1.0, project: str | None = None) -> ProjectLimits:
        """Set the limits of the whole project, all anew."""
        body = {"limits": to_plain(limits), "weight": weight}
        return self._link.call("POST", "/limits", ProjectLimits, query={"project": self._in(project)}, body=body)

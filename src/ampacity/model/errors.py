"""All errors that Ampacity raises, in one tree.

::

    AmpacityError
    ├── UserError                  the caller can mend it (HTTP 4xx, exit code 2)
    │   ├── BadRequest             an HTTP request that cannot be read: not JSON, too large, unknown path or method
    │   ├── InvalidSpec            a workload file or request is wrong; knows file, line and key
    │   ├── NotFound               no such workload, model, node, …
    │   ├── NameTaken              the name belongs to something that is still alive
    │   ├── Conflict               the state does not allow it now
    │   ├── KeyReused              an idempotency key that was used for another request
    │   ├── ImpossibleRequest      nothing that exists could ever hold it; says what would fit
    │   ├── Unauthorized           no or wrong credentials
    │   ├── Forbidden              known, but not allowed
    │   ├── PortInUse              a port that was asked for by number is taken
    │   ├── StateFolderBusy        another control plane holds the state folder
    │   ├── NotRunning             no control plane answers
    │   └── VersionMismatch        client and control plane are of releases that do not understand each other
    ├── StaleVersion               somebody else wrote the row first: read again and decide anew
    ├── Repeated                   a write whose receipt stands already: give the answer that it got
    ├── StoreError                 the store cannot be opened, read or written
    │   ├── StoreTooNew            written by a newer release
    │   └── StoreCorrupt           its contents do not verify
    ├── DriverError                a driver could not do it
    │   ├── Unsupported            this driver never can
    │   ├── LaunchFailed           this member cannot be started there (its own fault, not the node's)
    │   └── DriverUnavailable      not known now; it is never read as "failed"
    ├── SecretsUnreadable          secrets that cannot be opened: the key is gone, or they were changed
    └── HubError                   models and blobs
        └── CorruptBlob            the bytes do not match their digest
"""

from __future__ import annotations

from dataclasses import dataclass


class AmpacityError(Exception):
    """The root. ``code`` is stable and goes over the wire; ``hint`` says what to do."""

    code = "error"
    status = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        stop = "." if self.message and self.message[-1] not in ".!?:;" else ""
        return f"{self.message}{stop} {self.hint}".strip()


class UserError(AmpacityError):
    """The caller can mend it."""

    code = "user_error"
    status = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The place of a mistake. ``line`` counts from 1; 0 = unknown."""

    file: str = ""
    line: int = 0
    key: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join(part for part in (place, self.key) if part)


class InvalidSpec(UserError):
    """A workload file or request is wrong.

    Args:
        message: what is wrong.
        where: file, line and key.
        hint: what to write instead.
    """

    code = "invalid_spec"
    status = 422

    def __init__(self, message: str, *, where: Where | None = None, hint: str = "") -> None:
        self.where = where or Where()
        prefix = str(self.where)
        super().__init__(f"{prefix}: {message}" if prefix else message, hint=hint)


class BadRequest(UserError):
    """An HTTP request that cannot be read: not JSON, too large, an unknown path or method, a foreign ``Host``.

    Args:
        message: what is wrong.
        status: the HTTP status that says so, 400..499.
        where: the line of the body, counted from 1, where it is known.
        hint: what to send instead.
    """

    code = "bad_request"

    def __init__(self, message: str, *, status: int = 400, where: Where | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.where = where or Where()


class NotFound(UserError):
    code = "not_found"
    status = 404


class NameTaken(UserError):
    code = "name_taken"
    status = 409


class Conflict(UserError):
    code = "conflict"
    status = 409


class KeyReused(UserError):
    code = "key_reused"
    status = 422


class ImpossibleRequest(UserError):
    code = "impossible_request"
    status = 422


class Unauthorized(UserError):
    code = "unauthorized"
    status = 401


class Forbidden(UserError):
    code = "forbidden"
    status = 403


class PortInUse(UserError):
    code = "port_in_use"
    status = 409


class StaleVersion(AmpacityError):
    code = "stale_version"
    status = 409


class Repeated(AmpacityError):
    code = "repeated"
    status = 409


class StoreError(AmpacityError):
    code = "store_error"


class StoreTooNew(StoreError):
    code = "store_too_new"


class StoreCorrupt(StoreError):
    code = "store_corrupt"


class DriverError(AmpacityError):
    code = "driver_error"


class Unsupported(DriverError):
    code = "unsupported"
    status = 501


class LaunchFailed(DriverError):
    code = "launch_failed"


class DriverUnavailable(DriverError):
    code = "driver_unavailable"
    status = 503


class SecretsUnreadable(AmpacityError):
    code = "secrets_unreadable"
    status = 500


class HubError(AmpacityError):
    code = "hub_error"
    status = 500


class CorruptBlob(HubError):
    code = "corrupt_blob"


class StateFolderBusy(UserError):
    code = "state_folder_busy"
    status = 409


class NotRunning(UserError):
    code = "not_running"
    status = 503


class VersionMismatch(UserError):
    """Client and control plane are of releases that do not understand each other."""

    code = "version_mismatch"
    status = 426


def error_types() -> dict[str, type[AmpacityError]]:
    """Every error of the tree by its wire code."""
    found: dict[str, type[AmpacityError]] = {}
    pending: list[type[AmpacityError]] = [AmpacityError]
    while pending:
        kind = pending.pop()
        found[kind.code] = kind
        pending.extend(kind.__subclasses__())
    return found

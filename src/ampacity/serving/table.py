"""The routing table: a versioned snapshot that the control plane writes and the gateway reads."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ampacity.model.access import ApiKey, ProjectLimits
from ampacity.model.errors import AmpacityError
from ampacity.model.route import Route
from ampacity.model.service_terms import Overload, Price
from ampacity.model.traffic import Resume

TABLE_FORMAT = 1


class UnreadableTable(AmpacityError):
    """The file is not a routing table of this release."""

    code = "unreadable_table"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRoute:
    """One engine. ``id`` is the attempt's; ``url`` is its root, without a trailing slash."""

    id: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRoute:
    """``name`` is what clients ask for, ``upstream`` what the engine calls it. ``health_path`` answers 2xx while an
    engine is well. ``resume``: which streams another engine may go on with. ``hedge_after_s``: when the first token has
    not come by then, a second engine is asked as well; 0 = never. ``concurrency``: so many requests each replica takes
    at once; 0 = no limit."""

    name: str
    workload: str
    upstream: str
    replicas: tuple[ReplicaRoute, ...]
    health_path: str = "/health"
    resume: Resume = Resume.ALL
    hedge_after_s: float = 0.0
    concurrency: int = 0
    routing: str = ""
    price: Price | None = None
    overload: Overload = field(default_factory=Overload)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingTable:
    """``keys``: those that were not revoked, by their digests. ``closed``: only they are let in; else everybody is.
    ``limits``: those of whole projects. ``routes``: public names that stand for models, none of them an alias."""

    version: int
    models: tuple[ModelRoute, ...] = ()
    closed: bool = False
    keys: tuple[ApiKey, ...] = ()
    limits: tuple[ProjectLimits, ...] = ()
    routes: tuple[Route, ...] = ()
    format: int = TABLE_FORMAT


def write_table(path: Path, table: RoutingTable) -> None:
    """Replace the table as a whole: write, fsync, rename. Raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("wb") as file:
        file.write(msgspec.json.encode(table))
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def read_table(path: Path) -> RoutingTable:
    """The table that stands.

    Raises:
        OSError: it cannot be read.
        UnreadableTable: it is no table, or one of a newer format.
    """
    try:
        table = msgspec.json.decode(path.read_bytes(), type=RoutingTable)
    except msgspec.DecodeError as error:
        raise UnreadableTable(f"{path} is no routing table: {error}.") from error
    if table.format != TABLE_FORMAT:
        raise UnreadableTable(f"{path} has the format {table.format}; this release reads {TABLE_FORMAT}.")
    return table

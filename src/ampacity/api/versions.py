"""Whether two releases understand each other: the same major version does; what differs in the minor one may miss
something new. For both ends."""

from __future__ import annotations

import re

from ampacity.model.errors import VersionMismatch

AGENT: str = "ampacity/"
"""How the ``User-Agent`` of our own client begins; its version follows."""

ANY_RELEASE = frozenset({"/status", "/shutdown"})
"""What every release may ask: one that was replaced while it ran has to be found and ended by the new one."""

_VERSION = re.compile(r"(\d+)\.(\d+)(?![\d])")
RESTART = "Restart it with `ampacity down` and `ampacity up`, which ends no workload."


def same_major(one: str, other: str) -> bool:
    """Whether the releases understand each other. What is no release's number does."""
    return _parts(one)[:1] == _parts(other)[:1] or not _parts(one) or not _parts(other)


def same_minor(one: str, other: str) -> bool:
    return _parts(one) == _parts(other) or not _parts(one) or not _parts(other)


def refuse_foreign(*, server: str, client: str) -> None:
    """Raises ``VersionMismatch`` when they do not understand each other."""
    if not same_major(server, client):
        raise mismatch(server=server, client=client)


def mismatch(*, server: str, client: str) -> VersionMismatch:
    return VersionMismatch(
        f"The control plane runs Ampacity {server}, this client is {client}; they do not understand each other.",
        hint=advice(server=server, client=client),
    )


def advice(*, server: str, client: str) -> str:
    """What to do so that both are of one release: the older one is brought up to the newer."""
    if _parts(client) < _parts(server):
        return f"Install Ampacity {server} here: `pip install ampacity=={server}`."
    return f"The control plane is older: install Ampacity {client} where it runs. {RESTART}"


def _parts(version: str) -> tuple[int, ...]:
    found = _VERSION.match(version)
    return () if found is None else tuple(int(part) for part in found.groups())

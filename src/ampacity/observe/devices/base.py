"""The Protocol of a device reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ampacity.model.hardware import DeviceLink


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """``index`` counts as the vendor's tools do; ``uuid`` names it for good where the vendor gives such a name.
    ``memory_bytes``: all that it has, where its live values do not tell it; 0 = not known.
    ``trouble``: why it cannot be used, though it is there; a reading of it may fail. Its kind and its bus may be empty
    then.
    ``partitioned``: it is given out as its instances alone; what is read of it is what they share.
    ``profile``: it is such an instance, of the device ``parent``; ``instance``: which one (``3/0``: the GPU instance,
    and the compute instance in it). Its kind, bus and trouble are its parent's, its index comes after all of theirs."""

    index: int
    vendor: str
    kind: str
    uuid: str = ""
    bus: str = ""
    memory_bytes: int = 0
    trouble: str = ""
    partitioned: bool = False
    profile: str = ""
    instance: str = ""
    parent: int | None = None


class ReadFailed(Exception):
    """The vendor's library or driver does not answer as it should; the text says what it said."""


class DeviceReader(Protocol):
    """Reads live values. A call may hang or bring down its process: it is made in a process for that alone."""

    def devices(self) -> Sequence[DeviceIdentity]:
        """The devices there are, in the order of their index, those in trouble too. Raises ``ReadFailed`` when none can
        be told."""
        ...

    def read(self, index: int) -> Mapping[str, float]:
        """Values by the names of ``columns.DEVICE``, and ``resets``, how often it was reset since its driver was
        loaded; what is not known is left out. Raises ``ReadFailed``."""
        ...

    def processes(self, index: int) -> Mapping[int, int]:
        """Bytes of the device's memory by the pid that holds them. Raises ``ReadFailed``."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class LinkReader(Protocol):
    """A reader that also tells which of its devices are linked with each other."""

    def links(self) -> Sequence[DeviceLink]:
        """Raises ``ReadFailed``."""
        ...


@runtime_checkable
class ChangingReader(Protocol):
    """A reader whose devices may become others while it is open."""

    def look_again(self) -> bool:
        """Whether :meth:`DeviceReader.devices` tells others now. Raises ``ReadFailed``."""
        ...

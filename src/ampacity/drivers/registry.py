"""The drivers by name. A new driver is one module and one line here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import cast

from ampacity.model.errors import NotFound
from ampacity.model.node import Node

from .base import Driver

DRIVERS: dict[str, str] = {
    "local": "ampacity.drivers.local.driver:open_driver",
    "fake": "ampacity.drivers.fake:open_driver",
}
"""Each entry names a function ``(folder, nodes) -> Driver``; its module is imported when it is asked for."""


def open_driver(name: str, *, folder: Path, nodes: Sequence[Node] = ()) -> Driver:
    """The driver of that name.

    Args:
        name: one of ``DRIVERS``.
        folder: where it may keep its state between runs; made if absent.
        nodes: declared nodes; none = what the driver finds by itself.

    Raises:
        NotFound: there is no such driver.
        DriverUnavailable: it cannot work here now.
    """
    if name not in DRIVERS:
        raise NotFound(f"there is no driver {name!r}", hint=f"Known drivers: {', '.join(DRIVERS)}.")
    module, function = DRIVERS[name].split(":")
    return cast(Driver, getattr(import_module(module), function)(folder, nodes))

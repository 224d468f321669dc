"""What a member is handed of its node: what its libraries see, what keeps it from the rest, and how its devices are
known again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ampacity.drivers.base import Launch
from ampacity.model.codec import to_plain
from ampacity.model.errors import LaunchFailed
from ampacity.model.node import Node

from .confine import Confinement
from .device_watch import DeviceWatch
from .visible import given_devices, seen_through


@dataclass(frozen=True, slots=True, kw_only=True)
class Handout:
    """``extra``: parts of ``member.json``. ``device_uuids``: by the devices' ids."""

    env: Mapping[str, str]
    extra: Mapping[str, Any]
    device_uuids: Mapping[str, str]


def refuse_covering(launch: Launch, folder: Path) -> None:
    """Raises ``LaunchFailed`` when something else would be mounted where the driver's own folder is, or above it."""
    for mount in launch.mounts:
        stays = mount.source == mount.target and not mount.read_only
        if folder.is_relative_to(mount.target) and not stays:
            raise LaunchFailed(
                f"{mount.target} cannot be mounted: it would hide {folder}, which the job needs",
                hint="Mount it at another path.",
            )


def handed_out(launch: Launch, node: Node, confinement: Confinement, watch: DeviceWatch) -> Handout:
    """Raises ``LaunchFailed`` when the node has no such device."""
    given = watch.counted_now(given_devices(launch, node))
    check = watch.check_of(given)
    return Handout(
        env={**launch.env, **(seen_through(node, given) if node.devices else {})},
        extra={
            **confinement.of(launch, given=given, known=node.devices),
            **({} if check is None else {"device_check": check}),
            **({"mounts": [to_plain(mount) for mount in launch.mounts]} if launch.mounts else {}),
        },
        device_uuids={device.id: device.uuid for device in given},
    )

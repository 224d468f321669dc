"""Where cgroups can be made for members: below our own place, in v2's one tree or in v1's tree per controller.

What /proc/self/mountinfo and /proc/self/cgroup mean: proc(5), cgroups(7), and the kernel's admin-guide/cgroup-v2.
"""

from __future__ import annotations

import os

from . import device_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Dict, Tuple

    Places = Dict[str, Tuple[int, str]]

CONTROLLERS = ("cpu", "memory", "pids", "devices")
TREE = "tree"
"""The name under which v2's tree is listed: it knows who belongs together, and ends them all at once."""


def find_places(
    mountinfo: str = "/proc/self/mountinfo",
    own: str = "/proc/self/cgroup",
    can_filter_devices: Callable[[], bool] = device_filter.available,
) -> Places:
    """For each controller that can limit here, and for ``TREE``: its version (1 or 2), and where cgroups can be made.

    Nothing is moved and nobody else's cgroup is changed; at most controllers are switched on for our own children.
    Empty where there are no cgroups, or no right to make any.
    """
    mine = _own_paths(own)
    places: Places = {}
    for kinds, root, mount in _mounts(mountinfo):
        if kinds is None:
            _add_v2(places, mount, _below(mount, root, mine.get("", "/")))
            continue
        for kind in kinds:
            base = _below(mount, root, mine.get(kind, "/"))
            if kind in CONTROLLERS and _usable(base):
                places.setdefault(kind, (1, base))
    if "devices" not in places and places.get("memory", (0, ""))[0] == 2 and can_filter_devices():
        places["devices"] = places[TREE]
    return places


def _add_v2(places: Places, mount: str, own: str) -> None:
    """v2 keeps processes out of cgroups that share out controllers, its root excepted: where our own place is taken
    by processes, the nearest place above it that shares them out already is used."""
    base = own
    while True:
        if _usable(base):
            places.setdefault(TREE, (2, base))
            enabled = _enabled(base, switch_on=base == own)
            if enabled:
                places[TREE] = (2, base)
                places.update(dict.fromkeys(enabled, (2, base)))
                return
        if len(base) <= len(mount):
            return
        base = os.path.dirname(base)


def _enabled(base: str, *, switch_on: bool) -> list[str]:
    """The controllers that children of this cgroup have."""
    wanted = [kind for kind in ("cpu", "memory", "pids") if kind in _words(os.path.join(base, "cgroup.controllers"))]
    control = os.path.join(base, "cgroup.subtree_control")
    missing = [kind for kind in wanted if kind not in _words(control)]
    if missing and switch_on:
        try:
            with open(control, "w") as file:
                file.write(" ".join(f"+{kind}" for kind in missing))
        except OSError:
            pass
    return [kind for kind in wanted if kind in _words(control)]


def _usable(base: str) -> bool:
    """Children can be made here, and processes moved into them. (Rights alone do not say it: root may write to any
    folder that is not mounted read-only.)"""
    return os.access(base, os.W_OK | os.X_OK) and os.access(os.path.join(base, "cgroup.procs"), os.W_OK)


def _words(path: str) -> list[str]:
    try:
        with open(path) as file:
            return [word.lstrip("+") for word in file.read().split()]
    except OSError:
        return []


def _own_paths(path: str) -> dict[str, str]:
    """Our place by controller; v2's under the empty name."""
    paths = {}
    try:
        with open(path) as file:
            for line in file:
                _, kinds, place = line.rstrip("\n").split(":", 2)
                for kind in kinds.split(","):
                    paths[kind] = place
    except (OSError, ValueError):
        return {}
    return paths


def _mounts(path: str) -> list[tuple[list[str] | None, str, str]]:
    """The controllers of each mounted tree (``None``: v2), the place that is its root, and where it is mounted."""
    found = []
    try:
        with open(path) as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        kinds = None if kind[0] == "cgroup2" else kind[2].split(",")
        found.append((kinds, fields[3], fields[4].replace("\\040", " ")))
    return found


def _below(mount: str, root: str, place: str) -> str:
    """The folder of a place. A tree whose root is above or beside ours (a container's) starts with the mount."""
    if root != "/":
        place = place[len(root) :] if place == root or place.startswith(root + "/") else "/"
    while place.startswith("/.."):
        place = place[3:]
    return os.path.join(mount, place.strip("/")) if place.strip("/") else mount

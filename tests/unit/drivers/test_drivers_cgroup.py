"""Where cgroups are found and what is written into them, against trees as the kernel shows them."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from ampacity.drivers.base import Launch, Limits
from ampacity.drivers.local.confine import MOST_PROCESSES, Confinement
from ampacity.drivers.supervisor.cgroup import Cgroup
from ampacity.drivers.supervisor.cgroup_place import find_places
from ampacity.drivers.supervisor.device_filter import program_of
from ampacity.model.ids import AttemptId, MemberKey, NodeId
from ampacity.model.node import LimitedBy, NodeLimits
from ampacity.model.resources import Allocation

KEY = MemberKey(attempt=AttemptId("w1.0.1"), member=2, epoch=1)
LAUNCH = Launch(
    key=KEY,
    node=NodeId("n1"),
    argv=("true",),
    allocation=Allocation(cpu_milli=1500, memory_bytes=0),
    limits=Limits(cpu_milli=2500, memory_bytes=64_000_000),
)


class Tree:
    """A mounted tree of cgroups in a folder, and our place in it."""

    def __init__(self, folder: Path, version: int, place: str = "/", kinds: str = "", root: str = "/") -> None:
        self.mount = folder
        self.version = version
        fs = "cgroup2 cgroup2 rw" if version == 2 else f"cgroup cgroup rw,{kinds}"
        self.mountinfo = f"31 23 0:28 {root} {folder} rw,relatime - {fs}\n"
        self.own = f"0::{place}\n" if version == 2 else f"4:{kinds}:{place}\n"

    def cgroup(self, path: str = "", **files: str) -> Path:
        folder = self.mount / path
        folder.mkdir(parents=True, exist_ok=True)
        names = {
            "cgroup.procs": "",
            **({"cgroup.controllers": "", "cgroup.subtree_control": ""} if self.version == 2 else {}),
        }
        for name, text in {**names, **{key.replace("__", "."): text for key, text in files.items()}}.items():
            (folder / name).write_text(text)
        return folder


def found(tmp_path: Path, *trees: Tree, filters: bool = False) -> dict[str, tuple[int, str]]:
    mountinfo, own = tmp_path / "mountinfo", tmp_path / "own"
    mountinfo.write_text("22 1 0:21 / /proc rw - proc proc rw\n" + "".join(tree.mountinfo for tree in trees))
    own.write_text("".join(tree.own for tree in trees))
    return find_places(str(mountinfo), str(own), lambda: filters)


def test_v2_uses_our_own_place_where_its_children_get_controllers(tmp_path):
    tree = Tree(tmp_path / "cg", 2, "/app")
    tree.cgroup()
    own = tree.cgroup("app", cgroup__controllers="cpuset cpu io memory pids", cgroup__subtree_control="cpu memory pids")
    base = (2, str(own))
    assert found(tmp_path, tree) == {"tree": base, "cpu": base, "memory": base, "pids": base}
    assert found(tmp_path, tree, filters=True)["devices"] == base


def test_v2_switches_controllers_on_for_children_where_it_may(tmp_path):
    tree = Tree(tmp_path / "cg", 2)
    own = tree.cgroup(cgroup__controllers="cpu memory pids")
    assert set(found(tmp_path, tree)) == {"tree", "cpu", "memory", "pids"}
    assert (own / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_v2_goes_up_to_who_shares_out_controllers_where_our_own_place_cannot(tmp_path):
    tree = Tree(tmp_path / "cg", 2, "/user/session")
    tree.cgroup(cgroup__controllers="cpu memory pids", cgroup__subtree_control="cpu memory pids")
    user = tree.cgroup("user", cgroup__controllers="cpu memory pids", cgroup__subtree_control="memory pids")
    session = tree.cgroup("user/session", cgroup__controllers="memory pids")
    (session / "cgroup.subtree_control").unlink()
    (session / "cgroup.subtree_control").mkdir()  # as with a cgroup that holds processes: it cannot be written
    base = (2, str(user))
    assert found(tmp_path, tree) == {"tree": base, "memory": base, "pids": base}


def test_v1_has_a_place_in_each_tree_below_our_own_and_v2_beside_it_only_keeps_together(tmp_path):
    memory = Tree(tmp_path / "memory", 1, "/jobs/7", "memory")
    cpu = Tree(tmp_path / "cpu", 1, "/", "cpu,cpuacct")
    unified = Tree(tmp_path / "unified", 2, "/")
    memory.cgroup()
    own = memory.cgroup("jobs/7")
    cpu.cgroup()
    unified.cgroup(cgroup__controllers="hugetlb")
    assert found(tmp_path, memory, cpu, unified) == {
        "memory": (1, str(own)),
        "cpu": (1, str(tmp_path / "cpu")),
        "tree": (2, str(tmp_path / "unified")),
    }


def test_a_containers_tree_begins_with_its_mount(tmp_path):
    tree = Tree(tmp_path / "memory", 1, "/docker/abc/inner", "memory", root="/docker/abc")
    tree.cgroup()
    inner = tree.cgroup("inner")
    assert found(tmp_path, tree) == {"memory": (1, str(inner))}


def test_no_cgroups_are_no_error_and_are_told(tmp_path):
    assert find_places(str(tmp_path / "absent"), str(tmp_path / "absent")) == {}
    tree = Tree(tmp_path / "cg", 2, "/gone")
    assert found(tmp_path, tree) == {}
    limits = Confinement(tmp_path, {}).description
    assert (limits.cpu, limits.memory, limits.processes) == (LimitedBy.AFFINITY, LimitedBy.WATCHED, LimitedBy.NONE)
    assert str(limits) == "cpu affinity, memory watched"
    assert str(NodeLimits()) == "none"


def test_the_description_says_which_version_limits_what():
    both = Confinement(Path("/x"), {"cpu": (2, "/c"), "memory": (2, "/c"), "pids": (2, "/c"), "tree": (2, "/c")})
    assert str(both.description) == "cgroup v2"
    assert both.description.devices is LimitedBy.NONE
    mixed = Confinement(Path("/x"), {"memory": (1, "/m"), "devices": (1, "/d")}).description
    assert str(mixed) == "cpu affinity, memory cgroup v1"
    assert mixed.devices is LimitedBy.CGROUP_V1


def kernel_files(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for name in ("cgroup.procs", *names):
        (folder / name).write_text("")


_rmdir = os.rmdir


def test_device_files_are_filtered_by_a_program_in_v2():
    plain, one = program_of([]), program_of([(195, 3)])
    assert len(one) == len(plain) + 4 * 8
    assert plain[-16:] == one[-16:] == bytes([0xB7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
    assert struct.unpack_from("=BBhi", one, 4 * 8) == (0x55, 2, 4, 2)
    assert [struct.unpack_from("=BBhi", one, step * 8)[3] for step in (5, 6)] == [195, 3]


def as_the_kernel_removes_a_cgroup(folder: str) -> None:
    """Its files are no obstacle."""
    for file in Path(folder).iterdir():
        if file.is_file():
            file.unlink()
    _rmdir(folder)


def test_what_is_written_into_a_cgroup_of_v2(tmp_path, monkeypatch):
    places = {kind: (2, str(tmp_path)) for kind in ("cpu", "memory", "pids", "tree")}
    plain = Confinement(tmp_path / "local", places).of(LAUNCH)
    group = Cgroup(plain["cgroups"])
    (path,) = group.paths()
    assert Path(path).parent == tmp_path
    assert path.endswith("-w1.0.1-2")
    kernel_files(Path(path), "cpu.max", "cpu.weight", "memory.max", "memory.swap.max", "pids.max", "cgroup.kill")
    group.make(plain["limits"])
    written = {file.name: file.read_text() for file in Path(path).iterdir()}
    assert written == {
        "cpu.max": "250000 100000",
        "cpu.weight": "150",
        "memory.max": "64000000",
        "memory.swap.max": "0",
        "pids.max": str(plain["limits"]["processes"]),
        "cgroup.procs": "",
        "cgroup.kill": "",
    }
    assert 0 < plain["limits"]["processes"] <= MOST_PROCESSES
    group.enter(born_in_tree=True)
    assert (Path(path) / "cgroup.procs").read_text() == ""
    group.enter()
    assert (Path(path) / "cgroup.procs").read_text() == "0"
    (Path(path) / "cgroup.procs").write_text("7\n11\n")
    assert group.pids() == {7, 11}
    group.kill()
    assert (Path(path) / "cgroup.kill").read_text() == "1"
    (Path(path) / "memory.events").write_text("low 0\nmax 7\noom 1\noom_kill 3\noom_group_kill 0\n")
    assert group.memory_kills() == 3
    monkeypatch.setattr(os, "rmdir", as_the_kernel_removes_a_cgroup)
    (Path(path) / "below" / "deeper").mkdir(parents=True)
    (Path(path) / "cgroup.procs").write_text("")
    assert group.remove()
    assert not Path(path).exists()
    assert group.remove()


def test_what_is_written_into_cgroups_of_v1(tmp_path):
    places = {kind: (1, str(tmp_path / kind)) for kind in ("cpu", "memory", "pids", "devices")}
    plain = Confinement(tmp_path / "local", places).of(LAUNCH)
    folders = {kind: Path(folder) for kind, (_, folder) in plain["cgroups"].items()}
    assert set(folders) == {"cpu", "memory", "pids"}
    kernel_files(folders["cpu"], "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.shares")
    kernel_files(folders["memory"], "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    kernel_files(folders["pids"], "pids.max")
    group = Cgroup(plain["cgroups"])
    group.make(plain["limits"])
    assert (folders["cpu"] / "cpu.cfs_quota_us").read_text() == "250000"
    assert (folders["cpu"] / "cpu.shares").read_text() == "1536"
    assert (folders["memory"] / "memory.limit_in_bytes").read_text() == "64000000"
    assert (folders["memory"] / "memory.memsw.limit_in_bytes").read_text() == "64000000"
    assert group.tree == ""
    for folder in folders.values():
        (folder / "tasks").write_text("")
    group.enter()
    assert [(folder / "tasks").read_text() for folder in folders.values()] == ["0", "0", "0"]
    (folders["memory"] / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert group.memory_kills() == 1


def test_who_asked_for_nothing_is_limited_in_nothing(tmp_path):
    places = {kind: (1, str(tmp_path / kind)) for kind in ("cpu", "memory", "pids", "devices")}
    launch = Launch(key=KEY, node=NodeId("n1"), argv=(), allocation=Allocation(cpu_milli=0, memory_bytes=0))
    plain = Confinement(tmp_path / "local", places).of(launch)
    assert set(plain["cgroups"]) == {"pids"}
    assert {name for name, limit in plain["limits"].items() if limit} == {"processes"}


def test_a_cgroup_that_holds_processes_is_not_removed(tmp_path):
    kernel_files(tmp_path / "held")
    (tmp_path / "held" / "cgroup.procs").write_text("1\n")
    assert not Cgroup({"pids": (1, str(tmp_path / "held"))}).remove()


def test_two_drivers_never_share_a_cgroup_and_know_what_was_left_of_their_own(tmp_path):
    base = tmp_path / "cg"
    base.mkdir()
    one, two = (Confinement(tmp_path / name, {"pids": (1, str(base))}) for name in ("a", "b"))
    first, second = (each.of(LAUNCH)["cgroups"]["pids"][1] for each in (one, two))
    assert first != second
    os.mkdir(first)
    os.mkdir(second)
    assert one.leftovers(["w1.0.1-2"].__contains__) == []
    (left,) = one.leftovers(["w1.0.1-3"].__contains__)
    assert left.paths() == [first]


@pytest.mark.parametrize("text", ["", "garbage\n", "a:b\n"])
def test_odd_proc_files_are_no_cgroups(tmp_path, text):
    (tmp_path / "odd").write_text(text)
    assert find_places(str(tmp_path / "odd"), str(tmp_path / "odd")) == {}

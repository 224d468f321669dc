"""What a machine is made of, read from trees of files as Linux lays them out."""

from __future__ import annotations

import pytest

from ampacity.model.codec import decode, encode
from ampacity.model.hardware import ContainerLimits, Disk, DiskKind, Hardware, LinkState
from ampacity.observe.discovery.container import read_container
from ampacity.observe.discovery.disks import read_disks
from ampacity.observe.discovery.machine import read_machine, usable_cpu_milli, usable_memory_bytes
from ampacity.observe.discovery.network import read_interfaces, read_rdma
from ampacity.observe.discovery.pci import address_of, path_of
from ampacity.observe.discovery.processor import read_numa_nodes, read_processor
from ampacity.observe.discovery.tree import Tree, listed
from machine_tree import MachineTree

GB = 10**9


@pytest.fixture
def machine(tmp_path) -> MachineTree:
    return MachineTree(tmp_path)


def test_sockets_cores_and_threads_are_told_apart(machine):
    machine.cpus(sockets=2, cores=4, threads=2, model="Intel(R)  Xeon(R) Platinum 8480C")
    found = read_processor(Tree(machine.root))
    assert (found.sockets, found.cores, found.threads) == (2, 8, 16)
    assert found.model == "Intel(R) Xeon(R) Platinum 8480C"


def test_cpus_that_are_off_do_not_count(machine):
    machine.cpus(sockets=1, cores=4, threads=2, model="x")
    machine.file("/sys/devices/system/cpu/online", "0-3")
    assert read_processor(Tree(machine.root)).threads == 4


def test_a_kernel_without_topology_files_still_has_its_cpus_counted(machine):
    machine.file("/proc/cpuinfo", "processor\t: 0\n\nprocessor\t: 1\n\nHardware\t: BCM2835")
    found = read_processor(Tree(machine.root))
    assert (found.sockets, found.cores, found.threads, found.model) == (1, 2, 2, "BCM2835")


def test_numa_nodes_have_their_cpus_memory_and_distances(machine):
    machine.numa(0, cpus="0-55,112-167", memory_kib=1000, distances="10 21")
    machine.numa(1, cpus="56-111,168-223", memory_kib=2000, distances="21 10")
    first, second = read_numa_nodes(Tree(machine.root))
    assert (first.index, first.cpus, first.memory_bytes, first.distances) == (0, "0-55,112-167", 1_024_000, (10, 21))
    assert second.memory_bytes == 2_048_000


def test_kernel_lists():
    assert listed("0-2,8,10-11") == {0, 1, 2, 8, 10, 11}
    assert listed("") == set()


# Containers ------------------------------------------------------------------------------------------------------


def test_the_tightest_limit_above_counts_in_version_2(machine):
    machine.file("/proc/self/cgroup", "0::/system.slice/job.scope")
    machine.files("/sys/fs/cgroup/system.slice", **{"cpu.max": "400000 100000", "memory.max": 8 * GB})
    machine.files(
        "/sys/fs/cgroup/system.slice/job.scope",
        **{"cpu.max": "max 100000", "memory.max": "max", "cpuset.cpus.effective": "0-3"},
    )
    machine.file("/sys/devices/system/cpu/online", "0-15")
    assert read_container(Tree(machine.root)) == ContainerLimits(cpu_milli=4000, cpus="0-3", memory_bytes=8 * GB)


def test_limits_of_version_1_are_read_at_the_mount_where_the_path_is_the_hosts(machine):
    machine.file("/proc/self/cgroup", "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc")
    machine.files("/sys/fs/cgroup/cpu", **{"cpu.cfs_quota_us": 150000, "cpu.cfs_period_us": 100000})
    machine.files("/sys/fs/cgroup/memory", **{"memory.limit_in_bytes": 2 * GB})
    assert read_container(Tree(machine.root)) == ContainerLimits(cpu_milli=1500, memory_bytes=2 * GB)


def test_no_limits_are_none(machine):
    machine.file("/proc/self/cgroup", "4:memory:/\n2:cpu,cpuacct:/")
    machine.files("/sys/fs/cgroup/cpu", **{"cpu.cfs_quota_us": -1, "cpu.cfs_period_us": 100000})
    machine.files("/sys/fs/cgroup/memory", **{"memory.limit_in_bytes": 9223372036854771712})
    assert read_container(Tree(machine.root)) == ContainerLimits()


def test_limits_lower_what_is_offered(machine):
    machine.file("/proc/meminfo", "MemTotal:       64000000 kB\nMemFree:  1 kB")
    assert usable_cpu_milli(Tree(machine.root), 16) == 16_000
    assert usable_memory_bytes(Tree(machine.root)) == 65_536_000_000
    machine.file("/proc/self/cgroup", "0::/")
    machine.files("/sys/fs/cgroup", **{"cpu.max": "250000 100000", "memory.max": 4 * GB})
    assert usable_cpu_milli(Tree(machine.root), 16) == 2_500
    assert usable_cpu_milli(Tree(machine.root), 2) == 2_000, "the CPU set is tighter than the quota"
    assert usable_memory_bytes(Tree(machine.root)) == 4 * GB


# Disks -----------------------------------------------------------------------------------------------------------

MOUNTS = r"""/dev/nvme0n1p2 / ext4 rw 0 0
proc /proc proc rw 0 0
tmpfs /run tmpfs rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
/dev/nvme0n1p2 /var/lib/bind ext4 rw 0 0
/dev/md0 /data xfs rw 0 0
/dev/sdb1 /archive ext4 rw 0 0
/dev/vda /guest ext4 rw 0 0
filer:/vol/home /home/my\040team nfs4 rw 0 0
filer:/vol/gone /gone nfs4 rw 0 0"""


def test_disks_are_told_by_what_lies_beneath_their_mounts(machine):
    machine.file("/proc/self/mounts", MOUNTS)
    place = "/sys/devices/pci0000:00/block/sdb"
    machine.files(f"{place}/queue", rotational=1)
    machine.files(f"{place}/sdb1", partition=1)
    machine.link("/sys/class/block/sdb", place)
    machine.link("/sys/class/block/sdb1", f"{place}/sdb1")
    machine.folder("/sys/class/block/md0/slaves/nvme1n1")
    machine.files("/sys/class/block/vda/queue", rotational=1)

    def measure(mount: str) -> tuple[int, int]:
        if mount == "/gone":
            raise OSError("stale file handle")
        return 100 * GB, 40 * GB

    found = {disk.mount: disk for disk in read_disks(Tree(machine.root), measure)}
    assert {mount: disk.kind for mount, disk in found.items()} == {
        "/": DiskKind.NVME,
        "/archive": DiskKind.HDD,
        "/data": DiskKind.NVME,
        "/dev/shm": DiskKind.MEMORY,
        "/guest": DiskKind.OTHER,
        "/home/my team": DiskKind.NETWORK,
    }
    assert found["/archive"] == Disk(
        mount="/archive",
        source="/dev/sdb1",
        filesystem="ext4",
        kind=DiskKind.HDD,
        size_bytes=100 * GB,
        free_bytes=40 * GB,
    )


# Network ---------------------------------------------------------------------------------------------------------

NIC = "pci0000:15/0000:15:01.0/0000:16:00.0"


def test_interfaces_and_rdma_ports_know_their_speed_and_place(machine):
    device = machine.pci(NIC, vendor="0x15b3", device="0x1021", kind="0x020700", numa=1, driver="mlx5_core")
    machine.interface("ib0", device, speed_mbit=400_000)
    machine.rdma("mlx5_0", device, layer="InfiniBand", rate="400 Gb/sec (4X NDR)")
    plain = machine.pci("pci0000:00/0000:00:1f.6", vendor="0x8086", device="0x15fa", kind="0x020000", driver="e1000e")
    machine.interface("eth0", plain, state="down")
    machine.files("/sys/class/net/docker0", operstate="up", speed=10_000)
    eth0, ib0 = read_interfaces(Tree(machine.root))
    assert (eth0.name, eth0.state, eth0.speed_bit_per_s, eth0.numa_node) == ("eth0", LinkState.DOWN, 0, None)
    assert (ib0.driver, ib0.speed_bit_per_s, ib0.numa_node, ib0.pci_path) == ("mlx5_core", 400 * GB, 1, NIC)
    (port,) = read_rdma(Tree(machine.root))
    assert (port.device, port.port, port.link_layer, port.state) == ("mlx5_0", 1, "InfiniBand", LinkState.UP)
    assert (port.speed_bit_per_s, port.interfaces, port.pci_path) == (400 * GB, ("ib0",), NIC)
    assert path_of(Tree(machine.root), "0000:16:00.0") == NIC


def test_an_rdma_port_that_is_not_active_is_down(machine):
    device = machine.pci(NIC, vendor="0x15b3", device="0x1021", kind="0x020700")
    machine.rdma("mlx5_0", device, layer="Ethernet", rate="25 Gb/sec (1X EDR)", state="2: INIT")
    (port,) = read_rdma(Tree(machine.root))
    assert (port.state, port.interfaces) == (LinkState.DOWN, ())


def test_addresses_are_written_as_the_kernel_does():
    assert address_of("00000000:1B:00.0") == "0000:1b:00.0"
    assert address_of("0001:1b:00.0") == "0001:1b:00.0"
    assert address_of("00010000:1B:00.0") == "00010000:1b:00.0", "domains of virtual machines have more digits"


# All of it -------------------------------------------------------------------------------------------------------


def test_an_empty_tree_is_a_machine_about_which_nothing_is_known(machine):
    found = read_machine(Tree(machine.root))
    assert found.processor.threads == 0
    assert (found.numa_nodes, found.disks, found.interfaces, found.rdma) == ((), (), (), ())


def test_this_machine_can_be_described_stored_and_read_back():
    found = read_machine(Tree())
    assert found.processor.threads >= 1
    assert found.memory_bytes > 0
    assert found.disks
    assert decode(encode(found), Hardware) == found

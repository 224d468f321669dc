"""Trees of files that look like ``/proc`` and ``/sys`` of some machine."""

from __future__ import annotations

from pathlib import Path


class MachineTree:
    """Made file by file below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, place: str, content: object = "") -> None:
        path = self.root / place.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")

    def files(self, folder: str, **contents: object) -> None:
        for name, content in contents.items():
            self.file(f"{folder}/{name}", content)

    def folder(self, place: str) -> None:
        (self.root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def link(self, place: str, target: str) -> None:
        path = self.root / place.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(self.root / target.lstrip("/"))

    def pci(self, path: str, *, vendor: str, device: str, kind: str, numa: int = -1, driver: str = "") -> str:
        """A device at ``pci0000:00/0000:00:01.0/…``; returns its folder. ``kind``: the class, such as ``0x030200``."""
        place, address = f"/sys/devices/{path}", path.rpartition("/")[2]
        self.files(place, vendor=vendor, device=device, numa_node=numa)
        self.file(f"{place}/class", kind)
        if driver:
            self.folder(f"/sys/bus/pci/drivers/{driver}")
            self.link(f"{place}/driver", f"/sys/bus/pci/drivers/{driver}")
        self.link(f"/sys/bus/pci/devices/{address}", place)
        return place

    def cpus(self, *, sockets: int, cores: int, threads: int, model: str) -> None:
        """``cores`` per socket, ``threads`` per core, numbered as Linux does: all first threads come first."""
        numbers = range(sockets * cores * threads)
        lines = []
        for cpu in numbers:
            core = cpu % (sockets * cores)
            self.files(
                f"/sys/devices/system/cpu/cpu{cpu}/topology",
                physical_package_id=core // cores,
                core_id=core % cores,
                die_id=0,
            )
            lines.append(f"processor\t: {cpu}\nmodel name\t: {model}\n")
        self.file("/sys/devices/system/cpu/online", f"0-{numbers[-1]}")
        self.file("/proc/cpuinfo", "\n".join(lines))

    def numa(self, index: int, *, cpus: str, memory_kib: int, distances: str) -> None:
        place = f"/sys/devices/system/node/node{index}"
        self.files(place, cpulist=cpus, distance=distances)
        self.file(f"{place}/meminfo", f"Node {index} MemTotal:       {memory_kib} kB\nNode {index} MemFree: 7 kB")

    def interface(self, name: str, device: str, *, state: str = "up", speed_mbit: int = -1) -> None:
        self.files(f"{device}/net/{name}", operstate=state, speed=speed_mbit)
        self.link(f"{device}/net/{name}/device", device)
        self.link(f"/sys/class/net/{name}", f"{device}/net/{name}")

    def rdma(self, name: str, device: str, *, layer: str, rate: str, state: str = "4: ACTIVE") -> None:
        place = f"{device}/infiniband/{name}"
        self.file(f"{place}/fw_ver", "28.39.2048")
        self.files(f"{place}/ports/1", link_layer=layer, rate=rate, state=state)
        self.link(f"{place}/device", device)
        self.link(f"/sys/class/infiniband/{name}", place)

"""One node: what it is made of, and how near its parts are to each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ampacity.model.hardware import NetworkInterface, RdmaPort
from ampacity.model.nearness import nearest
from ampacity.model.node import Device, Node, TopologyPath
from ampacity.model.quantities import print_power
from ampacity.model.site import Site
from ampacity.model.volume import Volume

from .table import Column, Listing
from .units import about_bytes

Port = RdmaPort | NetworkInterface
GBIT = 10**9
_COLUMNS = (
    Column("DEVICE", gives=True),
    Column("KIND"),
    Column("MEMORY", right=True),
    Column("HEALTH"),
    Column("PCI"),
    Column("NUMA", right=True),
    Column("NEAREST NETWORK", gives=True),
)


def nearest_network(node: Node) -> Mapping[str, Mapping[str, object]]:
    """By device: RDMA devices and interfaces that are nearest to it, and how near each of the two is."""
    found: dict[str, Mapping[str, object]] = {}
    for device in node.devices:
        of_device: dict[str, object] = {}
        for name, ports in _ports(node).items():
            near = nearest(device, ports)
            if near is not None:
                of_device[name] = {"names": _names(near[0]), "by": near[1].value}
        found[str(device.id)] = of_device
    return found


def devices_table(node: Node) -> Listing:
    table = Listing(_COLUMNS)
    for device in node.devices:
        table.add(
            str(device.id),
            device.kind,
            about_bytes(device.memory_bytes) if device.memory_bytes else "",
            f"{device.health}: {device.trouble}" if device.trouble else device.health.value,
            device.bus,
            "" if device.numa_node is None else str(device.numa_node),
            _network(node, device),
        )
    return table


def machine_lines(node: Node) -> Iterator[str]:
    """The processor, NUMA nodes, and what there is of a network."""
    yield str(node.id)
    hardware, processor = node.hardware, node.hardware.processor
    if processor.threads:
        counts = f"{processor.sockets} sockets, {processor.cores} cores, {processor.threads} threads"
        yield f"processor  {processor.model or processor.architecture}: {counts}"
    for numa in hardware.numa_nodes:
        yield f"NUMA {numa.index}     CPUs {numa.cpus or 'none'}, {about_bytes(numa.memory_bytes)}"
    for port in hardware.rdma:
        yield f"RDMA       {port.device} port {port.port}: {port.link_layer}, {port.state}, {_speed(port)}"
    for interface in hardware.interfaces:
        yield f"network    {interface.name}: {interface.state}, {_speed(interface)}"
    for problem in hardware.problems:
        yield f"problem    {problem}"


def standing(node: Node, site: Site) -> Mapping[str, object]:
    """What the topology file, or the node itself, says of it: its place in each tree, its feed, and its volumes, each
    with whether it is near."""
    trees = {tree: list(path) for tree, path in _places(node, site)}
    volumes = {name: node.id in volume.near for name, volume in _volumes(node, site)}
    return {"trees": trees, "feed": site.feed(node), "volumes": volumes}


def standing_lines(node: Node, site: Site) -> Iterator[str]:
    """The same for people."""
    for tree, path in _places(node, site):
        yield f"{tree:<10} {' > '.join(path)}"
    if feed := site.feed(node):
        power = f", {print_power(site.feeds[feed])}" if feed in site.feeds else ""
        yield f"feed       {feed}{power}"
    if volumes := _volumes(node, site):
        names = [f"{name} ({volume.path}{', near' if node.id in volume.near else ''})" for name, volume in volumes]
        yield f"volumes    {', '.join(names)}"


def _places(node: Node, site: Site) -> list[tuple[str, TopologyPath]]:
    return [(tree, path) for tree in sorted({**site.levels, **node.trees}) if (path := site.place(node, tree))]


def _volumes(node: Node, site: Site) -> list[tuple[str, Volume]]:
    return sorted((name, volume) for name, volume in site.storage.items() if volume.is_on(node.id))


def device_lines(node: Node) -> Iterator[str]:
    """The links between devices, by the devices' names."""
    names = {device.bus: str(device.id) for device in node.devices if device.bus}
    for link in node.hardware.links:
        yield f"{names.get(link.a, link.a)} - {names.get(link.b, link.b)}: {link.kind} x{link.lanes}"


def _network(node: Node, device: Device) -> str:
    """RDMA devices where there are any, else interfaces: ``mlx5_0 (bridge)``."""
    for ports in _ports(node).values():
        near = nearest(device, ports)
        if near is not None:
            return f"{', '.join(_names(near[0]))} ({near[1]})"
    return ""


def _ports(node: Node) -> Mapping[str, Sequence[Port]]:
    return {"rdma": node.hardware.rdma, "interfaces": node.hardware.interfaces}


def _names(ports: Sequence[Port]) -> list[str]:
    names = [port.device if isinstance(port, RdmaPort) else port.name for port in ports]
    return list(dict.fromkeys(names))


def _speed(port: Port) -> str:
    return f"{port.speed_bit_per_s / GBIT:g} Gbit/s" if port.speed_bit_per_s else "speed not known"

"""Files for ``apply``: all read and checked before anything is submitted, and put in an order that works."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ampacity.cli.failure import Usage
from ampacity.model.errors import InvalidSpec, Where
from ampacity.model.workload import WorkloadSpec

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Read:
    """A checked workload and the file that it stands in."""

    file: str
    spec: WorkloadSpec


@dataclass(frozen=True, slots=True)
class WholeText:
    """The text of a file that changes something as a whole: the queues, the topology, or the routes."""

    file: str
    text: str


@dataclass(slots=True)
class AllRead:
    """What stands in all files: workloads, and at most one file about queues, topology and routes each."""

    workloads: list[Read] = field(default_factory=list)
    queues: list[WholeText] = field(default_factory=list)
    topology: list[WholeText] = field(default_factory=list)
    routes: list[WholeText] = field(default_factory=list)


def read_all(files: Sequence[str]) -> AllRead:
    """Every workload of all files, in their order, but after those of them that it names in ``after``; and the files
    that are about queues, topology or routes, wholly or in part.

    Raises:
        InvalidSpec: a file cannot be read or is wrong, two workloads have one name, they wait for each other, or two
            files are about queues, topology or routes.
        Usage: standard input is asked for twice.
    """
    if list(files).count(STANDARD_INPUT) > 1:
        raise Usage("Standard input can be read once only.", hint="Give `-` once.")
    read, found = AllRead(), dict[str, Read]()
    for file in files:
        shown = "<stdin>" if file == STANDARD_INPUT else file
        directory = Path.cwd() if file == STANDARD_INPUT else Path(file).absolute().parent
        text = _text(file)
        _add_whole(read, text, shown)
        _add_workloads(found, text, shown, directory)
    for what, texts in (("queues", read.queues), ("topology", read.topology), ("routes", read.routes)):
        if len(texts) > 1:
            message = f"is about {what}, and so is {texts[0].file}: that is changed as a whole."
            raise InvalidSpec(message, where=Where(file=texts[1].file), hint="Write all of it in one file.")
    read.workloads = _ordered(found)
    return read


def _add_whole(read: AllRead, text: bytes, shown: str) -> None:
    """The text, under each of the things that it is about and that are changed as a whole."""
    from ampacity.model.queue_file import parse_queue_file
    from ampacity.model.route_file import parse_route_file
    from ampacity.model.topology_file import parse_topology_file

    queue_file = parse_queue_file(text, file=shown)
    if queue_file.queues is not None or queue_file.policy is not None:
        read.queues.append(WholeText(shown, text.decode("utf-8-sig")))
    if parse_topology_file(text, file=shown).about:
        read.topology.append(WholeText(shown, text.decode("utf-8-sig")))
    if parse_route_file(text, file=shown).routes is not None:
        read.routes.append(WholeText(shown, text.decode("utf-8-sig")))


def _add_workloads(found: dict[str, Read], text: bytes, shown: str, directory: Path) -> None:
    from ampacity.model.queue_file import is_about_queues
    from ampacity.model.route_file import is_about_routes
    from ampacity.model.topology_file import is_about_topology
    from ampacity.model.workload_file import parse_workload

    def of_others(plain: object) -> bool:
        return is_about_queues(plain) or is_about_topology(plain) or is_about_routes(plain)

    for spec in parse_workload(text, file=shown, directory=str(directory), skip=of_others):
        if spec.name in found:
            message = f"'{spec.name}' is also the name of a workload in {found[spec.name].file}."
            raise InvalidSpec(message, where=Where(file=shown, key="name"), hint="Give each its own name.")
        found[spec.name] = Read(shown, spec)


def _text(file: str) -> bytes:
    if file == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InvalidSpec(f"{error.strerror}.", where=Where(file=file), hint="Is the path right?") from None


def _ordered(found: dict[str, Read]) -> list[Read]:
    from graphlib import CycleError, TopologicalSorter

    sorter = TopologicalSorter(
        {name: [other for other in read.spec.after if other in found] for name, read in found.items()}
    )
    try:
        order = list(sorter.static_order())
    except CycleError as error:
        circle = error.args[1]
        message = f"these wait for each other: {' <- '.join(circle)}."
        raise InvalidSpec(
            message, where=Where(file=found[circle[0]].file, key="after"), hint="Take one of them out of `after`."
        ) from None
    return [found[name] for name in order]

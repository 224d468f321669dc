"""Files for ``apply``: all read and checked before anything is submitted, and put in an order that works."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
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
class QueueText:
    """The text of a file that has documents about queues."""

    file: str
    text: str


def read_all(files: Sequence[str]) -> tuple[list[Read], list[QueueText]]:
    """Every workload of all files, in their order, but after those of them that it names in ``after``; and the files
    that are about queues, wholly or in part.

    Raises:
        InvalidSpec: a file cannot be read or is wrong, two workloads have one name, they wait for each other, or two
            files are about queues.
        Usage: standard input is asked for twice.
    """
    from ampacity.model.queue_file import is_about_queues, parse_queue_file
    from ampacity.model.workload_file import parse_workload

    if list(files).count(STANDARD_INPUT) > 1:
        raise Usage("Standard input can be read once only.", hint="Give `-` once.")
    found: dict[str, Read] = {}
    queue_texts: list[QueueText] = []
    for file in files:
        shown = "<stdin>" if file == STANDARD_INPUT else file
        directory = Path.cwd() if file == STANDARD_INPUT else Path(file).absolute().parent
        text = _text(file)
        about = parse_queue_file(text, file=shown)
        if about.queues is not None or about.policy is not None:
            queue_texts.append(QueueText(shown, text.decode("utf-8-sig")))
        for spec in parse_workload(text, file=shown, directory=str(directory), skip=is_about_queues):
            if spec.name in found:
                message = f"'{spec.name}' is also the name of a workload in {found[spec.name].file}."
                raise InvalidSpec(message, where=Where(file=shown, key="name"), hint="Give each its own name.")
            found[spec.name] = Read(shown, spec)
    if len(queue_texts) > 1:
        message = f"is about queues, and so is {queue_texts[0].file}: the tree is changed as a whole."
        raise InvalidSpec(message, where=Where(file=queue_texts[1].file), hint="Write all of it in one file.")
    return _ordered(found), queue_texts


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

"""Reading a workload file, and checking a spec that comes as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ampacity.model.errors import InvalidSpec, Where
from ampacity.model.workload import WorkloadSpec

from .check import check
from .contradictions import contradictions
from .mistakes import Mistake, Mistakes, Path
from .spec import spec_of
from .tree import read_documents


def parse_workload(
    text: str | bytes, *, file: str, directory: str, skip: Callable[[object], bool] | None = None
) -> tuple[WorkloadSpec, ...]:
    """The workloads of a file, one for each YAML document.

    Args:
        text: the file's content.
        file: its name, for messages.
        directory: where it lies, absolute: relative paths in it are taken from there.
        skip: which documents (as plain values) are no workloads, and are passed over.

    Raises:
        InvalidSpec: with the line and key of the topmost mistake; the hint goes on to name all others.
    """
    _absolute(directory)
    mistakes = Mistakes(file=file)
    documents = read_documents(text, mistakes)
    if not documents and not mistakes.found:
        mistakes.add(
            Mistake("there is no workload in it.", hint="Write keys, such as 'name: hello' and 'run: echo hello'.")
        )
    specs: list[WorkloadSpec] = []
    first_line: dict[str, int] = {}
    for document in documents:
        if skip is not None and skip(document.value):
            continue
        spec = _spec(document.value, document.line_of, directory, mistakes)
        if spec is None:
            continue
        line = document.line_of(("name",))
        if spec.name in first_line:
            message = f"'{spec.name}' is the name of another workload of this file, in line {first_line[spec.name]}."
            mistakes.add(Mistake(message, path=("name",), line=line, hint="Give each its own name."))
        first_line.setdefault(spec.name, line)
        specs.append(spec)
    mistakes.raise_any()
    return tuple(specs)


def spec_from_plain(plain: Mapping[str, object], *, directory: str = "/") -> WorkloadSpec:
    """The spec of keys and values as a workload file has them, made by a program.

    Args:
        plain: the same keys as in a file; numbers may be given as numbers or as text, ``None`` is left out.
        directory: absolute; relative paths are taken from there.

    Raises:
        InvalidSpec: with the key of the first mistake; the hint goes on to name all others.
    """
    _absolute(directory)
    mistakes = Mistakes()
    spec = _spec(_given(plain), lambda path: 0, directory, mistakes)
    mistakes.raise_any()
    assert spec is not None, "without a mistake there is a spec"
    return spec


def _spec(plain: object, line_of: Callable[[Path], int], directory: str, mistakes: Mistakes) -> WorkloadSpec | None:
    keys = check(plain, line_of, mistakes)
    if keys is None:
        return None
    found = [replace(mistake, line=line_of(mistake.path)) for mistake in contradictions(keys)]
    for mistake in found:
        mistakes.add(mistake)
    return None if found else spec_of(keys, directory)


def _given(plain: object) -> object:
    """Without the keys whose value is ``None``: a program leaves them out so."""
    if not isinstance(plain, Mapping):
        return plain
    return {str(key): _given(value) for key, value in plain.items() if value is not None}


def _absolute(directory: str) -> None:
    if not directory.startswith("/"):
        raise InvalidSpec(
            f"{directory!r} is not an absolute path.", where=Where(key="directory"), hint="Give it from / on."
        )

"""YAML text to plain values that still know their lines.

The composer's nodes are read here, not constructed by ruamel.yaml: so every value keeps its line and its text as it
was written (``LR: 3e-4`` stays ``3e-4``), doubled keys are found, and only maps, lists and scalars can be built.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from .mistakes import Mistake, Mistakes, Path

_MAX_CHARACTERS = 1_000_000
_MAX_NODES = 50_000
_MAX_DEPTH = 40
_TAG = "tag:yaml.org,2002:"


class Number(str):
    """A number as it was written, not in quotes."""

    __slots__ = ()


Plain = None | bool | str | Number | list["Plain"] | dict[str, "Plain"]


@dataclass(slots=True)
class Document:
    """One YAML document and the line (from 1) of each of its keys and items."""

    value: Plain
    line: int
    lines: dict[Path, int] = field(default_factory=dict)

    def line_of(self, path: Path) -> int:
        """The line of the place, or of the nearest one above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, self.line)


def read_documents(text: str | bytes, mistakes: Mistakes) -> list[Document]:
    """The documents of a file that are not empty. Mistakes are added to ``mistakes``; what they spoil is left out."""
    if isinstance(text, bytes):
        text = _decoded(text, mistakes)
    if len(text) > _MAX_CHARACTERS:
        mistakes.add(Mistake("is too long for a workload file.", hint="Put data into files of their own."))
        return []
    found: list[Document] = []
    try:
        for root in YAML(typ="rt", pure=True).compose_all(text):
            if root is not None and not _is_null(root):
                found.append(_Reader(mistakes).document(root))
    except RecursionError:
        mistakes.add(Mistake("is nested too deeply.", hint="A workload file needs three levels at most."))
    except MarkedYAMLError as error:
        mistakes.add(_yaml_mistake(error))
    except (YAMLError, ValueError, TypeError, AttributeError, KeyError, IndexError, AssertionError) as error:
        # ruamel.yaml meets some malformed texts with plain Python errors of its own.
        problem = " ".join(str(error).split())[:120] or type(error).__name__
        mistakes.add(Mistake(f"is not valid YAML: {problem}.", hint="Is it a text file?"))
    return found


def _decoded(data: bytes, mistakes: Mistakes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        mistakes.add(Mistake("is not a text file (not UTF-8).", line=line, hint="Give a YAML file, saved as UTF-8."))
        return ""


def _yaml_mistake(error: MarkedYAMLError) -> Mistake:
    mark = error.problem_mark or error.context_mark
    problem = " ".join(str(error.problem or error.context or "it cannot be read").split())
    hint = "Check the indentation, and put text that has ': ' or ' #' in it in quotes."
    if "\\t" in problem or "\t" in problem:
        hint = "Indent with spaces, not with tabs."
    return Mistake(f"is not valid YAML: {problem}.", line=0 if mark is None else mark.line + 1, hint=hint)


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and str(node.tag) == _TAG + "null"


class _Reader:
    """Turns the nodes of one document into plain values."""

    def __init__(self, mistakes: Mistakes) -> None:
        self._mistakes = mistakes
        self._lines: dict[Path, int] = {}
        self._count = 0

    def document(self, root: Node) -> Document:
        value = self._value(root, ())
        return Document(value=value, line=root.start_mark.line + 1, lines=self._lines)

    def _value(self, node: Node, path: Path) -> Plain:
        self._count += 1
        if self._count > _MAX_NODES or len(path) > _MAX_DEPTH:
            if self._count != _MAX_NODES + 2:
                self._wrong(node, path[:1], "is nested too deeply, or refers to itself.", "Write the values out.")
            self._count = _MAX_NODES + 1
            return None
        match node:
            case MappingNode():
                return self._mapping(node, path)
            case SequenceNode():
                return self._sequence(node, path)
            case ScalarNode():
                return self._scalar(node, path)
            case _:
                raise AssertionError(f"a node of an unknown type: {node!r}")

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Plain]:
        if str(node.tag) != _TAG + "map":
            self._wrong(node, path, f"has the tag {node.tag}, which is not known here.", "Leave the tag out.")
        found: dict[str, Plain] = {}
        for key_node, value_node in self._within(node.value):
            key = self._key(key_node, path)
            if key is None:
                continue
            if (*path, key) in self._lines:
                first = self._lines[*path, key]
                self._wrong(key_node, (*path, key), f"is given twice; the first time in line {first}.", "Keep one.")
                continue
            self._lines[*path, key] = key_node.start_mark.line + 1
            if _is_null(value_node):
                self._wrong(key_node, (*path, key), "has no value.", "Give one, or leave the key out.")
            else:
                found[key] = self._value(value_node, (*path, key))
        return found

    def _sequence(self, node: SequenceNode, path: Path) -> list[Plain]:
        if str(node.tag) != _TAG + "seq":
            self._wrong(node, path, f"has the tag {node.tag}, which is not known here.", "Leave the tag out.")
        found: list[Plain] = []
        for position, item in enumerate(node.value):
            if self._count > _MAX_NODES:
                break
            self._lines[*path, position] = item.start_mark.line + 1
            found.append(self._value(item, (*path, position)))
        return found

    def _within(self, pairs: list[tuple[Node, Node]]) -> Iterator[tuple[Node, Node]]:
        for pair in pairs:
            if self._count > _MAX_NODES:
                return
            yield pair

    def _key(self, node: Node, path: Path) -> str | None:
        if not isinstance(node, ScalarNode):
            self._wrong(node, path, "has a key that is not plain text.", "Write keys as plain words.")
            return None
        if str(node.tag) == _TAG + "merge":
            self._wrong(node, path, "merges another map with '<<', which is not supported yet.", "Write the keys out.")
            return None
        return self._text(node, path)

    def _scalar(self, node: ScalarNode, path: Path) -> Plain:
        text = self._text(node, path)
        match str(node.tag).removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" | "float":
                return Number(text)
            case "str" | "timestamp" | "value":
                return text
            case tag:
                self._wrong(node, path, f"has the tag {tag}, which is not known here.", "Leave the tag out.")
                return text

    def _text(self, node: ScalarNode, path: Path) -> str:
        text = str(node.value)
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            self._wrong(node, path, "has characters in it that are not text.", "Write plain text.")
            return "?"
        return text

    def _wrong(self, node: Node, path: Path, message: str, hint: str) -> None:
        self._mistakes.add(Mistake(message, path=path, line=node.start_mark.line + 1, hint=hint))

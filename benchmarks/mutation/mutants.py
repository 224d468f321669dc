"""Small changes of a module, one at a time, that its tests should notice."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
}
_NAMED = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True, slots=True)
class Point:
    """Where something can be changed.

    Attributes:
        place, part: which expression in the walk over the tree, and which part of it.
        lines: the first and the last line of the statement, or of its head where it has a body.
        function: the function around it, with its classes; empty = it is worked out when the module is loaded.
    """

    place: int
    part: int
    line: int
    lines: tuple[int, int]
    function: str
    before: str
    after: str


def points(source: str) -> list[Point]:
    """All of a module, in the order of the walk. Annotations, decorators and docstrings are left as they are."""
    tree = ast.parse(source)
    left_out = {id(inner) for each in ast.walk(tree) for part in _annotations(each) for inner in ast.walk(part)}
    functions = {id(inner): name for inner, name in _inside(tree, "", "")}
    lines = dict(_lines(tree, (0, 0)))
    found = []
    for place, node in enumerate(ast.walk(tree)):
        for part in range(len(node.ops) if isinstance(node, ast.Compare) else 1):
            changed = copy.deepcopy(node)
            if id(node) not in left_out and _mutate(changed, part):
                line: int = node.lineno  # type: ignore[attr-defined]
                where = line, lines[id(node)], functions[id(node)]
                found.append(Point(place, part, *where, ast.unparse(node), ast.unparse(changed)))
    return found


def changed_tree(source: str, point: Point) -> ast.Module:
    """The module with the change in it; its lines keep their numbers."""
    tree = ast.parse(source)
    _mutate(next(each for index, each in enumerate(ast.walk(tree)) if index == point.place), point.part)
    return ast.fix_missing_locations(tree)


def _inside(node: ast.AST, around: str, function: str) -> Iterator[tuple[ast.AST, str]]:
    """Each expression with the outermost function whose body it is in. Defaults are worked out outside of it."""
    yield node, function
    for name, field in ast.iter_fields(node):
        for child in field if isinstance(field, list) else [field]:
            if not isinstance(child, ast.AST):
                continue
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and name == "body":
                path = f"{around}.{node.name}".lstrip(".")
                named = function or (path if isinstance(node, ast.FunctionDef) else "")
                yield from _inside(child, path, named)
            else:
                yield from _inside(child, around, function)


def _lines(node: ast.AST, around: tuple[int, int]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Of each expression, by its id, the lines that run if it does. Coverage does not see each line of a statement."""
    if isinstance(node, ast.stmt):
        body = getattr(node, "body", None)
        around = node.lineno, max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno
    elif isinstance(node, ast.match_case):
        around = node.pattern.lineno, max(node.pattern.lineno, node.body[0].lineno - 1)
    yield id(node), around
    for child in ast.iter_child_nodes(node):
        yield from _lines(child, around)


def _annotations(node: ast.AST) -> list[ast.AST]:
    parts = [getattr(node, name, None) for name in ("annotation", "returns")]
    return [part for part in (*parts, *getattr(node, "decorator_list", [])) if part is not None]


def _mutate(node: ast.AST, choice: int) -> bool:
    match node:
        case ast.Compare() if type(node.ops[choice]) in _COMPARED:
            node.ops[choice] = _COMPARED[type(node.ops[choice])]()
        case ast.BoolOp():
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        case ast.BinOp() if type(node.op) in _COUNTED:
            node.op = _COUNTED[type(node.op)]()
        case ast.UnaryOp(op=ast.Not()):
            node.op = ast.UAdd()
        case ast.UnaryOp(op=ast.USub()):
            node.op = ast.UAdd()
        case ast.Constant(value=bool()):
            node.value = not node.value
        case ast.Constant(value=int() | float()):
            node.value = node.value + 1
        case ast.Name(id=name, ctx=ast.Load()) if name in _NAMED:
            node.id = _NAMED[name]
        case _:
            return False
    return True

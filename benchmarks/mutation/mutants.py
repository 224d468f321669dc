"""Small changes of a module, one at a time, that its tests should notice."""

from __future__ import annotations

import ast
import copy
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
class Mutant:
    """``source``: the whole module with the change in it. ``before`` and ``after``: the expression."""

    line: int
    before: str
    after: str
    source: str


def points(source: str) -> list[tuple[int, int]]:
    """Where something can be changed: the place of an expression in the walk over the tree, and which part of it.
    Annotations, decorators and docstrings are left as they are."""
    tree = ast.parse(source)
    left_out = {id(inner) for each in ast.walk(tree) for part in _annotations(each) for inner in ast.walk(part)}
    found = []
    for place, node in enumerate(ast.walk(tree)):
        parts = len(node.ops) if isinstance(node, ast.Compare) else 1
        if id(node) not in left_out:
            found += [(place, part) for part in range(parts) if _mutate(copy.deepcopy(node), part)]
    return found


def mutant(source: str, place: int, part: int) -> Mutant:
    """The change at one of the points."""
    tree = ast.parse(source)
    node = next(each for index, each in enumerate(ast.walk(tree)) if index == place)
    before = ast.unparse(node)
    _mutate(node, part)
    line: int = node.lineno  # type: ignore[attr-defined]
    return Mutant(line, before, ast.unparse(node), ast.unparse(ast.fix_missing_locations(tree)))


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

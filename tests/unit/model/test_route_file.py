"""Route files: what they say, and that every mistake in one is told with its line before anything changes."""

from __future__ import annotations

import pytest

from ampacity.model.errors import InvalidSpec
from ampacity.model.route import Fallback, Route, Shadow, Share, Sticky, Trouble, resolved
from ampacity.model.route_file import parse_route_file

FILE = """\
routes:
  gpt-4o-mini: chat
  chat:
    to: {writer: 95, writer-next: 5}
    sticky: key
    shadow: {model: draft, percent: 10}
    fallback:
      - {on: error, to: small}
      - {on: queue, after: 5s, to: small}
      - {on: budget, to: tiny}
  small: {to: small-1}
"""
CHAT = Route(
    name="chat",
    to=(Share(model="writer", weight=95.0), Share(model="writer-next", weight=5.0)),
    sticky=Sticky.KEY,
    shadow=Shadow(model="draft", percent=10.0),
    fallback=(
        Fallback(on=Trouble.ERROR, to="small"),
        Fallback(on=Trouble.QUEUE, to="small", after_s=5.0),
        Fallback(on=Trouble.BUDGET, to="tiny"),
    ),
)


def test_what_a_file_says() -> None:
    read = parse_route_file(FILE, file="r.yaml")
    small = Route(name="small", to=(Share(model="small-1"),))
    assert read.routes == (CHAT, Route(name="gpt-4o-mini", alias="chat"), small)
    named = {route.name: route for route in resolved(read.routes)}
    assert named["gpt-4o-mini"].to == CHAT.to
    assert named["gpt-4o-mini"].name == "gpt-4o-mini"


def test_an_alias_of_no_route_is_one_of_a_model() -> None:
    read = parse_route_file("routes: {a: b, b: model-1}", file="r.yaml")
    assert read.routes is not None
    assert [route.to for route in resolved(read.routes)] == [(Share(model="model-1"),)] * 2


def test_a_route_may_have_the_name_of_a_model_behind_it() -> None:
    read = parse_route_file(
        "routes:\n  writer: {to: {writer: 9, next: 1}, fallback: [{on: error, to: writer}]}", file="r.yaml"
    )
    assert read.routes is not None
    assert read.routes[0].models == ("writer", "next")


def test_no_routes_is_something_else_than_nothing_about_routes() -> None:
    assert parse_route_file("routes: {}\n", file="r.yaml").routes == ()
    assert parse_route_file("name: x\nrun: echo\n---\nqueues: {a: {}}\n", file="r.yaml").routes is None


R = "routes:\n  a:\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("routes: [a]\n", 1, "routes: has to be a map of routes by their names, not a list."),
        ("routes:\n  a: 5\n", 2, "has to be a model's name or a map of keys, not the number 5."),
        ("routes:\n  a: {}\n", 2, "routes.a.to: is missing."),
        ("routes:\n  'a b': c\n", 2, "is not a name."),
        ("routes:\n  a: b c\n", 2, "stands for 'b c', which is not a name."),
        ("routes:\n  a: a\n", 2, "leads in a circle: a -> a."),
        ("routes:\n  a: b\n  b: c\n  c: b\n", 3, "leads in a circle: b -> c -> b."),
        (R + "    to: {b: 0}\n", 3, "gives nobody anything."),
        (R + "    to: {b: -1}\n", 3, "has to be 0 or more, not -1."),
        (R + "    to: {b: much}\n", 3, "has to be a number, not the text 'much'."),
        (R + "    to: {c: 1, d: 1}\n  c: {to: x}\n", 3, "c is a route, not a model."),
        (R + "    to: b\n    sticky: user\n", 4, "has to be one of session, key, none, not the text 'user'."),
        (R + "    to: b\n    shadow: {model: c, percent: 101}\n", 4, "has to be above 0 and 100 at most, not 101."),
        (R + "    to: b\n    shadow: {model: c}\n", 4, "routes.a.shadow.percent: is missing."),
        (R + "    to: b\n    fallback: [{on: eror, to: c}]\n", 4, "Did you mean error?"),
        (R + "    to: b\n    fallback: [{on: queue, to: c}]\n", 4, "is missing: after which time in line?"),
        (R + "    to: b\n    fallback: [{on: error, after: 2s, to: c}]\n", 4, "goes with 'on: queue' only"),
        (R + "    to: b\n    fallback: [{on: error, to: b}]\n", 4, "b is what it falls back from."),
        (R + "    to: b\n    fallback: [{on: error, to: c}, {on: error, to: c}]\n", 4, "c is named twice for 'error'."),
        (
            R + "    to: b\n    fallback: [{on: error, to: c}]\n  c: {to: d, fallback: [{on: budget, to: a}]}\n",
            4,
            "leads in a circle: a -> c -> a.",
        ),
        (R + "    to: b\n    weight: 3\n", 4, "routes.a.weight: is not a key that is known here."),
        ("routes: {}\n---\nroutes: {}\n", 3, "is given twice; the first time in line 1."),
    ],
)
def test_mistakes(text: str, line: int, words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_route_file(text, file="r.yaml")
    where = caught.value.where
    assert where is not None
    assert (where.file, where.line) == ("r.yaml", line)
    assert words in f"{caught.value.message} {caught.value.hint}"

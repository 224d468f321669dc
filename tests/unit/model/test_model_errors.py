"""The tree of errors: what it draws is what it is, and each has a code of its own on the wire."""

from __future__ import annotations

from ampacity.model import errors
from ampacity.model.errors import AmpacityError, InvalidSpec, LaunchFailed, NotFound, UserError, Where, error_types


def own(kind: type[AmpacityError]) -> list[type[AmpacityError]]:
    return [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]


def drawn() -> dict[str, list[str]]:
    """The children of each name, as the page at the top of the module draws them."""
    children: dict[str, list[str]] = {}
    path: list[str] = []
    assert errors.__doc__ is not None
    for line in errors.__doc__.splitlines():
        left, mark, rest = line.partition("── ")
        if not mark:
            if line.strip() == "AmpacityError":
                path = ["AmpacityError"]
            continue
        depth = (len(left) - 1) // 4
        name = rest.split()[0]
        path = [*path[:depth], name]
        children.setdefault(path[-2], []).append(name)
    return children


def test_the_drawing_is_the_tree() -> None:
    found: dict[str, list[str]] = {}
    pending: list[type[AmpacityError]] = [AmpacityError]
    while pending:
        kind = pending.pop()
        if own(kind):
            found[kind.__name__] = sorted(each.__name__ for each in own(kind))
            pending += own(kind)
    assert {name: sorted(names) for name, names in drawn().items()} == found


def test_an_error_says_what_and_what_to_do() -> None:
    assert str(NotFound("There is no a.", hint="Did you mean b?")) == "There is no a. Did you mean b?"
    assert str(NotFound("There is no a.")) == "There is no a."


def test_an_invalid_spec_says_where() -> None:
    place = Where(file="w.yaml", line=3, key="run")
    assert str(InvalidSpec("is empty.", where=place, hint="Write a command.")) == (
        "w.yaml:3: run: is empty. Write a command."
    )
    assert str(InvalidSpec("is empty.", where=Where(key="run"))) == "run: is empty."
    assert str(Where(file="w.yaml")) == "w.yaml"
    assert str(InvalidSpec("is empty.")) == "is empty."


def test_every_error_has_a_code_of_its_own_and_users_errors_a_users_status() -> None:
    found = error_types()
    pending: list[type[AmpacityError]] = [AmpacityError]
    count = 0
    while pending:
        kind = pending.pop()
        pending.extend(kind.__subclasses__())
        if kind.__module__ == AmpacityError.__module__:
            count += 1
            assert found[kind.code] is kind
            assert not issubclass(kind, UserError) or 400 <= kind.status < 600
    assert count == len([kind for kind in found.values() if kind.__module__ == AmpacityError.__module__])


def test_the_message_and_the_hint_are_two_sentences_in_one_line() -> None:
    assert str(LaunchFailed("it would hide /x", hint="Mount it elsewhere.")) == "it would hide /x. Mount it elsewhere."
    assert str(LaunchFailed("It is so.", hint="Do that.")) == "It is so. Do that."
    assert str(LaunchFailed("it is so")) == "it is so"

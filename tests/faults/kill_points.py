"""Points to be killed at inside every call of a driver and every transaction of a store, put there from outside."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ampacity.drivers.base import Driver
from ampacity.store.base import Store
from ampacity.store.sql import SqlStore

At = Callable[[str], None]

CALLS = ("ensure_started", "ensure_stopped", "facts", "nodes")
DRIVER_POINTS = tuple(f"driver.{call}.{when}" for call in CALLS for when in ("before", "after"))
STORE_POINTS = ("store.begun", "store.before_commit", "store.committed")


class DriverAt:
    """A driver whose calls pass the points; all else is its own."""

    def __init__(self, driver: Driver, at: At) -> None:
        self._driver, self._at = driver, at

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._driver, name)
        return self._passing(name, value) if name in CALLS else value

    def _passing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def passing(*args: Any, **keys: Any) -> Any:
            self._at(f"driver.{name}.before")
            answer = call(*args, **keys)
            self._at(f"driver.{name}.after")
            return answer

        return passing


def store_at(store: Store, at: At) -> Store:
    """The store, with the points in each of its transactions that write."""
    assert isinstance(store, SqlStore)
    writing: Callable[[], AbstractContextManager[Any]] = store._writing

    @contextmanager
    def passing() -> Any:
        with writing() as connection:
            at("store.begun")
            yield connection
            at("store.before_commit")
        at("store.committed")

    store._writing = passing  # type: ignore[method-assign]
    return store

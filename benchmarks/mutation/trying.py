"""Whether the tests notice a change. Each is tried in a fork of a process that has collected the tests."""

from __future__ import annotations

import ast
import gc
import importlib.abc
import importlib.util
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest
from drawing import Change
from hypothesis import HealthCheck, Phase, settings
from mutants import changed_tree
from reaching import OPTIONS, Reach

FEW = 8
"""So many examples of a property are tried first; all of them only if no test has noticed anything by then."""

PATIENCE_S, PATIENCE_TIMES = 15.0, 20.0
"""A test that takes so long, and so many times as long as without the change, does not end any more: noticed."""

MEMORY_BYTES = 6 * 2**30
"""What a process may map beyond what it has, so that a list that grows for ever ends."""

NOTICED, SURVIVED, UNREACHED, ENDLESS = "noticed", "survived", "unreached", "endless"


class Verdicts:
    """What came of each change; written down at once, so that a run may go on where another one ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.found: dict[str, str] = dict(json.loads(line) for line in lines)

    def put(self, change: Change, verdict: str) -> None:
        self.found[change.key] = verdict
        with self._path.open("a") as file:
            file.write(json.dumps([change.key, verdict]) + "\n")


def use_profile() -> None:
    """The same examples each time, and no looking for the smallest of those that fail."""
    settings.register_profile(
        "mutation",
        database=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutation")


class Trying:
    """As a plugin of pytest: instead of running the tests that were collected it tries one change after another."""

    def __init__(
        self, scheduler: Path, changes: Sequence[Change], reach: Reach, verdicts: Verdicts, until: float
    ) -> None:
        self._scheduler, self._changes, self._reach = scheduler, changes, reach
        self._verdicts, self._until = verdicts, until
        self._failed = False

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        gc.collect()
        gc.freeze()
        for change in self._changes:
            if time.monotonic() > self._until:
                break
            tests = self._reach.of(change.path, change.point.lines)
            if not tests:
                self._verdicts.put(change, UNREACHED)
                continue
            child = os.fork()
            if child == 0:
                os._exit(self._try(change, [items[test] for test in tests]))
            self._verdicts.put(change, verdict_of(child))
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= report.failed

    def _try(self, change: Change, items: list[pytest.Item]) -> int:
        begin_child()
        swap(self._scheduler / change.path, change)
        full = [item for item in items if with_examples(item, FEW)]
        if self._run(items):
            return 1
        for item in full:
            with_examples(item, None)
        return int(self._run(full))

    def _run(self, items: Iterable[pytest.Item]) -> bool:
        for item in items:
            signal.setitimer(signal.ITIMER_REAL, PATIENCE_S + PATIENCE_TIMES * self._reach.duration_s(item.nodeid))
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            if self._failed:
                return True
        return False


def begin_child() -> None:
    """Nothing that a changed scheduler does may reach beyond its process."""
    os.setsid()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES, resource.RLIM_INFINITY))


def verdict_of(child: int) -> str:
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        return ENDLESS
    return SURVIVED if code == 0 else NOTICED


_EXAMPLES: dict[str, settings] = {}


def with_examples(item: pytest.Item, most: int | None) -> bool:
    """Have a property tried with so many examples (``None``: as it says itself); whether it is one."""
    function = getattr(item, "obj", None)
    holder: object = item.cls if isinstance(item, pytest.Function) and hasattr(item.cls, "settings") else None
    name = "settings"
    if holder is None and hasattr(function, "hypothesis"):
        holder, name = getattr(function, "__func__", function), "_hypothesis_internal_use_settings"
    if holder is None:
        return False
    own = _EXAMPLES.setdefault(item.nodeid, getattr(holder, name, None) or settings())
    few = own if most is None else settings(own, max_examples=min(most, own.max_examples))
    setattr(holder, name, few)
    return True


def swap(path: Path, change: Change) -> None:
    """Give the functions of a loaded module the code that they have with the change in it."""
    tree = changed_tree(path.read_text(), change.point)
    changed = {(code.co_qualname, code.co_firstlineno): code for code in _codes(compile(tree, str(path), "exec"))}
    gc.unfreeze()
    swapped = 0
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and each.__code__.co_filename == str(path):
            code = changed.get((each.__code__.co_qualname, each.__code__.co_firstlineno))
            if code is not None and code != each.__code__:
                each.__code__ = code
                swapped += 1
    assert swapped, f"no function has the change: {change.say()}"


def _codes(code: CodeType) -> Iterable[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _codes(each)


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Hands out the changed code of one module."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self._name, self._path, self._tree = name, path, tree

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self._name else None

    def get_source(self, fullname: str) -> str:
        return self._path.read_text()

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._tree, str(self._path), "exec")


def try_loading(scheduler: Path, change: Change, reach: Reach, root: Path) -> str:
    """A change in what is worked out when the module is loaded: the tests are collected anew. In a process that has
    not loaded the scheduler."""
    tests = reach.of(change.path, None)
    child = os.fork()
    if child == 0:
        begin_child()
        signal.setitimer(
            signal.ITIMER_REAL, PATIENCE_S + PATIENCE_TIMES * sum(reach.duration_s(test) for test in tests)
        )
        path = scheduler / change.path
        name = "ampacity.scheduler." + ".".join(Path(change.path).with_suffix("").parts)
        found = _Changed(name.removesuffix(".__init__"), path, changed_tree(path.read_text(), change.point))
        sys.meta_path.insert(0, found)
        use_profile()
        os._exit(int(pytest.main([*OPTIONS, "-x", f"--rootdir={root}", *(f"{root}/{test}" for test in tests)])))
    return verdict_of(child)

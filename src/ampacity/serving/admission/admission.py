"""Admission: refuses, lets in, or holds in line; and learns from how it ended.

One object for all models of an endpoint. Each call brings ``now``, seconds of a steady clock that never goes back;
``wall_offset`` turns it into seconds since the epoch, for what goes by the calendar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ampacity.model.access import ApiKey, ProjectLimits
from ampacity.model.ids import KeyId, Project

from .account import NO_LIMITS, Account
from .model_line import Ending, ModelLine
from .policy import AdmissionPolicy
from .verdict import HELD, Entry, Go, Held, Refused, Verdict


class Admission:
    """Keys are known by now (:class:`Doorkeeper`): this is about how much, and whose turn it is."""

    def __init__(self) -> None:
        self.wall_offset = 0.0
        self._lines: dict[str, ModelLine] = {}
        self._keys: dict[KeyId, Account] = {}
        self._projects: dict[Project, Account] = {}
        self._weights: dict[Project, float] = {}
        self._waiting: set[str] = set()

    # What is in force -----------------------------------------------------------------------------------------------

    def set_policies(self, policies: Mapping[str, AdmissionPolicy]) -> None:
        """From now on these are the models. One that is gone stays until what waits for it has gone."""
        for model, policy in policies.items():
            self._line(model).set_policy(policy)
        for model in self._lines.keys() - policies.keys():
            line = self._lines[model]
            if not len(line.line) and not line.in_flight:
                del self._lines[model]
                self._waiting.discard(model)

    def set_room(self, model: str, room: int | None) -> None:
        """So many requests of the model are let in at once, from now on; ``None`` = all."""
        self._line(model).set_room(room)

    def set_limits(self, keys: Iterable[ApiKey], projects: Iterable[ProjectLimits], now: float) -> None:
        """From now on these are all keys and limits. What was used of limits that stay stays used."""
        known = {key.id: key for key in keys}
        for gone in self._keys.keys() - known.keys():
            del self._keys[gone]
        for key in known.values():
            self._of_key(key, now).set_limits(key.limits, now)
        self._weights.clear()
        for account in self._projects.values():
            account.set_limits(NO_LIMITS, now)
        for row in projects:
            self._of_project(row.project, now).set_limits(row.limits, now)
            self._weights[row.project] = row.weight

    def set_spent(self, keys: Mapping[KeyId, float], projects: Mapping[Project, float], now: float) -> None:
        """What the books say was spent, by those who have a budget, in its present period."""
        wall = now + self.wall_offset
        for id, money in keys.items():
            if id in self._keys:
                self._keys[id].set_spent(money, wall)
        for project, money in projects.items():
            if project in self._projects:
                self._projects[project].set_spent(money, wall)

    # One request -----------------------------------------------------------------------------------------------------

    def ask(self, entry: Entry, now: float) -> Verdict:
        """Whether it may come in. One that was held comes by ``released`` or goes by ``withdrawn``; one that was let in
        ends by ``ended``."""
        line = self._line(entry.model)
        entry.cost = entry.tokens + line.learned.output(entry.max_tokens)
        entry.accounts = accounts = self._accounts(entry, now)
        wall = now + self.wall_offset
        for account in accounts:
            refused = account.refusal(entry.cost, now, wall, despite_budget=entry.despite_budget)
            if refused is not None:
                return refused
        verdict = line.ask(entry, now)
        if isinstance(verdict, Go) and verdict.model:
            line = self._line(verdict.model)
            entry.model, entry.verdict = verdict.model, verdict
            verdict = line.enter(entry, now)
        if isinstance(verdict, Refused):
            return verdict
        for account in accounts:
            account.take(entry.cost, now)
        if isinstance(verdict, Held):
            self._waiting.add(entry.model)
            return HELD
        return entry.verdict

    def adopt(self, entry: Entry, now: float) -> None:
        """It is under way already: another one had let it in. It counts, whatever the limits say, and ends by
        ``ended``."""
        line = self._line(entry.model)
        entry.cost = entry.tokens + line.learned.output(entry.max_tokens)
        entry.accounts = self._accounts(entry, now)
        for account in entry.accounts:
            account.take(entry.cost, now)
        line.adopt(entry)

    def released(self, now: float) -> list[tuple[Entry, Go | Refused]]:
        """Those who stood in line and are let in now, or refused because their time is up; in order."""
        found: list[tuple[Entry, Go | Refused]] = []
        for model in list(self._waiting):
            line = self._lines[model]
            for entry, verdict in line.released(now):
                if isinstance(verdict, Refused):
                    self._undo(entry, now)
                found.append((entry, verdict))
            if not len(line.line):
                self._waiting.discard(model)
        return found

    def withdrawn(self, entry: Entry, now: float) -> None:
        """The client of a held entry has left."""
        if self._lines[entry.model].leave(entry):
            self._undo(entry, now)

    def ended(
        self,
        entry: Entry,
        now: float,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        money: float = 0.0,
        ending: Ending = Ending.COMPLETE,
    ) -> None:
        """One that was let in has ended. Tokens as the engine counted them; ``None`` = it did not say, and what was
        reserved counts."""
        used = entry.cost
        if ending is Ending.FAILED:
            used = 0
        elif output_tokens is not None:
            used = (entry.tokens if input_tokens is None else input_tokens) + output_tokens
        self._lines[entry.model].ended(entry, now, used=used, output=output_tokens, ending=ending)
        wall = now + self.wall_offset
        for account in entry.accounts:
            account.give_back(entry.cost, used, now)
            if money:
                account.spend(money, wall)

    def next_wake(self) -> float | None:
        """When ``released`` may have news without any other call; ``None`` = never."""
        times = [due for model in self._waiting if (due := self._lines[model].next_due()) is not None]
        return min(times, default=None)

    def waiting(self, model: str) -> int:
        """How many stand in line for the model."""
        return len(self._lines[model].line) if model in self._lines else 0

    # -----------------------------------------------------------------------------------------------------------------

    def _undo(self, entry: Entry, now: float) -> None:
        for account in entry.accounts:
            account.undo(entry.cost, now)

    def _accounts(self, entry: Entry, now: float) -> tuple[Account, ...]:
        of_project = self._of_project(entry.project, now)
        return (of_project,) if entry.key is None else (self._of_key(entry.key, now), of_project)

    def _of_key(self, key: ApiKey, now: float) -> Account:
        account = self._keys.get(key.id)
        if account is None:
            account = self._keys[key.id] = Account(f"the key {key.name!r}", key.limits, now)
        return account

    def _of_project(self, project: Project, now: float) -> Account:
        account = self._projects.get(project)
        if account is None:
            account = self._projects[project] = Account(f"the project {project!r}", NO_LIMITS, now)
        return account

    def _line(self, model: str) -> ModelLine:
        line = self._lines.get(model)
        if line is None:
            line = self._lines[model] = ModelLine(model, self._weights)
        return line

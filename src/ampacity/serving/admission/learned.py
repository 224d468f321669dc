"""What is learned of a model from its answers: how long they take, and how long they are."""

from __future__ import annotations

STEP = 0.1
"""How much the newest answer counts: about the last twenty make the mean."""

SOON = 5
"""So many answers have to be known before anything is refused because of them."""

DEVIATIONS = 2.0
FIRST_GUESS_TOKENS = 256


class Learned:
    """Means that follow the newest answers, and the mean deviation of the time, as TCP does it for round trips
    (Jacobson, SIGCOMM 1988)."""

    __slots__ = ("_count", "_deviation_s", "_output", "_service_s", "cost")

    def __init__(self) -> None:
        self._count = 0
        self._service_s = self._deviation_s = 0.0
        self._output = float(FIRST_GUESS_TOKENS)
        self.cost = 1.0

    @property
    def known(self) -> bool:
        return self._count >= SOON

    def output(self, max_tokens: int | None) -> int:
        """How long an answer may become, in tokens."""
        usual = round(self._output)
        return usual if max_tokens is None else min(usual, max_tokens)

    def service_s(self, max_tokens: int | None) -> float:
        """How long an answer takes in the mean; a shorter one takes less."""
        if max_tokens is None or max_tokens >= self._output:
            return self._service_s
        return self._service_s * max_tokens / self._output

    def surely_s(self, max_tokens: int | None) -> float:
        """How long it takes, but for few."""
        return self.service_s(max_tokens) + DEVIATIONS * self._deviation_s

    def note(self, *, service_s: float, output: int | None, cost: int) -> None:
        """An answer is complete. ``output`` ``None``: nobody said how many tokens it has."""
        self._count += 1
        if self._count == 1:
            self._service_s, self.cost = service_s, float(max(1, cost))
            self._output = self._output if output is None else float(max(1, output))
            return
        self._deviation_s += STEP * (abs(service_s - self._service_s) - self._deviation_s)
        self._service_s += STEP * (service_s - self._service_s)
        self.cost += STEP * (max(1, cost) - self.cost)
        if output is not None:
            self._output += STEP * (max(1, output) - self._output)

"""A request to a route: which of its models it goes to, and who else may answer. Others carry none of it."""

from __future__ import annotations

import msgspec

from ampacity.model.access import ApiKey
from ampacity.model.route import Fallback, Route, Sticky, Trouble
from ampacity.serving.routing.split import is_within, pick, seed_of

from .answers import Refusal
from .heads import RequestHead
from .tables import Tables

TROUBLES = {
    "insufficient_quota": Trouble.BUDGET,
    "overloaded": Trouble.QUEUE,
    "deadline_exceeded": Trouble.QUEUE,
    "model_not_found": Trouble.ERROR,
    "no_replica": Trouble.ERROR,
}
"""What a refusal of the desk's is, to those who may fall back."""


class _Caller(msgspec.Struct, gc=False):
    prompt_cache_key: str = ""
    safety_identifier: str = ""
    user: str = ""


_caller = msgspec.json.Decoder(_Caller)


class Choice:
    """``name``: what was asked for; ``model``: what answers now; ``trouble``: why it is not one of the first choice.
    ``shadow``: the model that gets a copy, empty = none. ``arrived``: when the request came, whoever had it since."""

    __slots__ = ("_rules", "_seed", "_tables", "_tried", "arrived", "model", "name", "request_id", "shadow", "trouble")

    def __init__(
        self, route: Route, tables: Tables, *, head: RequestHead, body: bytes, who: ApiKey | None, id: bytes, now: float
    ) -> None:
        """Raises ``Refusal`` (503): none of its models is served."""
        self.name, self.arrived, self.request_id, self._tables = route.name, now, head.request_id or id, tables
        self._seed = seed_of(_sticky(route.sticky, head, body, who) or self.request_id)
        self._rules = [(route.name, rule) for rule in route.fallback]
        self._tried: set[str] = set()
        self.trouble: Trouble | None = None
        shadow = route.shadow
        follows = shadow is not None and is_within(shadow.percent, f"shadow {route.name}", seed_of(self.request_id))
        self.shadow = shadow.model if follows and shadow is not None else ""
        self.model = self._of_route(route, ready=True)
        if not self.model and not self.next(Trouble.ERROR):
            self.model = self._of_route(route, ready=False)
            if not self.model:
                message = f"None of the models behind {route.name!r} is served now."
                raise Refusal(503, message, code="no_replica", headers=((b"retry-after", b"5"),))

    def may(self, trouble: Trouble) -> bool:
        """Whether another one would answer."""
        return self._find(trouble) is not None

    def next(self, trouble: Trouble) -> bool:
        """Let another one answer, if there is one: ``model`` is that one now."""
        found = self._find(trouble)
        if found is None:
            return False
        self._tried.add(self.model)
        self.model, route = found
        self.trouble = trouble
        if route is not None:
            self._rules = [(route.name, rule) for rule in route.fallback] + self._rules
        return True

    @property
    def queue_after_s(self) -> float:
        """After so long in line another one may answer; 0 = none may."""
        return min((rule.after_s for _, rule in self._rules if rule.on is Trouble.QUEUE), default=0.0)

    def note(self, model: str) -> bytes:
        """What a client is told of it: lines of the answer's head."""
        line = f"x-ampacity-model: {model}\r\n"
        return (line if self.trouble is None else f"{line}x-ampacity-fallback: {self.trouble}\r\n").encode()

    def _find(self, trouble: Trouble) -> tuple[str, Route | None] | None:
        """The first rule for this trouble that leads to a model with replicas that has not been tried."""
        for owner, rule in self._rules:
            if rule.on is trouble:
                model, route = self._target(owner, rule)
                if model:
                    return model, route
        return None

    def _target(self, owner: str, rule: Fallback) -> tuple[str, Route | None]:
        route = None if rule.to == owner else self._tables.public.get(rule.to)
        if route is not None:
            return self._of_route(route, ready=True), route
        return rule.to if self._is_open(rule.to, ready=True) else "", None

    def _of_route(self, route: Route, *, ready: bool) -> str:
        """One of its models that are served; empty = none is. ``ready``: that have replicas."""
        open_ = [share for share in route.to if share.weight > 0 and self._is_open(share.model, ready=ready)]
        return pick(open_, self._seed) if open_ else ""

    def _is_open(self, model: str, *, ready: bool) -> bool:
        found = self._tables.find(model)
        return found is not None and model not in self._tried and (bool(found.replicas) or not ready)


def _sticky(sticky: Sticky, head: RequestHead, body: bytes, who: ApiKey | None) -> bytes:
    """What it follows; empty = nothing was given."""
    if sticky is Sticky.KEY:
        return b"" if who is None else who.id.encode()
    if sticky is Sticky.NONE:
        return b""
    if head.session:
        return head.session
    try:
        caller = _caller.decode(body)
    except msgspec.DecodeError:
        return b""  # the engine will say what is wrong with it
    return (caller.prompt_cache_key or caller.safety_identifier or caller.user).encode()

"""How fast jobs run on each kind of accelerator that they may have: so places are chosen where kinds are mixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import log2

from ampacity.model.history import RuntimeHistory
from ampacity.model.ids import WorkloadId
from ampacity.model.resources import ANY_KIND, WHOLE_MILLI, AcceleratorRequest, ResourceRequest
from ampacity.model.workload import WorkloadSpec

from .placing.throughput import PEAK_TFLOPS, Rate, rates

STEPS_A_DOUBLING = 8
"""Rates are told apart in steps of a ninth, so that places are not chosen anew with every measurement."""

Rates = tuple[tuple[str, float], ...]
"""Steps/s for each accelerator, by kind, sorted."""


def chooses(request: ResourceRequest) -> bool:
    """Whether it may run on more than one kind."""
    return len({each.kind for each in request.accelerators} | {each.kind for each in request.throughput}) > 1 or any(
        each.kind == ANY_KIND for each in request.accelerators
    )


@dataclass(slots=True)
class Paces:
    """Rates of live workloads that may run on several kinds, from what their owners say and what was measured.

    Attributes:
        measured: steps/s for each accelerator, by the kind of job and that of the accelerator.
        choosing: the live workloads that may run on several kinds, with their kind of job; ``given``: those of them
            whose owners say how fast they run.
    """

    measured: dict[str, Mapping[str, float]] = field(default_factory=dict)
    choosing: dict[WorkloadId, str] = field(default_factory=dict)
    given: set[WorkloadId] = field(default_factory=set)
    _known: dict[tuple[str, ResourceRequest, int], Mapping[str, Rate]] = field(default_factory=dict)

    def put(self, workload: WorkloadId, job: str, spec: WorkloadSpec | None) -> None:
        """A workload as it now is; ``spec`` ``None``: it is not live."""
        self.choosing.pop(workload, None)
        self.given.discard(workload)
        if spec is not None and chooses(spec.resources):
            self.choosing[workload] = job
            if spec.resources.throughput:
                self.given.add(workload)

    def learn(self, job: str, history: RuntimeHistory | None) -> set[WorkloadId]:
        """What was measured of a kind of job; those whose rates may be others by it."""
        measured = {} if history is None else {kind: _rounded(rate) for kind, rate in history.rates.items()}
        if measured == self.measured.get(job, {}):
            return set()
        if measured:
            self.measured[job] = measured
        else:
            del self.measured[job]
        self._known.clear()
        return self.given | {id for id, key in self.choosing.items() if key in self.measured or key == job}

    def of(self, job: str, spec: WorkloadSpec) -> Mapping[str, Rate]:
        """Steps/s for each accelerator, by kind; of kinds of which nothing can be said there is none."""
        request, least = spec.resources, spec.num_nodes.minimum
        if not chooses(request) or not (request.throughput or job in self.measured):
            return {}
        key = job, request, least
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._worked_out(job, request, least)
        return found

    def rates(self, job: str, spec: WorkloadSpec) -> Rates:
        return tuple(sorted((kind, rate.steps_per_s) for kind, rate in self.of(job, spec).items()))

    def _worked_out(self, job: str, request: ResourceRequest, members: int) -> Mapping[str, Rate]:
        given = {
            each.kind: _rounded(each.steps_per_s / (members * _devices(wanted)))
            for each in request.throughput
            if (wanted := _asked_of(request, each.kind)) is not None
        }
        measured = self.measured.get(job, {})
        others = [found for other, found in sorted(self.measured.items()) if other != job and len(found) > 1]
        kinds = sorted({*PEAK_TFLOPS, *given, *measured, *(kind for each in others for kind in each)})
        return rates(kinds, given=given, measured=measured, others=others)


def liked(request: ResourceRequest, known: Rates) -> Iterator[AcceleratorRequest]:
    """The alternatives, the fastest first where that is known of all of them, else as they are written."""
    of, wanted = dict(known), request.accelerators
    if all(each.kind in of for each in wanted):
        wanted = tuple(sorted(wanted, key=lambda each: -of[each.kind] * _devices(each)))
    yield from wanted


def say_paces(spec: WorkloadSpec, found: Mapping[str, Rate], kinds: list[str]) -> str:
    """``3.1 steps/s on H100 (measured), 1.2 on A100 (given)``, the fastest first.

    Args:
        kinds: those that there are.
    """
    members, parts = spec.num_nodes.minimum, []
    for kind in kinds:
        wanted = _asked_of(spec.resources, kind)
        if wanted is not None and kind in found:
            parts.append((found[kind].steps_per_s * members * _devices(wanted), kind, found[kind].source))
    parts.sort(key=lambda part: (-part[0], part[1]))
    return ", ".join(
        f"{rate:.2g}{' steps/s' if index == 0 else ''} on {kind} ({source})"
        for index, (rate, kind, source) in enumerate(parts[:4])
    )


def _asked_of(request: ResourceRequest, kind: str) -> AcceleratorRequest | None:
    """What it asks for where it gets that kind."""
    return next((each for each in request.accelerators if each.kind in (kind, ANY_KIND)), None)


def _devices(wanted: AcceleratorRequest) -> float:
    return wanted.count.minimum * wanted.milli / WHOLE_MILLI


def _rounded(rate: float) -> float:
    return float(2.0 ** (round(STEPS_A_DOUBLING * log2(rate)) / STEPS_A_DOUBLING))

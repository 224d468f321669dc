"""How much of its capacity is left to an endpoint when far more is asked for than it can answer?"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import uvloop
from reporting import Figures, parser
from scene import Engines, running_engines, running_gateway

from ampacity.cli.bench.arrivals import poisson
from ampacity.cli.bench.exchange import target_of
from ampacity.cli.bench.load import Ask, Load
from ampacity.cli.bench.outcome import Ending, Outcome, Slo, spread_of

RATES = "0.5,1,1.5,2,3,4"
QUICK_RATES = "0.5,1,2,4"
LASTS_S, QUICK_LASTS_S = 10.0, 5.0
WARM_UP_S = 1.5
SLO_S = 1.0
"""An answer within ten times the time that an engine takes for it."""

PATIENCE_S = 5.0
"""How long an answer is waited for, beyond which there was none: far longer than it is of use."""

FLOOD, MODEST = "flood", "modest"
MODEST_LOAD = 0.2


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Requests of one project. ``load``: of all engines' capacity."""

    project: str
    load: float
    seed: int


async def offer(
    url: str, engines: Engines, streams: list[Stream], lasts_s: float, *, told_s: float | None = SLO_S
) -> dict[str, list[Outcome]]:
    """All streams at once; outcomes by project."""

    async def one(stream: Stream) -> list[Outcome]:
        ask = Ask(model="mock", stream=False, timeout_s=PATIENCE_S, told_s=told_s, seed=stream.seed)
        drawn = poisson(stream.load * engines.per_s, seed=stream.seed, input_tokens=16, output_tokens=10)
        load = Load(target_of(url, stream.project), ask)
        await load.run(takewhile(lambda arrival: arrival.at < WARM_UP_S + lasts_s, drawn))
        return load.outcomes

    found = await asyncio.gather(*(one(stream) for stream in streams))
    return {stream.project: outcomes for stream, outcomes in zip(streams, found, strict=True)}


def goodput_of(outcomes: list[Outcome], lasts_s: float) -> float:
    """Answers within the objective, a second, that came while the load was steady: after the warm-up, and before the
    last requests were sent."""
    slo = Slo(total_s=SLO_S)
    came = (outcome.due_s + outcome.total_s for outcome in outcomes if slo.met(outcome))
    return sum(WARM_UP_S <= at < WARM_UP_S + lasts_s for at in came) / lasts_s


def unanswered(outcomes: list[Outcome]) -> int:
    """Those that got neither an answer nor a refusal."""
    return sum(outcome.ending in (Ending.LATE, Ending.FAILED) for outcome in outcomes)


def sweep(figures: Figures, engines: Engines, rates: list[float], lasts_s: float, seed: int, *, guarded: bool) -> int:
    """Goodput at each load, of the best at any; how many were left without an answer. ``guarded``: the gateway knows
    what an engine takes at once and how long clients wait. Without, it is what a gateway without admission is."""
    suffix = "" if guarded else "_without_admission"
    goodput: dict[float, float] = {}
    left = 0
    concurrency = engines.concurrency if guarded else 0
    for rate in rates:
        with (
            tempfile.TemporaryDirectory() as folder,
            running_engines(engines) as urls,
            running_gateway(Path(folder), urls, concurrency=concurrency, projects=(FLOOD,)) as url,
        ):
            stream = Stream(project=FLOOD, load=rate, seed=seed)
            offered = offer(url, engines, [stream], lasts_s, told_s=SLO_S if guarded else None)
            outcomes = uvloop.run(offered)[FLOOD]
        goodput[rate] = goodput_of(outcomes, lasts_s)
        without = unanswered(outcomes)
        left += without
        refused = sum(outcome.ending is Ending.REFUSED for outcome in outcomes)
        behind = spread_of(outcomes, lambda outcome: outcome.sent_s)
        figures.note(
            f"load {rate:g}{suffix}: {len(outcomes)} asked, {goodput[rate]:.1f}/s in time, {refused} refused, "
            f"{without} without an answer; generator late by {1000 * behind.p99 if behind else 0:.1f} ms (p99)"
        )
    best = max(goodput.values())
    for rate, goal in ((2.0, 95), (4.0, 90)):
        if rate in goodput:
            figures.add(
                f"goodput_at_{rate:g}x_percent{suffix}", 100 * goodput[rate] / best, f">= {goal}" if guarded else ""
            )
    figures.add(f"best_goodput_of_capacity_percent{suffix}", 100 * best / engines.per_s)
    return left


def beside_a_flood(figures: Figures, engines: Engines, lasts_s: float, seed: int) -> int:
    """A project that asks for a fifth of the capacity, beside one that asks for four times of it."""
    streams = [
        Stream(project=FLOOD, load=4.0, seed=seed + 1),
        Stream(project=MODEST, load=MODEST_LOAD, seed=seed + 2),
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        running_engines(engines) as urls,
        running_gateway(Path(folder), urls, concurrency=engines.concurrency, projects=(FLOOD, MODEST)) as url,
    ):
        found = uvloop.run(offer(url, engines, streams, lasts_s))
    slo = Slo(total_s=SLO_S)
    good = sum(slo.met(outcome) for outcome in found[MODEST])
    figures.add("modest_tenant_success_percent", 100 * good / len(found[MODEST]), ">= 99")
    figures.add("flood_share_of_capacity_percent", 100 * goodput_of(found[FLOOD], lasts_s) / engines.per_s)
    return sum(unanswered(outcomes) for outcomes in found.values())


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rates", help=f"loads, of the capacity [{RATES}]")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started ends, too
    rates = [float(rate) for rate in (given.rates or (QUICK_RATES if given.quick else RATES)).split(",")]
    lasts_s = QUICK_LASTS_S if given.quick else LASTS_S
    engines = Engines()
    figures = Figures("overload")
    figures.note(
        f"{engines.count} engines, {engines.concurrency} at once, {engines.service_s:g} s each: {engines.per_s:g}/s"
    )
    left = sweep(figures, engines, rates, lasts_s, given.seed, guarded=True)
    left += beside_a_flood(figures, engines, lasts_s, given.seed)
    figures.add("unanswered", left, "= 0")
    if not given.quick:
        sweep(figures, engines, [rate for rate in rates if rate in (1.0, 2.0)], lasts_s, given.seed, guarded=False)
    figures.write(given.json)


if __name__ == "__main__":
    main()

"""What does the gateway cost a request, beside the Rust routers and LiteLLM?

python benchmarks/gateway/run.py [--quick] [--json FILE] [--seed N] [--only saturation,latency,…]
"""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from load import Run, closed_loop, open_loop, require_wrk
from memory import idle_mb_per_10k, rss_growth
from reporting import Figures, parser
from targets import (
    KEY,
    Target,
    compile_hot_path,
    engines,
    free_port,
    is_compiled,
    litellm,
    ours,
    sglang_router,
    tls_arguments,
    vllm_router,
)

from ampacity.serving.metering.spool import Spool

PARTS = ("saturation", "streams", "prefix", "latency", "litellm", "memory", "tls", "workers")
CPUS = sorted(os.sched_getaffinity(0))
GATEWAY_CPUS, LOAD_CPUS = {CPUS[0]}, set(CPUS[1:]) or {CPUS[0]}
"""The gateway on one core; engines and load on the others."""

ROUND_ROBIN = ("--router", "round_robin")
Starting = Callable[[], AbstractContextManager[Target]]


@dataclass(frozen=True)
class Scene:
    """What all parts need."""

    figures: Figures
    ports: list[int]
    folder: Path
    seed: int
    quick: bool

    @property
    def rounds(self) -> int:
        return 2 if self.quick else 5

    @property
    def seconds(self) -> float:
        return 1.0

    def ours(self, name: str, *more: str, cpus: set[int] | None = None) -> AbstractContextManager[Target]:
        return ours(name, self.ports, self.folder, cpus or GATEWAY_CPUS, *more)

    def routers(self, policy: str) -> list[Starting]:
        """The peers that route; none with ``--quick``."""
        if self.quick:
            return []
        return [partial(start, self.ports, self.folder, GATEWAY_CPUS, policy) for start in (vllm_router, sglang_router)]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--only", default=",".join(PARTS), help="these parts alone, with commas between")
    chosen = options.parse_args()
    require_wrk()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard) if soft < hard else (soft, hard))
    figures = Figures("gateway")
    if not chosen.quick:
        compile_hot_path()
    figures.note(f"the hot path is {'compiled' if is_compiled() else 'not compiled'}")
    with tempfile.TemporaryDirectory(prefix="gateway-") as name, engines(2, Path(name), LOAD_CPUS) as ports:
        scene = Scene(figures, ports, Path(name), chosen.seed, chosen.quick)
        for part in chosen.only.split(","):
            globals()[f"measure_{part}"](scene)
    figures.write(chosen.json)


@contextlib.contextmanager
def started(starts: list[Starting]) -> Iterator[list[Target]]:
    with ExitStack() as stack:
        yield [stack.enter_context(start()) for start in starts]


def interleaved(scene: Scene, targets: list[Target], *, seconds: float = 0.0, **what: object) -> dict[str, list[Run]]:
    """Short runs in turn, so that the machine's moods meet all of them. ``seconds`` 0 = as the scene has it."""
    runs: dict[str, list[Run]] = {target.name: [] for target in targets}
    for number in range(scene.rounds):
        for target in targets:
            run = closed_loop(
                target, seconds=seconds or scene.seconds, seed=scene.seed + number, cpus=LOAD_CPUS, key=KEY, **what
            )
            if run.failed:
                scene.figures.note(f"{target.name}: {run.failed} requests failed with {what}")
            runs[target.name].append(run)
    for name, found in runs.items():
        scene.figures.note(f"{name} {what}: {told(found)}")
    return runs


def told(runs: list[Run]) -> str:
    """The middle of some runs, and their spread."""
    rates = sorted(run.per_cpu_s for run in runs)
    a_second = statistics.median(run.requests / run.duration_s for run in runs)
    p50, p99 = (statistics.median(values) for values in zip(*((run.p50_ms, run.p99_ms) for run in runs), strict=True))
    spread = f"{rates[0]:.0f}-{rates[-1]:.0f}"
    return f"{rate(runs):.0f}/CPU s ({spread}), {a_second:.0f}/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms"


def rate(runs: list[Run]) -> float:
    return statistics.median(run.per_cpu_s for run in runs)


def versus(runs: dict[str, list[Run]], own: str) -> float | None:
    """Ours against the best of the others."""
    others = [rate(found) for name, found in runs.items() if name != own]
    return rate(runs[own]) / max(others) if others else None


def measure_saturation(scene: Scene) -> None:
    """Not streaming, both sizes, few and many connections."""
    ratios: list[float] = []
    with started([partial(scene.ours, "ours", *ROUND_ROBIN), *scene.routers("round_robin")]) as targets:
        for size in (200, 4096):
            runs = interleaved(scene, targets, size=size, kind="whole", connections=64)
            scene.figures.add(f"requests_per_cpu_s_{size}", rate(runs["ours"]))
            if (ratio := versus(runs, "ours")) is not None:
                ratios.append(ratio)
        scene.figures.values["requests_per_cpu_s"] = min(
            scene.figures.values[f"requests_per_cpu_s_{size}"] for size in (200, 4096)
        )
        for connections in () if scene.quick else (1, 512, 4096):
            # Thousands of connections take a second to open, to the engines as well: that is not what is asked here.
            seconds = 5.0 if connections > 1000 else 0.0
            runs = interleaved(scene, targets, seconds=seconds, size=200, kind="whole", connections=connections)
            ratio = versus(runs, "ours")
            assert ratio is not None, "the peers run where it is not quick"
            scene.figures.add(f"vs_best_router_{connections}_connections", ratio)
        scene.figures.add("rss_mb", targets[0].rss_mb())
    if ratios:
        scene.figures.add("vs_best_router", min(ratios), ">= 2")


def measure_streams(scene: Scene) -> None:
    """50 chunks at once, and 50 chunks 2 ms apart."""
    with started([partial(scene.ours, "ours", *ROUND_ROBIN), *scene.routers("round_robin")]) as targets:
        for kind, goal in (("burst", ">= 4"), ("paced", ">= 1.1")):
            # Paced streams leave the core idle for three quarters of a second: it takes three to count their CPU time.
            seconds = 3.0 if kind == "paced" and not scene.quick else 0.0
            runs = interleaved(scene, targets, seconds=seconds, size=200, kind=kind, connections=64)
            scene.figures.add(f"requests_per_cpu_s_{kind}", rate(runs["ours"]))
            if (ratio := versus(runs, "ours")) is not None:
                scene.figures.add(f"vs_best_router_{kind}", ratio, goal)


def measure_prefix(scene: Scene) -> None:
    """All with prefix routing."""
    with started([partial(scene.ours, "ours", "--router", "prefix"), *scene.routers("cache_aware")]) as targets:
        ratios = []
        for size in (200, 4096):
            runs = interleaved(scene, targets, size=size, kind="whole", connections=64)
            scene.figures.add(f"prefix_requests_per_cpu_s_{size}", rate(runs["ours"]))
            if (ratio := versus(runs, "ours")) is not None:
                ratios.append(ratio)
        if ratios:
            scene.figures.add("prefix_vs_best_router_prefix", min(ratios), ">= 3")


def measure_tls(scene: Scene) -> None:
    """The same requests over kept TLS connections."""
    port = free_port()
    with started([partial(scene.ours, "ours", *ROUND_ROBIN, *tls_arguments(scene.folder, port))]) as targets:
        plain = targets[0]
        secret = Target("ours over TLS", port, plain.process, "https")
        runs = interleaved(scene, [plain, secret], size=200, kind="whole", connections=64)
        scene.figures.add("tls_cost_percent", 100.0 * (rate(runs["ours"]) / rate(runs["ours over TLS"]) - 1.0))


def measure_workers(scene: Scene) -> None:
    """Two workers and their dispatcher, on one core as all others; and what the dispatcher takes of it."""
    workers = ("--workers", "2", *ROUND_ROBIN)
    with started([partial(scene.ours, "ours", *workers), *scene.routers("round_robin")]) as targets:
        found = next(each for each in targets[0].processes() if "--dispatches" in each.cmdline())
        dispatcher = Target("dispatcher", 0, found)
        before = dispatcher.cpu_s()
        runs = interleaved(scene, targets, size=200, kind="whole", connections=64)
        requests = sum(run.requests for run in runs["ours"])
        scene.figures.add("dispatcher_us", 1e6 * (dispatcher.cpu_s() - before) / requests, "<= 10")
        scene.figures.add("requests_per_cpu_s_2_workers", rate(runs["ours"]))
        scene.figures.add("rss_mb_2_workers", targets[0].rss_mb())
        if (ratio := versus(runs, "ours")) is not None:
            scene.figures.add("vs_best_router_2_workers", ratio)


def measure_latency(scene: Scene) -> None:
    """An open loop of 1,000 requests/s over 64 connections: what each adds to the direct way."""
    with started([partial(scene.ours, "ours", *ROUND_ROBIN), *scene.routers("round_robin")]) as targets:
        ports = {"direct": scene.ports[0], **{target.name: target.port for target in targets}}
        p50: dict[str, list[float]] = {name: [] for name in ports}
        p99: dict[str, list[float]] = {name: [] for name in ports}
        for number in range(scene.rounds):
            for name, port in ports.items():
                seconds, seed = 2 * scene.seconds, scene.seed + number
                told = open_loop(port, rate=1000, connections=64, seconds=seconds, seed=seed, cpus=LOAD_CPUS, key=KEY)
                p50[name].append(told["p50_ms"])
                p99[name].append(told["p99_ms"])
    middle = {name: (statistics.median(p50[name]), statistics.median(p99[name])) for name in ports}
    for name, (half, tail) in middle.items():
        scene.figures.note(f"{name} at 1,000/s: p50 {half:.3f} ms, p99 {tail:.3f} ms")
    direct = middle.pop("direct")
    added = {name: (half - direct[0], tail - direct[1]) for name, (half, tail) in middle.items()}
    scene.figures.add("added_p50_ms", added["ours"][0], "<= 0.25")
    scene.figures.add("added_p99_ms", added["ours"][1])
    others = [tail for name, (_, tail) in added.items() if name != "ours"]
    if others:
        scene.figures.add("added_p99_vs_best_router", added["ours"][1] / min(others), "<= 1")


def measure_litellm(scene: Scene) -> None:
    if scene.quick:
        return
    peer = partial(litellm, scene.ports, scene.folder, GATEWAY_CPUS)
    with started([partial(scene.ours, "ours"), peer]) as targets:
        # LiteLLM takes seconds to answer 64 at once: in a short run most would be begun and not answered.
        runs = interleaved(scene, targets, seconds=5.0, size=200, kind="whole", connections=64)
        ratio = versus(runs, "ours")
        assert ratio is not None, "LiteLLM was started"
        scene.figures.add("vs_litellm", ratio, ">= 200")


def measure_memory(scene: Scene) -> None:
    with started([partial(scene.ours, "ours")]) as targets:
        scene.figures.add("idle_mb_per_10k_connections", idle_mb_per_10k(targets[0]), "<= 40")
        requests = 50_000 if scene.quick else 3_000_000
        spool = Spool(scene.folder / "usage")
        marks = rss_growth(targets[0], requests, spool=spool, seed=scene.seed, cpus=LOAD_CPUS, key=KEY)
        shown = ", ".join(f"{each:.1f}" for each in marks)
        scene.figures.note(f"memory: MB after each tenth of {requests:,} requests: {shown}")
        scene.figures.add("rss_growth_mb_per_million", (marks[-1] - marks[0]) * 1e6 / requests, "<= 1")


if __name__ == "__main__":
    main()

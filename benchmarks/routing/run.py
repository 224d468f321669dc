"""How long prompts wait for their first token under each routing policy, on published traces and simulated nodes.

python benchmarks/routing/run.py [--quick] [--traces conversation,…] [--real] [--json FILE]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from as_served import COMPILED
from bounds import decision_us, index_mb
from peers import Algorithm1, Random
from real import measure as measure_real
from reporting import Figures, parser
from simulate import BLOCK_TOKENS, NODE_BLOCKS, Outcome, Request, Run, cost_at, read_trace
from variants import VARIANTS, Variant

from ampacity.serving.routing import PrefillCost, Prefix, Router, Settings

NODES = 8
HEAVY, LIGHT = 0.9e15, 1.0e15


def prefix(cost: PrefillCost, *, learn: bool = False) -> Prefix:
    """Ours.

    What differs from the gateway's settings is the size of blocks, and that nodes take one prompt at a time.
    """
    return Prefix(
        Settings(
            block_tokens=BLOCK_TOKENS, cost=cost, lead_s=0.0, instant_s=0.0, learn=learn, engine_blocks=NODE_BLOCKS
        )
    )


def algorithm_1(cost: PrefillCost) -> Router:
    return Algorithm1(cost, block_tokens=BLOCK_TOKENS, node_blocks=NODE_BLOCKS)


def least_loaded(cost: PrefillCost) -> Router:
    return Algorithm1(cost, block_tokens=BLOCK_TOKENS, node_blocks=NODE_BLOCKS, by_cache=False)


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--traces", default="conversation", help="of those under DATA/mooncake, separated by commas")
    options.add_argument("--real", action="store_true", help="real engines behind the real gateway, instead of traces")
    options = options.parse_args()
    figures = Figures("routing")
    figures.note(f"the router is {'compiled' if COMPILED else 'not compiled'}")
    if options.real:
        measure_real(figures, quick=options.quick, seed=options.seed)
    else:
        for number, name in enumerate(options.traces.split(",")):
            path = options.data / "mooncake" / f"{name}_trace.jsonl.gz"
            measure_trace(figures, read_trace(path), name, first=number == 0, quick=options.quick, seed=options.seed)
        figures.add("index_mb", index_mb(seed=options.seed, tickets=20_000 if options.quick else 200_000))
    figures.write(options.json)


def measure_trace(
    figures: Figures, trace: Sequence[Request], name: str, *, first: bool, quick: bool, seed: int
) -> None:
    """The first trace's figures have their names alone; those of further ones begin with the trace's."""
    print(f"{name}: {len(trace):,} requests on {NODES} nodes", flush=True)
    lead = "" if first else f"{name}_"
    for flops, mark in ((HEAVY, ""), (LIGHT, "_light")):
        cost = cost_at(flops)
        print(f" F = {flops:.1e}", flush=True)
        if not quick:
            tell("random", Run(Random(seed), trace, nodes=NODES, cost=cost).go())
            tell("least loaded", Run(least_loaded(cost), trace, nodes=NODES, cost=cost).go())
        theirs = tell("Algorithm 1", Run(algorithm_1(cost), trace, nodes=NODES, cost=cost).go())
        ours = tell("prefix", Run(prefix(cost), trace, nodes=NODES, cost=cost).go())
        compare(figures, lead, mark, ours, theirs)
        if not quick:
            # The same with nothing known of the engines' speed: the model's is twice as fast as they are.
            learning = prefix(cost_at(2 * flops), learn=True)
            learned = tell("prefix, learning", Run(learning, trace, nodes=NODES, cost=cost).go())
            figures.add(f"{lead}mean_ttft_cut_percent_learning{mark}", cut_percent(learned, theirs))
    figures.add(f"{lead}decision_us_p50", decision_us(prefix, trace), "<= 20")
    if not quick:
        for variant in VARIANTS:
            measure_variant(figures, lead, variant, variant.of(trace, seed))


def measure_variant(figures: Figures, lead: str, variant: Variant, trace: Sequence[Request]) -> None:
    print(f" {variant.name}: {len(trace):,} requests on {variant.nodes} nodes", flush=True)
    cost = cost_at(HEAVY)
    theirs = tell("Algorithm 1", Run(algorithm_1(cost), trace, nodes=variant.nodes, cost=cost).go())
    ours = tell("prefix", Run(prefix(cost), trace, nodes=variant.nodes, cost=cost).go())
    figures.add(f"{lead}{variant.name}_cut_percent", cut_percent(ours, theirs))
    figures.add(f"{lead}{variant.name}_p99_ratio", ours.quantile_s(0.99) / theirs.quantile_s(0.99))
    figures.add(f"{lead}{variant.name}_max_ratio", max(ours.ttft_s) / max(theirs.ttft_s))


def compare(figures: Figures, lead: str, mark: str, ours: Outcome, theirs: Outcome) -> None:
    figures.add(f"{lead}mean_ttft_cut_percent{mark}", cut_percent(ours, theirs), ">= 15" if mark else ">= 22")
    figures.add(f"{lead}p99_ttft_ratio{mark}", ours.quantile_s(0.99) / theirs.quantile_s(0.99), "<= 1.05")
    figures.add(f"{lead}max_ttft_ratio{mark}", max(ours.ttft_s) / max(theirs.ttft_s), "<= 1.2")


def cut_percent(ours: Outcome, theirs: Outcome) -> float:
    return 100.0 * (1.0 - ours.mean_s / theirs.mean_s)


def tell(name: str, outcome: Outcome) -> Outcome:
    shares = "  ".join(f"p{share * 100:.0f} {outcome.quantile_s(share):.2f}" for share in (0.5, 0.9, 0.99))
    work = outcome.work_s / len(outcome.ttft_s)
    print(f"  {name:<18} mean {outcome.mean_s:.3f}  {shares}  max {max(outcome.ttft_s):.1f}  prefill {work:.3f} s")
    return outcome


if __name__ == "__main__":
    main()

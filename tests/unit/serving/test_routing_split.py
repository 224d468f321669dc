"""Weights: the same seed, the same side; the parts are as large as they should be; only who has to moves."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ampacity.model.route import Share
from ampacity.serving.routing.split import is_within, pick, seed_of

SEEDS = [seed_of(b"%d" % number) for number in range(20_000)]


def shares(**weights: float) -> list[Share]:
    return [Share(model=model, weight=weight) for model, weight in weights.items()]


def test_parts_are_as_large_as_their_weights() -> None:
    found = Counter(pick(shares(a=90, b=9, c=1, d=0), seed) for seed in SEEDS)
    assert set(found) == {"a", "b", "c"}
    for model, part in (("a", 0.90), ("b", 0.09), ("c", 0.01)):
        assert abs(found[model] / len(SEEDS) - part) < 4 * (part * (1 - part) / len(SEEDS)) ** 0.5


def test_when_a_canary_grows_nobody_leaves_it() -> None:
    for seed in SEEDS[:5000]:
        small, large = pick(shares(old=95, new=5), seed), pick(shares(old=80, new=20), seed)
        assert (small, large) != ("new", "old")


@given(
    weights=st.dictionaries(st.sampled_from("abcdef"), st.floats(0.1, 100), min_size=2),
    seed=st.integers(0, 2**64 - 1),
    data=st.data(),
)
def test_when_a_model_goes_only_its_own_seeds_move(weights: dict[str, float], seed: int, data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(weights)))
    before = pick(shares(**weights), seed)
    after = pick(shares(**{model: weight for model, weight in weights.items() if model != gone}), seed)
    assert after == before or before == gone


def test_percentages() -> None:
    assert abs(sum(is_within(10.0, "shadow", seed) for seed in SEEDS) / len(SEEDS) - 0.1) < 0.01
    assert all(is_within(100.0, "shadow", seed) for seed in SEEDS)
    assert not any(is_within(1e-9, "shadow", seed) for seed in SEEDS)

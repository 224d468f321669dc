"""No text makes the border raise anything but ``InvalidSpec``."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ampacity.model.codec import decode, encode
from ampacity.model.errors import InvalidSpec
from ampacity.model.workload import WorkloadSpec
from ampacity.model.workload_file import checked_spec, parse_workload, spec_from_plain
from ampacity.model.workload_file.check import keys_at

SEEDS = [
    "name: x\nrun: echo\nresources: {accelerators: H100:8, cpus: 16+}\nnum_nodes: 2\n",
    "name: x\ntype: service\nmodel: tiny:1\nreadiness: {path: /, timeout: 1m}\nengine_args: [--a, 8]\n",
    "name: x\ntype: service\nmodel: t\nconcurrency: 8\nprice: {input: 0.5}\noverload: {after: 2s, max_tokens: 9}\n",
    "name: x\ntype: train\nrun: |\n  a\n  b\nenvs: {LR: 3e-4}\nretry: {max: 1, on_events: [error]}\n",
    "name: x\nrun: 'a'\nafter: [b]\n---\nname: y\nrun: >-\n  z\n",
]

MAPS = ("resources", "retry", "checkpoint", "readiness", "price", "overload")
keys = st.sampled_from([*keys_at(()), *(key for name in MAPS for key in keys_at((name,))), "image", "gpus"])
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["H100:8", "10m", "128GB+", "service", "train", "x", "2..4", "8+", "low", "/"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(keys, st.text(max_size=4)), inner)),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A right file with a few characters changed."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 3))
        put = draw(st.one_of(st.text(max_size=3), st.sampled_from(list("{}[]:,-#&*!|>'\"%@`?\t\n\0\\"))))
        text = text[:at] + put + text[at + cut :]
    return text


def hold(spec: WorkloadSpec) -> None:
    """What was accepted goes over the wire and back, and is accepted again as it is."""
    assert decode(encode(spec), WorkloadSpec) == spec
    try:
        again = checked_spec(spec)
    except InvalidSpec as error:
        raise AssertionError("what was accepted is refused") from error
    assert again == spec


def accept(text: str | bytes) -> None:
    with suppress(InvalidSpec):
        for spec in parse_workload(text, file="w.yaml", directory="/"):
            hold(spec)


@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    accept(text)


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    accept(data)


@settings(max_examples=400, deadline=None)
@given(damaged())
def test_damaged_files(text: str) -> None:
    accept(text)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(keys, values, max_size=5), st.booleans())
def test_any_plain_values(plain: dict[str, object], complete: bool) -> None:
    if complete:
        plain = {"name": "x", "run": "echo"} | plain
    with suppress(InvalidSpec):
        hold(spec_from_plain(plain))

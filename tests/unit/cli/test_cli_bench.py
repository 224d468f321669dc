"""``ampacity bench serve``: an open loop against a real socket, and figures that can be worked out by hand."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from cli_client_double import ClientDouble

from ampacity.cli.bench.arrivals import Arrival, from_trace, poisson
from ampacity.cli.bench.exchange import target_of
from ampacity.cli.bench.load import Ask, Load
from ampacity.cli.bench.outcome import Ending, Outcome, Slo, spread_of, summed_up
from ampacity.model.errors import InvalidSpec
from engine_double import WORDS, EngineDouble

Amp = Callable[..., Any]


def answered(first_s: float, total_s: float, tokens: int = 5) -> Outcome:
    return Outcome(ending=Ending.ANSWERED, sent_s=0.0, first_s=first_s, total_s=total_s, output_tokens=tokens)


def test_what_outcomes_amount_to() -> None:
    outcomes = [
        answered(0.1, 0.5),
        answered(0.3, 0.7),
        answered(0.1, 2.1),
        Outcome(ending=Ending.REFUSED, sent_s=0.0, total_s=0.1, status=503, error="503: overloaded"),
        Outcome(ending=Ending.LATE, sent_s=0.5, total_s=5.0, error="no answer in time"),
    ]
    summary = summed_up(outcomes, came_s=10.0, lasted_s=20.0, slo=Slo(ttft_s=0.2, tpot_s=0.2))
    assert (summary.requests, summary.answered, summary.refused, summary.late, summary.failed) == (5, 3, 1, 1, 0)
    assert (summary.offered_per_s, summary.goodput_per_s, summary.good_percent) == (0.5, 0.1, 20.0)
    assert (summary.answered_per_s, summary.output_tokens_per_s) == (0.15, 0.75)
    assert summary.ttft is not None
    assert (summary.ttft.p50, summary.ttft.p99, summary.ttft.max) == (0.1, 0.3, 0.3)
    assert outcomes[0].tpot_s == pytest.approx(0.1)
    assert answered(0.1, 0.1, tokens=1).tpot_s is None
    assert summary.errors == {"503: overloaded": 1, "no answer in time": 1}
    assert Slo().met(outcomes[2])
    assert not Slo(total_s=2.0).met(outcomes[2])
    assert not Slo().met(outcomes[3])
    assert spread_of([], lambda outcome: outcome.first_s) is None
    assert summed_up([], came_s=0.0, lasted_s=0.0, slo=Slo()).good_percent == 0.0


def test_arrivals_are_the_same_by_the_same_seed_and_as_many_as_asked_for() -> None:
    def some(seed: int) -> list[Arrival]:
        return list(islice(poisson(50.0, seed=seed, input_tokens=3, output_tokens=4), 5000))

    assert some(1) == some(1) != some(2)
    assert 5000 / some(1)[-1].at == pytest.approx(50.0, rel=0.06)
    assert all(a.at <= b.at for a, b in zip(some(1), some(1)[1:], strict=False))


def test_a_trace_is_read_plain_or_packed_and_its_mistakes_are_placed(tmp_path: Path) -> None:
    text = '{"timestamp": 2000, "input_length": 7, "output_length": 3, "hash_ids": [1]}\n\n'
    text += '{"timestamp": 5000, "input_length": 1, "output_length": 0}\n'
    (tmp_path / "t.jsonl").write_text(text)
    with gzip.open(tmp_path / "t.jsonl.gz", "wt") as packed:
        packed.write(text)
    for name in ("t.jsonl", "t.jsonl.gz"):
        found = list(from_trace(tmp_path / name, speed=2.0))
        assert found == [
            Arrival(at=0.0, input_tokens=7, output_tokens=3),
            Arrival(at=1.5, input_tokens=1, output_tokens=0),
        ]
    for line in ("{", "[]", '{"at": 1}', '{"at": "x", "input_length": 1, "output_length": 1}'):
        (tmp_path / "bad").write_text(text + line)
        with pytest.raises(InvalidSpec) as caught:
            list(from_trace(tmp_path / "bad"))
        assert caught.value.where.line == 4
    (tmp_path / "bad").write_text('{"at": 5, "input_length": 1, "output_length": 1}\n' * 2 + text)
    with pytest.raises(InvalidSpec, match="time goes back"):
        list(from_trace(tmp_path / "bad"))


def sent(engine: EngineDouble, arrivals: list[Arrival], **more: Any) -> list[Outcome]:
    load = Load(target_of(f"{engine.url}/v1", "secret"), Ask(model="tiny", **more))
    asyncio.run(load.run(arrivals))
    return load.outcomes


AT_ONCE = [Arrival(at=0.0, input_tokens=5, output_tokens=4)] * 6


def test_streams_and_whole_answers_are_measured() -> None:
    with EngineDouble() as engine:
        for stream in (True, False):
            outcomes = sent(engine, AT_ONCE, stream=stream)
            assert [outcome.ending for outcome in outcomes] == [Ending.ANSWERED] * 6
            assert all(outcome.output_tokens == len(WORDS) for outcome in outcomes)
            assert all((outcome.first_s is not None) == stream for outcome in outcomes)
        seen = engine.seen[0]
        assert (seen.path, seen.headers["authorization"]) == ("/v1/chat/completions", "Bearer secret")
        asked = json.loads(seen.body)
        assert (asked["max_tokens"], len(asked["messages"][0]["content"].split())) == (4, 5)
        assert len({each.body for each in engine.seen[:6]}) == 6, "no two prompts are the same"
        sent(engine, AT_ONCE[:1], chat=False, timeout_s=30.0, told_s=3.0)
        assert engine.seen[-1].path == "/v1/completions"
        assert 2.0 < float(engine.seen[-1].headers["x-request-timeout"]) <= 3.0


@pytest.mark.parametrize(
    ("fault", "ending", "words"),
    [
        ("error", Ending.FAILED, "500: the engine is unwell"),
        ("hang", Ending.LATE, "no answer in time"),
        ("garbage", Ending.FAILED, "no HTTP"),
        ("half_stream", Ending.FAILED, "closed"),
        ("refuse_after_head", Ending.FAILED, "closed"),
    ],
)
def test_what_goes_wrong_is_told_apart(fault: str, ending: Ending, words: str) -> None:
    with EngineDouble(fault=fault) as engine:
        outcomes = sent(engine, AT_ONCE, timeout_s=0.5)
    assert [outcome.ending for outcome in outcomes] == [ending] * 6
    assert [outcome.error for outcome in outcomes if words not in outcome.error] == []


def test_a_stall_is_felt_by_all_that_were_due_in_it() -> None:
    """Coordinated omission: a generator that waits for an answer would send one request in this second, not twenty."""
    with EngineDouble() as engine:
        gate = asyncio.Event()
        serve = engine._answer

        async def stalled(*args: Any) -> bool:
            await gate.wait()
            return await serve(*args)

        engine._answer = stalled  # type: ignore[method-assign]

        async def run() -> list[Outcome]:
            load = Load(target_of(engine.url), Ask(model="tiny"))
            due = [Arrival(at=0.02 * number, input_tokens=1, output_tokens=1) for number in range(20)]
            running = asyncio.ensure_future(load.run(due))
            while len(engine.seen) < 20:
                await asyncio.sleep(0.01)
            engine._loop.call_soon_threadsafe(gate.set)
            await running
            return load.outcomes

        outcomes = asyncio.run(run())
    totals = sorted(outcome.total_s for outcome in outcomes)
    assert len(totals) == 20
    assert totals[-1] - totals[0] >= 0.02 * 19 * 0.9, "those that were due first have waited longest"


def test_the_verb_measures_its_own_endpoint_and_others(
    amp: Amp, amp_json: Callable[..., Any], client: ClientDouble, tmp_path: Path
) -> None:
    trace = tmp_path / "t.jsonl"
    trace.write_text('{"at": 0, "input_length": 2, "output_length": 2}\n' * 3)
    with EngineDouble() as engine:
        client.gateway_url = engine.url
        result = amp("bench", "serve", "--model", "tiny", "--trace", str(trace), "--slo-ttft", "10s")
        assert result.exit_code == 0, result.stderr
        assert "3 sent, 3 answered" in result.stdout
        assert "(the first token within 10.00 s)" in result.stdout
        found = amp_json("bench", "serve", engine.url, "--model", "t", "--rate", "1000", "--requests", "4")
        assert (found["requests"], found["answered"], found["good_percent"]) == (4, 4, 100.0)
        assert amp("bench", "serve", engine.url).exit_code == 2, "the double lists no models"
    for args, words in (
        (("ftp://x",), "no address"),
        (("http://x:99999999", "--model", "t"), "no address"),
        (("--trace", str(trace), "--rate", "3"), "A trace says when"),
        (("http://127.0.0.1:1",), "Nobody answers"),
        (("http://127.0.0.1:1", "--model", "t", "--slo-ttft", "soon"), "soon"),
    ):
        result = amp("bench", "serve", *args)
        assert result.exit_code == 2
        assert words in result.stderr
    trace.write_text("nonsense")
    assert amp("bench", "serve", "http://127.0.0.1:1", "--model", "t", "--trace", str(trace)).exit_code == 2

"""Queue files: what is read, and what is refused with its line."""

from __future__ import annotations

import pytest

from ampacity.model.errors import InvalidSpec
from ampacity.model.policy import BackfillName, OrderName, Sharing
from ampacity.model.preemption import PreemptionPolicy
from ampacity.model.queue_file import parse_queue_file, refuse_unsound
from scheduler_cluster import node

GOOD = """\
scheduler:
  sharing: single_line
  order: multifactor
  multifactor: {age: 5, max_age: 2d}
  points: {ageing: 12h}
  backfill: {policy: easy, tests: 50, assumed_runtime: 2h}
  preemption:
    {enabled: false, floor: 5m, restart: 90s, grow: false, grow_after: 0s, defragment: true, defragment_gain: 2}
  usage_half_life: 1d
  usage_weights: {accelerators: 1, H100: 4.5, cpus: 0.05}
---
name: a-job
run: "true"
---
queues:
  research:
    quota: {H100: 16, cpus: 64, memory: 4TB}
    weight: 2.5
  vision: {parent: research, quota: {H100: 8}, borrow: none, lend: {H100: 4}}
  language: {parent: research, borrow: {H100: 0.5}, lend: none, reclaim: false}
  other: {}
"""


def test_all_keys_are_read() -> None:
    read = parse_queue_file(GOOD, file="q.yaml")
    assert read.queues is not None
    assert read.policy is not None
    research, vision, language, other = read.queues
    assert (research.quota, research.weight) == ({"H100": 16000, "cpus": 64000, "memory": 4 * 10**12}, 2.5)
    assert (vision.limit("H100"), vision.limit("cpus"), vision.kept("H100")) == (8000, None, 4000)
    assert (language.limit("H100"), language.lends, language.reclaims) == (500, False, False)
    assert (other.parent, other.weight, other.limit("H100")) == ("", 1.0, None)
    policy = read.policy
    assert (policy.sharing, policy.order) == (Sharing.SINGLE_LINE, OrderName.MULTIFACTOR)
    assert (policy.multifactor.age, policy.multifactor.max_age_s, policy.points.ageing_s) == (5.0, 172_800.0, 43_200.0)
    assert policy.backfill.name is BackfillName.EASY
    assert (policy.backfill.reservations, policy.backfill.tests, policy.backfill.assumed_runtime_s) == (1, 50, 7200.0)
    assert policy.preemption == PreemptionPolicy(
        enabled=False,
        floor_s=300.0,
        restart_s=90.0,
        grow=False,
        grow_after_s=0.0,
        defragment=True,
        defragment_gain=2.0,
    )
    assert policy.half_life_s == 86_400.0
    assert policy.usage_weights == {"accelerators": 1.0, "H100": 4.5, "cpus": 0.05}


def test_what_a_file_does_not_say_stays_as_it_is() -> None:
    only_queues = parse_queue_file("queues: {}", file="q.yaml")
    assert (only_queues.queues, only_queues.policy) == ((), None)
    assert parse_queue_file("name: a\nrun: x", file="q.yaml").queues is None


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("queues:\n  a: {parent: b}\n  b: {parent: c}\n  c: {parent: a}", 2, "queues.a.parent", "a in b in c in a"),
        ("queues:\n  a: {}\n  b: {parent: aa}", 3, "queues.b.parent", "Did you mean a?"),
        ("queues:\n  a: {parent: default}", 2, "queues.a.parent", "no parts"),
        ("queues:\n  a:\n    quota: {H100: 4}\n  b: {parent: a, quota: {H100: 5}}", 3, "queues.a.quota.H100", "5"),
        ("queues:\n  a: {lend: {H100: 1}}", 2, "queues.a.lend.H100", "no quota"),
        ("queues:\n  a: {wieght: 1}", 2, "queues.a.wieght", "Did you mean weight?"),
        ("queues:\n  a: {weight: 0}", 2, "queues.a.weight", "above 0"),
        ("queues:\n  a: {weight: nan}", 2, "queues.a.weight", "a number"),
        ("queues:\n  a: {quota: 8}", 2, "queues.a.quota", "a map"),
        ("queues:\n  a: {quota: {memory: 8}}", 2, "queues.a.quota.memory", "no unit"),
        ("queues:\n  a: {quota: {cpus: 2..4}}", 2, "queues.a.quota.cpus", "range"),
        ("queues:\n  a: {quota: {cpus: [2]}}", 2, "queues.a.quota.cpus", "an amount"),
        ("queues:\n  a: {borrow: some}", 2, "queues.a.borrow", "none, or a map"),
        ("queues:\n  a: {reclaim: 1}", 2, "queues.a.reclaim", "true or false"),
        ("queues:\n  Not-so: {}", 2, "queues.Not-so", "is not a name"),
        ("queues:\n  a: 3", 2, "queues.a", "a map"),
        ("queues: [a]", 1, "queues", "a map"),
        ("queues: {}\n---\nqueues: {}", 3, "queues", "given twice"),
        ("queues: {}\nname: a", 2, "name", "not a key"),
        ("scheduler:\n  order: fiar", 2, "scheduler.order", "Did you mean fair?"),
        ("scheduler:\n  preemption: {enabled: maybe}", 2, "scheduler.preemption.enabled", "true or false"),
        ("scheduler:\n  backfill: {depth: 0}", 2, "scheduler.backfill.depth", "between 1"),
        ("scheduler:\n  backfill: {polcy: easy}", 2, "scheduler.backfill.polcy", "Did you mean policy?"),
        ("scheduler:\n  points: {ageing: 0s}", 2, "scheduler.points.ageing", "no time at all"),
        ("scheduler:\n  usage_weights: {memory: 1}", 2, "scheduler.usage_weights.memory", "not weighed"),
        ("scheduler:\n  usage_weights: {H100: -1}", 2, "scheduler.usage_weights.H100", "a number from 0"),
    ],
)
def test_mistakes_are_refused_with_their_place(text: str, line: int, key: str, words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_queue_file(text, file="q.yaml")
    assert (caught.value.where.line, caught.value.where.key) == (line, key)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("queues:\n  a:\n    quota: {h100: 4}", 3, "Did you mean H100?"),
        ("queues:\n  a:\n    borrow: {TPU: 4}", 3, "There are H100"),
        ("queues:\n  a: {quota: {H100: 10}}\n  b: {quota: {H100: 7}}", 3, "add up to 17; the nodes have 16"),
        ("queues:\n  a: {}\n  b: {parent: a, quota: {H100: 17}}", 3, "the nodes have 16"),
    ],
)
def test_quotas_of_what_is_not_there_are_refused(text: str, line: int, words: str) -> None:
    read = parse_queue_file(text, file="q.yaml")
    refuse_unsound(read, ())
    with pytest.raises(InvalidSpec) as caught:
        refuse_unsound(read, [node("n1", devices=8), node("n2", devices=8)])
    assert caught.value.where.line == line
    assert words in str(caught.value)


def test_quotas_of_all_there_is_are_taken() -> None:
    text = "queues:\n  a: {quota: {H100: 8, cpus: 128}}\n  b: {parent: a, quota: {H100: 8}}\n  c: {quota: {H100: 8}}"
    refuse_unsound(parse_queue_file(text, file="q.yaml"), [node("n1", devices=8), node("n2", devices=8)])

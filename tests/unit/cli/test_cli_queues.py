"""``ampacity queues``, and ``apply`` of a file about queues."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli_client_double import ClientDouble
from click.testing import Result

from ampacity.model.ids import QueueName
from ampacity.model.plan import QueueStanding
from ampacity.model.queue import Queue

Amp = Callable[..., Result]


def test_the_tree_is_shown_with_its_shares(amp: Amp, amp_json: Callable[..., Any], client: ClientDouble) -> None:
    client.standings = (
        QueueStanding(
            queue=Queue(name=QueueName("research"), weight=2.0),
            quota={"H100": 12000, "memory": 2 * 10**12},
            used={"H100": 12000, "accelerators": 12000, "cpus": 24000},
            share=0.75,
            running=3,
            waiting=4,
        ),
        QueueStanding(
            queue=Queue(name=QueueName("vision"), parent="research"),
            quota={"H100": 4000},
            used={"H100": 8500},
            borrowed={"H100": 4500},
            lent={"cpus": 500},
        ),
    )
    lines = amp("queues").stdout.splitlines()
    assert lines[0].split() == ["QUEUE", "SHARE", "WEIGHT", "USED", "QUOTA", "BORROWED", "LENT", "RUNNING", "WAITING"]
    assert lines[1].split("  ")[0] == "research"
    assert "75%" in lines[1]
    assert "12 H100, 24 CPUs" in lines[1]
    assert "12 H100, 2TB" in lines[1]
    assert lines[2].startswith("  vision")
    assert "4.5 H100" in lines[2]
    assert "0.5 CPUs" in lines[2]
    assert [each["queue"]["name"] for each in amp_json("queues")["queues"]] == ["research", "vision"]


def test_apply_changes_queues_before_it_submits(amp: Amp, client: ClientDouble, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text("name: a\nrun: x\n---\nqueues:\n  research: {weight: 2}\n")
    result = amp("apply", str(path))
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "research: added\ndefault: weight 1 -> 2\na: task created\n"
    assert [call[0] for call in client.calls] == ["apply_queues", "submit", "close"]
    assert client.calls[0][1:] == (str(path), False)


def test_a_dry_run_asks_what_would_change(
    amp: Amp, amp_json: Callable[..., Any], client: ClientDouble, tmp_path: Path
) -> None:
    path = tmp_path / "q.yaml"
    path.write_text("queues:\n  research: {}\n")
    result = amp("apply", "--dry-run", str(path))
    assert result.stdout == "research: would be added\ndefault: weight 1 -> 2\n"
    assert client.calls[0] == ("apply_queues", str(path), True)
    assert amp_json("apply", "--dry-run", str(path))["queues"][0]["added"] == ["research"]


def test_a_wrong_file_changes_nothing(amp: Amp, client: ClientDouble, tmp_path: Path) -> None:
    path, other = tmp_path / "q.yaml", tmp_path / "r.yaml"
    path.write_text("queues:\n  research: {wieght: 2}\n")
    result = amp("apply", str(path))
    assert result.exit_code == 2
    assert f"{path}:2: queues.research.wieght: is not a key that is known here." in result.stderr
    for each in (path, other):
        each.write_text("queues: {}\n")
    assert "that is changed as a whole" in amp("apply", str(path), str(other)).stderr
    assert client.calls == []

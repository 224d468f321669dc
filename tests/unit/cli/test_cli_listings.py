"""ps, status, nodes, events, logs, why, stop, scale: what they ask for and what they show."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cli_client_double import ClientDouble
from cli_nouns import COMPLETED, EXIT_3, a_node, an_attempt

from ampacity.cli.render.units import about_count, about_duration
from ampacity.cli.render.workloads import note_text
from ampacity.model.attempt import AttemptPhase, Progress
from ampacity.model.event import EventKind
from ampacity.model.hardware import DeviceLink, Hardware, RdmaPort
from ampacity.model.ids import DeviceId
from ampacity.model.node import Device
from ampacity.model.resources import Range
from ampacity.model.workload import WorkloadKind, WorkloadSpec

Amp = Callable[..., Any]


def columns(line: str) -> list[str]:
    return [part for part in line.split("  ") if part.strip()]


def rows(output: str) -> dict[str, list[str]]:
    """The table's lines by their first column."""
    return {parts[0].strip(): [part.strip() for part in parts] for parts in map(columns, output.splitlines()[1:])}


def test_ps_shows_how_each_is(amp: Amp, client: ClientDouble) -> None:
    client.add("pretrain", "train", "running", attempts=(an_attempt(progress=Progress(at=1, step=12, loss=2.34567)),))
    client.add("chat", "service", "running", attempts=(an_attempt(ready=True), an_attempt(replica=1)), replicas=2)
    client.add("sweep", "train", "waiting", wait="needs 8 H100; 3 are free")
    bad = client.add("bad")
    client.end(bad, EXIT_3)
    client.add("slow", "task", "running", attempts=(an_attempt(AttemptPhase.PREPARING, started_s_ago=None),))
    result = amp("ps")
    assert result.exit_code == 0
    found = rows(result.stdout)
    assert found["pretrain"] == ["pretrain", "train", "running", "step 12 loss 2.346", "n1", "1m"]
    assert found["chat"] == ["chat", "service", "running", "1/2 ready", "n1", "1m"]
    assert found["sweep"] == ["sweep", "train", "waiting", "1m 5s", "needs 8 H100; 3 are free"]
    assert found["bad"] == ["bad", "task", "failed", "n1", "1m", "exited with code 3"]
    assert found["slow"][2] == "preparing"


def test_ps_is_not_cut_when_piped(amp: Amp, client: ClientDouble) -> None:
    client.add("w", wait="because " + "x" * 300)
    line = amp("ps").stdout.splitlines()[1]
    assert line.endswith("x" * 300)
    assert "\x1b" not in line


def test_what_users_named_is_not_read_as_markup(amp: Amp, client: ClientDouble) -> None:
    client.add("w", wait="[red]not red[/red] :smile:")
    assert "[red]not red[/red] :smile:" in amp("ps").stdout


def test_ps_asks_for_what_was_said(amp: Amp, client: ClientDouble) -> None:
    amp("ps", "-a", "--kind", "train", "--kind", "task", "--all-projects")
    assert client.asked("workloads") == [(True, None, ("train", "task"), ())]


def test_ps_of_all_projects_says_whose(amp: Amp, client: ClientDouble) -> None:
    client.add("a", project="team")
    assert amp("ps", "--all-projects").stdout.splitlines()[1].startswith("team     a")


def test_ps_json(amp_json: Amp, client: ClientDouble) -> None:
    view = client.add("a", "train")
    [found] = amp_json("ps")["workloads"]
    assert found["workload"]["id"] == view.workload.id
    assert found["spec"]["kind"] == "train"


def test_ps_limit(amp_json: Amp, client: ClientDouble) -> None:
    for index in range(5):
        client.add(f"a{index}")
    assert len(amp_json("ps", "--limit", "2")["workloads"]) == 2


def test_ps_without_any(amp: Amp, client: ClientDouble) -> None:
    result = amp("ps")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "No workloads in the project default. Begin with `ampacity run -- echo hello`.\n"


def test_status(amp: Amp, client: ClientDouble) -> None:
    client.node_views = {"n1": a_node("n1", gpus=8, used_gpus=5, used_cpus=6.5), "n2": a_node("n2", gpus=8)}
    client.set_condition("n2", "cordoned")  # type: ignore[arg-type]
    client.add("a", "task", "running")
    output = amp("status").stdout
    assert "running for 3h" in output
    assert "1 running, 0 waiting" in output
    assert "1 ready, 1 cordoned" in output
    assert "5/16 H100, 6.5/16 CPUs, 4GB/64GB memory" in output
    assert "http://127.0.0.1:8080/v1  (starts with the first model that is served)\n" in output
    client.add("gateway", "service", "running", project="system", attempts=(an_attempt(ready=True),))
    assert "http://127.0.0.1:8080/v1\n" in amp("status").stdout


def test_status_json(amp_json: Amp, client: ClientDouble) -> None:
    client.node_views = {"n1": a_node("n1")}
    answer = amp_json("status")
    assert answer["pid"] == 4711
    assert answer["node_views"][0]["node"]["id"] == "n1"


def test_nodes(amp: Amp, amp_json: Amp, client: ClientDouble) -> None:
    client.node_views = {"n1": a_node("n1", gpus=8, used_gpus=5, used_cpus=6.5), "m": a_node("m", declared=False)}
    found = rows(amp("nodes").stdout)
    assert found["n1 (declared)"] == ["n1 (declared)", "ready", "5/8 H100", "6.5/8", "4GB/32GB", "5", "none", "none"]
    assert found["m"] == ["m", "ready", "none", "0/8", "0/32GB", "0", "none", "none"]
    assert [view["node"]["id"] for view in amp_json("nodes")["nodes"]] == ["n1", "m"]
    assert amp("nodes", "list").stdout == amp("nodes").stdout


def test_cordon_and_back(amp: Amp, amp_json: Amp, client: ClientDouble) -> None:
    client.node_views = {"n1": a_node("n1", gpus=1, used_gpus=1)}
    assert amp("nodes", "cordon", "n1").stdout == "n1: cordoned; what runs there (1) runs on\n"
    assert amp("nodes", "uncordon", "n1").stdout == "n1: ready\n"
    assert amp_json("nodes", "cordon", "n1")["node"]["condition"] == "cordoned"
    result = amp("nodes", "cordon", "n9")
    assert result.exit_code == 2
    assert result.stderr == "error: There is no node 'n9'.\n hint: `ampacity nodes` lists them.\n"


def test_events(amp: Amp, client: ClientDouble) -> None:
    view = client.add("a")
    client.happen(EventKind.WORKLOAD_SUBMITTED, "a submitted", view.workload.id)
    client.happen(EventKind.NODE_REGISTERED, "n1 is there")
    lines = amp("events").stdout.splitlines()
    assert [line.split("  ")[-1].strip() for line in lines] == ["a submitted", "n1 is there"]
    assert [line.split("  ")[-1].strip() for line in amp("events", "a").stdout.splitlines()] == ["a submitted"]
    assert len(amp("events", "-n", "1").stdout.splitlines()) == 1
    assert len(amp("events", "--after", "1").stdout.splitlines()) == 1


def test_events_json_is_a_line_each(amp: Amp, client: ClientDouble) -> None:
    client.happen(EventKind.NODE_REGISTERED, "n1 is there")
    client.happen(EventKind.NODE_CHANGED, "n1 is not")
    lines = [json.loads(line) for line in amp("events", "--json").stdout.splitlines()]
    assert [(line["seq"], line["kind"]) for line in lines] == [(1, "node.registered"), (2, "node.changed")]


def test_events_follow_goes_on_after_the_last(amp: Amp, client: ClientDouble) -> None:
    client.happen(EventKind.NODE_REGISTERED, "n1 is there")
    amp("events", "-f")
    assert client.asked("events") == [(0, None, False), (1, None, True)]


def test_logs_say_whose_line_it_is(amp: Amp, client: ClientDouble) -> None:
    spec = WorkloadSpec(name="t", kind=WorkloadKind.TRAIN, run="x", ranks_per_node=2)
    view = client.add("t", "train", spec=spec)
    client.say(view, "setting up", stream="sys")
    client.say(view, "loss 1", rank=0)
    client.say(view, "loss 2", rank=1, stream="err")
    assert amp("logs", "t").stdout == "node 0 | setting up\nrank 0 | loss 1\nrank 1 | loss 2\n"
    assert amp("logs", "t", "--rank", "1").stdout == "rank 1 | loss 2\n"
    assert amp("logs", "t", "--tail", "1", "--timestamps").stdout == "2026-09-21T14:13:22.000Z rank 1 | loss 2\n"


def test_a_node_shows_its_devices_their_links_and_the_nearest_network(
    amp: Amp, amp_json: Amp, client: ClientDouble
) -> None:
    view = a_node("n1")
    places = ("pci0000:10/0000:10:01.0/0000:11:00.0", "pci0000:80/0000:80:01.0/0000:81:00.0")
    devices = tuple(
        Device(
            id=DeviceId(f"n1/{index}"),
            index=index,
            kind="H100",
            memory_bytes=80 * 10**9,
            bus=place[-12:],
            pci_path=place,
        )
        for index, place in enumerate(places)
    )
    near = RdmaPort(device="mlx5_0", link_layer="InfiniBand", speed_bit_per_s=400 * 10**9, pci_path=places[0] + "x")
    link = DeviceLink(a=devices[0].bus, b=devices[1].bus, kind="NVLink", lanes=18)
    node = replace(view.node, devices=devices, hardware=Hardware(rdma=(near,), links=(link,)))
    client.node_views["n1"] = replace(view, node=node)
    told = amp("nodes", "show", "n1").stdout
    assert "mlx5_0 (bridge)" in told
    assert "mlx5_0 (system)" in told
    assert "n1/0 - n1/1: NVLink x18" in told
    assert "mlx5_0 port 1: InfiniBand, unknown, 400 Gbit/s" in told
    as_json = amp_json("nodes", "show", "n1")
    assert as_json["nearest"]["n1/0"] == {"rdma": {"names": ["mlx5_0"], "by": "bridge"}}
    assert as_json["node"]["node"]["hardware"]["links"][0]["lanes"] == 18
    assert amp("nodes", "show", "n9").stderr.startswith("error: There is no node 'n9'.")


def test_a_node_shows_its_instances_and_what_is_partitioned_into_none(
    amp: Amp, amp_json: Amp, client: ClientDouble
) -> None:
    view = a_node("n1", gpus=1)
    part = replace(view.node.devices[0], kind="H100-1g.10gb", profile="1g.10gb", instance="9/0", bus="0000:1a:00.0")
    problem = "nvidia device 1 (NVIDIA H100, 0000:1b:00.0) is in MIG mode and has no instances"
    node = replace(view.node, devices=(part,), hardware=Hardware(problems=(problem,)))
    client.node_views["n1"] = replace(view, node=node)
    told = amp("nodes", "show", "n1").stdout
    (line,) = (line for line in told.splitlines() if "H100-1g.10gb" in line)
    assert "0000:1a:00.0" in line
    assert f"problem    {problem}" in told.splitlines()
    (device,) = amp_json("nodes", "show", "n1")["node"]["node"]["devices"]
    assert (device["profile"], device["instance"]) == ("1g.10gb", "9/0")


def test_logs_of_several_replicas_and_nodes(amp: Amp, client: ClientDouble) -> None:
    view = client.add("s", "service", replicas=2)
    client.say(view, "up", replica=1)
    assert amp("logs", "s").stdout == "replica 1 | up\n"
    spec = WorkloadSpec(name="many", kind=WorkloadKind.TASK, run="x", num_nodes=Range.exactly(2))
    view = client.add("many", spec=spec)
    client.say(view, "here")
    assert amp("logs", "many").stdout == "node 0 | here\n"


def test_logs_of_one_process_stand_as_they_are(amp: Amp, client: ClientDouble) -> None:
    view = client.add("a")
    client.say(view, "one", "[bold]two[/bold]", "\x1b[31mred\x1b[0m")
    assert amp("logs", "a").stdout == "one\n[bold]two[/bold]\n\x1b[31mred\x1b[0m\n"


def test_logs_json(amp: Amp, client: ClientDouble) -> None:
    view = client.add("a")
    client.say(view, "one", "two")
    lines = [json.loads(line) for line in amp("logs", "a", "--json", "-f").stdout.splitlines()]
    assert [(line["text"], line["rank"]) for line in lines] == [("one", -1), ("two", -1)]
    assert client.asked("logs") == [(view.workload.id, True, None, None, None)]


def test_why(amp: Amp, amp_json: Amp, client: ClientDouble) -> None:
    client.add("a")
    assert amp("why", "a").stdout == (
        "a failed: rank 1 ended with exit code 3.\n"
        "  attempt 1 ran for 4 s on n1\n"
        "  it may not begin again: retry.max is 0\n"
        "\n"
        "What would change it: Give it retries: `retry: {max: 3}`.\n"
        "\n"
        "Its last lines:\n"
        "  | Traceback (most recent call last):\n"
        "  | ValueError: [red]loss[/red] is nan\n"
    )
    assert amp_json("why", "a")["kind"] == "ended"


def test_stop_several(amp: Amp, amp_json: Amp, client: ClientDouble) -> None:
    client.add("a", "task", "running")
    client.add("b", "task", "running")
    done = client.add("c")
    client.end(done, COMPLETED)
    result = amp("stop", "a", "c")
    assert (result.exit_code, result.stdout) == (0, "a: stopping\n")
    assert result.stderr == "c has ended already (succeeded).\n"
    assert amp_json("stop", "b")["workloads"][0]["workload"]["phase"] == "stopping"


def test_stop_looks_all_names_up_first(amp: Amp, client: ClientDouble) -> None:
    client.add("a", "task", "running")
    assert amp("stop", "a", "nobody").exit_code == 2
    assert client.asked("stop") == []


def test_stop_that_takes_too_long_failed(amp: Amp, client: ClientDouble) -> None:
    client.add("a", "task", "running")
    result = amp("stop", "a", "--timeout", "0")
    assert (result.exit_code, result.stderr) == (1, "error: w0000 has not ended after 0 s.\n")


def test_scale(amp: Amp, amp_json: Amp, client: ClientDouble) -> None:
    client.add("chat", "service", "running")
    client.add("t", "train")
    assert amp("scale", "chat", "3").stdout == "chat: 3 replicas wished for\n"
    assert amp_json("scale", "chat", "1")["desired"]["replicas"] == 1
    assert amp("scale", "t", "--nodes", "3").stdout == "t: 3 nodes wished for\n"
    assert amp("scale", "t", "--nodes", "1").stdout == "t: 1 node wished for\n"
    assert amp("scale", "t", "--nodes", "0").stdout == "t: as many nodes as its file says wished for\n"
    for odd in (["scale", "t"], ["scale", "t", "2", "--nodes", "2"]):
        assert amp(*odd).exit_code == 2
    result = amp("scale", "t", "2")
    assert result.exit_code == 2
    assert result.stderr == "error: t is a train, not a service.\n hint: Only services have replicas.\n"


def test_the_note_of_one_that_began_again() -> None:
    from dataclasses import replace

    view = ClientDouble().add("a", "task", "running", attempts=(an_attempt(),))
    again = replace(view, replicas=(replace(view.replicas[0], failures=2),))
    assert note_text(view) == ""
    assert note_text(again) == "began again twice"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"), (0, "0s"), (0.42, "0.4s"), (3, "3s"), (9.96, "10s"), (59.6, "1m"), (65, "1m 5s"), (3600, "1h"),
        (7860, "2h 11m"), (3 * 86400 + 7200, "3d 2h"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert about_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(7, "7"), (950, "950"), (12_345, "12.3K"), (494_032_768, "494M"), (7_100_000_000, "7.1B")]
)
def test_counts(count: int, text: str) -> None:
    assert about_count(count) == text

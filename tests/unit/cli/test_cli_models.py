"""models and serve: the hub over the client, verified copies, and a service out of a model."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_client_double import ClientDouble
from cli_nouns import COMPLETED, EXIT_3, a_model, an_attempt
from rich.console import Console

from ampacity.cli import ready
from ampacity.cli.render.models import lineage_tree
from ampacity.hub import Hub
from ampacity.hub.version import Lineage
from ampacity.model.errors import Conflict
from ampacity.model.resources import Range
from ampacity.model.service_terms import Price, Routing
from ampacity.model.view import WorkloadView
from ampacity.model.workload import WorkloadKind

Amp = Callable[..., Any]


def test_models_list(amp: Amp, amp_json: Amp, client: ClientDouble) -> None:
    client.model_list = [a_model("qwen", 3, tags=("latest", "prod"))]
    expected = (
        "MODEL   TAGS          PARAMETERS     SIZE    AGE  FROM\n"
        "qwen:3  latest, prod        494M  988.1MB  2h 1m  train-1, step 400\n"
    )
    assert amp("models").stdout == expected
    assert amp("models", "list").stdout == expected
    assert amp("models", "list", "qwen").exit_code == 0
    assert client.asked("models")[-1] == ("qwen",)
    assert amp_json("models")["models"][0]["digest"].startswith("sha256:")


def test_models_without_any(amp: Amp, client: ClientDouble) -> None:
    result = amp("models")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "No models yet. `ampacity models add NAME FOLDER` adds one.\n"


def test_models_add(amp: Amp, amp_json: Amp, client: ClientDouble, tmp_path: Path) -> None:
    result = amp(
        *("models", "add", "tiny", str(tmp_path), "--tag", "a", "--tag", "b"),
        *("--run", "train-1", "--step", "400", "--data", "corpus:3"),
    )
    assert result.stdout == "tiny:1: 988.1MB added\n"
    assert client.asked("add_model") == [("tiny", str(tmp_path), ("a", "b"), "train-1", 400, ("corpus:3",))]
    assert amp_json("models", "add", "tiny", str(tmp_path))["version"] == 2


def test_models_add_of_what_is_not_there(amp: Amp, client: ClientDouble) -> None:
    result = amp("models", "add", "tiny", "/nowhere")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: Invalid value for 'PATH': Path '/nowhere' does not exist.\n")


def test_models_show(amp: Amp, amp_json: Amp, client: ClientDouble) -> None:
    client.model_list = [a_model("qwen", 3, tags=("prod",))]
    output = amp("models", "show", "qwen:prod").stdout
    assert "parameters    494M in 290 tensors: 494M BF16\n" in output
    assert "size          988.1MB in 2 files\n" in output
    assert "model.safetensors  988.1MB  b2b2b2b2b2b2\n" in output
    assert output.endswith(
        "qwen:3  comes from\n"
        "└── run train-1 (w0001)\n"
        "    ├── project default\n"
        "    ├── checkpoint step 400  /ckpt/step-400\n"
        "    ├── code 9f3c2d1\n"
        "    └── data corpus:3\n"
    )
    assert amp_json("models", "show", "qwen")["lineage"]["step"] == 400
    assert amp("models", "show", "x").stderr == (
        "error: There is no model 'x'.\n hint: `ampacity models` lists them.\n"
    )


def test_a_model_from_nowhere_says_so() -> None:
    from dataclasses import replace

    console = Console(width=80)
    with console.capture() as captured:
        console.print(lineage_tree(replace(a_model("m"), lineage=Lineage())))
    assert "nothing that is known" in captured.get()


def test_models_get_copies_verified_files(amp: Amp, amp_json: Amp, client: ClientDouble, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text("{}")
    hub = Hub(tmp_path / "state" / "hub")
    model = hub.add("tiny", source, created_at=1.0)
    client.model_list, client.state_dir = [model], str(tmp_path / "state")
    result = amp("models", "get", "tiny", "--to", str(tmp_path / "there"))
    assert result.stdout == f"tiny:1: 1 files, 2B, verified, in {tmp_path}/there\n".replace("1 files", "1 file")
    assert (tmp_path / "there" / "config.json").read_text() == "{}"
    twice = amp("models", "get", "tiny", "--to", str(tmp_path / "there"))
    assert twice.exit_code == 2
    assert "is there already" in twice.stderr
    blob = next((tmp_path / "state" / "hub" / "blobs" / "sha256").glob("*/*"))
    blob.chmod(0o644)
    blob.write_text("!!")
    broken = amp("models", "get", "tiny", "--to", str(tmp_path / "elsewhere"))
    assert broken.exit_code == 1
    assert not (tmp_path / "elsewhere" / "config.json").exists()


def test_models_get_from_another_machine_says_so(amp: Amp, client: ClientDouble, tmp_path: Path) -> None:
    client.model_list, client.state_dir = [a_model("tiny")], "/not/here"
    result = amp("models", "get", "tiny", "--to", str(tmp_path / "x"))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: /not/here/hub is not on this machine")


def test_models_rm(amp: Amp, amp_json: Amp, client: ClientDouble) -> None:
    client.model_list = [a_model("a"), a_model("b"), a_model("c")]
    assert amp("models", "rm", "a", "b:1").stdout == "a:1: removed\nb:1: removed\n"
    assert [model["name"] for model in amp_json("models", "rm", "c")["models"]] == ["c"]
    client.fail["remove_model"] = Conflict("c:1 is served by chat.", hint="Stop that service first.")
    result = amp("models", "rm", "c")
    assert result.exit_code == 2
    assert result.stderr == "error: c:1 is served by chat.\n hint: Stop that service first.\n"


# serve ---------------------------------------------------------------------------------------------------------------


def test_serve_says_where_and_how(amp: Amp, client: ClientDouble) -> None:
    client.model_list = [a_model("qwen", 3, tags=("prod",))]
    result = amp(
        *("serve", "qwen:prod", "--replicas", "2", "--engine-arg", "--dtype", "--engine-arg", "float32"),
        *("-a", "H100:1", "--memory", "8GB"),
    )
    assert result.exit_code == 0, result.stderr
    assert result.stdout == (
        "qwen: serves qwen:3\n"
        "endpoint: http://127.0.0.1:8080/v1\n"
        "model:    qwen\n"
        "\n"
        "  curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \\\n"
        '    -d \'{"model": "qwen", "messages": [{"role": "user", "content": "Hello!"}]}\'\n'
    )
    [(spec,)] = client.asked("submit")
    assert (spec.name, spec.kind, spec.replicas) == ("qwen", WorkloadKind.SERVICE, 2)
    assert (spec.service.model, spec.service.engine) == ("qwen:3", "transformers")
    assert (spec.service.engine_args, spec.service.served_name) == (("--dtype", "float32"), "qwen")
    assert spec.resources.accelerators[0].count == Range.exactly(1)


def test_serve_on_which_terms(amp: Amp, client: ClientDouble) -> None:
    client.model_list = [a_model("qwen")]
    terms = ("--concurrency", "8", "--routing", "prefix", "--hedge-after", "1500ms", "--max-wait", "5s")
    assert amp("serve", "qwen", *terms, "--price", "input=0.5, output=1.5").exit_code == 0
    [(spec,)] = client.asked("submit")
    service = spec.service
    assert (service.concurrency, service.routing, service.hedge_after_s) == (8, Routing.PREFIX, 1.5)
    assert (service.price, service.overload.max_wait_s) == (Price(input=0.5, output=1.5), 5.0)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--price", "0.5", "error: --price: '0.5' is no price."),
        ("--price", "input=cheap", "error: --price: "),
        ("--price", "in=1", "error: --price: is not a key that is known here."),
        ("--hedge-after", "0s", "error: --hedge-after: is no time at all."),
        ("--max-wait", "long", "error: --max-wait: "),
    ],
)
def test_what_is_wrong_with_serves_terms(amp: Amp, client: ClientDouble, option: str, value: str, words: str) -> None:
    client.model_list = [a_model("qwen")]
    result = amp("serve", "qwen", option, value)
    assert result.exit_code == 2
    assert result.stderr.startswith(words), result.stderr
    assert client.asked("submit") == []


def test_serve_json(amp_json: Amp, client: ClientDouble) -> None:
    client.model_list = [a_model("qwen")]
    answer = amp_json("serve", "qwen", "--name", "chat", "--served-name", "gpt")
    assert (answer["model"], answer["endpoint"]) == ("gpt", "http://127.0.0.1:8080/v1")
    assert answer["workload"]["workload"]["name"] == "chat"


def test_serve_before_the_endpoint_is_up(amp: Amp, client: ClientDouble) -> None:
    client.model_list, client.gateway_url = [a_model("qwen")], ""
    result = amp("serve", "qwen")
    assert result.stdout == "qwen: serves qwen:1\n"
    assert result.stderr.startswith("The endpoint is not up yet.")


def test_serve_of_an_unknown_model(amp: Amp, client: ClientDouble) -> None:
    result = amp("serve", "nothing")
    assert result.exit_code == 2
    assert result.stderr == "error: There is no model 'nothing'.\n hint: `ampacity models` lists them.\n"
    assert client.asked("submit") == []


def test_serve_of_a_folder_says_how(
    amp: Amp, client: ClientDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "My Model").mkdir()
    monkeypatch.chdir(tmp_path)
    result = amp("serve", "./My Model")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: ./My Model is a folder; models are served from the hub.\n"
        " hint: `ampacity models add my-model './My Model'` adds it; or write `ampacity serve --add './My Model'`.\n"
    )
    assert amp("serve", "--add", "./My Model").exit_code == 0
    assert client.asked("add_model")[0][:2] == ("my-model", os.path.join(tmp_path, "My Model"))
    assert client.asked("submit")[0][0].service.model == "my-model:1"


def test_serve_add_of_no_folder(amp: Amp, client: ClientDouble) -> None:
    result = amp("serve", "--add", "nothing")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: --add: nothing is not a folder.\n hint: Without --add, MODEL is a name of the hub.\n"
    )


def test_serve_waits_until_a_replica_is_ready(amp: Amp, client: ClientDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    client.model_list = [a_model("qwen")]
    views: list[WorkloadView] = []
    client.on_submit = views.append
    gateway = client.add("gateway", "service", "running", project="system")
    steps = [
        lambda: client.change(views[0], attempts=(an_attempt(started_s_ago=None),)),
        lambda: client.change(views[0], attempts=(an_attempt(ready=True),)),
        lambda: client.change(gateway, attempts=(an_attempt(ready=True),)),
    ]
    monkeypatch.setattr(ready.time, "sleep", lambda s: steps.pop(0)())
    result = amp("serve", "qwen", "--wait")
    assert result.exit_code == 0, result.stderr
    assert steps == []
    assert result.stderr.splitlines()[:3] == ["qwen waits", "qwen is starting", "the endpoint is starting"]


def test_serve_of_one_that_fails_says_why(amp: Amp, client: ClientDouble) -> None:
    client.model_list = [a_model("qwen")]
    client.on_submit = lambda view: client.end(view, EXIT_3)
    result = amp("serve", "qwen", "--wait")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: qwen ended before it was ready: exited with code 3.\n hint: `ampacity why qwen` says more.\n"
    )


def test_serve_waits_no_longer_than_told(amp: Amp, client: ClientDouble) -> None:
    client.model_list = [a_model("qwen")]
    began = time.monotonic()
    result = amp("serve", "qwen", "--wait", "--timeout", "0")
    assert result.exit_code == 1
    assert result.stderr == "error: qwen is not ready after 0 s.\n hint: `ampacity why qwen` says more.\n"
    assert time.monotonic() - began < 60


def test_the_curl_line_is_json_that_the_endpoint_reads(amp: Amp, client: ClientDouble) -> None:
    client.model_list = [a_model("qwen")]
    line = next(line for line in amp("serve", "qwen").stdout.splitlines() if line.strip().startswith("-d "))
    assert json.loads(line.strip()[3:].strip("'"))["messages"][0]["role"] == "user"
    assert COMPLETED.completed

"""The reference page and the editors' schema say what the parser does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from json_schema import valid
from ruamel.yaml import YAML

from ampacity.model.errors import InvalidSpec
from ampacity.model.workload import WorkloadKind
from ampacity.model.workload_file import parse_workload, workload_schema
from ampacity.model.workload_file.check import keys_at
from ampacity.model.workload_file.keys import NOT_BUILT

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "workload-file.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


def plain(text: str) -> list[object]:
    return [document for document in YAML(typ="safe", pure=True).load_all(text) if document is not None]


def test_the_schema_on_disk_is_current() -> None:
    written = (DOCS / "workload.schema.json").read_text()
    assert json.loads(written) == workload_schema(), "write it anew: python -m ampacity.model.workload_file"


def test_there_is_an_example_of_each_kind() -> None:
    kinds = {spec.kind for text in EXAMPLES for spec in parse_workload(text, file="page", directory="/")}
    assert kinds == {WorkloadKind.TASK, WorkloadKind.TRAIN, WorkloadKind.SERVICE, WorkloadKind.DATA}


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_are_valid_by_the_schema(text: str) -> None:
    assert all(valid(document, workload_schema()) for document in plain(text))


def test_the_page_names_every_key() -> None:
    named = set(re.findall(r"`([a-z_.]+)`", PAGE))
    maps = ("resources", "retry", "checkpoint", "readiness", "secrets", "price", "overload")
    assert {*keys_at(()), *(key for name in maps for key in keys_at((name,)))} <= named
    refused = {".".join((*path, key)) for path, keys in NOT_BUILT.items() for key in keys}
    assert refused <= named


@pytest.mark.parametrize(
    "line",
    [
        "nmae: y",
        "image: ubuntu",
        "type: dev",
        "type: trian",
        "resources: 8",
        "resources: {memory: 128gigs}",
        "resources: {memory: 128}",
        "resources: {cpus: many}",
        "resources: {disk: 5}",
        "resources: {accelerators: 'H100,A100'}",
        "num_nodes: none",
        "num_nodes: 0",
        "priority: urgent",
        "priority: 5000",
        "envs: {A-B: x}",
        "envs: {A: [x]}",
        "after: x",
        "after: [Not a name]",
        "retry: {max: -1}",
        "retry: {max: 1, on_events: [crash]}",
        "max_duration: 600",
        'max_duration: ""',
        "replicas: 2",
        "ranks_per_node: 2",
        "workdir: ~/x",
        'run: " "',
    ],
)
def test_what_the_parser_refuses_the_schema_refuses(line: str) -> None:
    key = line.partition(":")[0]
    text = "".join(f"{each}\n" for each in ("name: x", "run: echo") if not each.startswith(f"{key}:")) + line
    with pytest.raises(InvalidSpec):
        parse_workload(text, file="w.yaml", directory="/")
    assert not valid(plain(text)[0], workload_schema())


@pytest.mark.parametrize(
    "text", ["run: x", "name: x", "name: x\ntype: service", "name: x\ntype: service\nengine: e\nrun: y"]
)
def test_what_is_missing_is_missing_in_the_schema(text: str) -> None:
    with pytest.raises(InvalidSpec):
        parse_workload(text, file="w.yaml", directory="/")
    assert not valid(plain(text)[0], workload_schema())

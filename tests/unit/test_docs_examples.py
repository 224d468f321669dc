"""The pages' examples: workload files are valid, Python runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ampacity.model.queue_file import parse_queue_file
from ampacity.model.route_file import parse_route_file
from ampacity.model.topology_file import parse_topology_file
from ampacity.model.workload_file import parse_workload

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("training", "models", "serving", "scheduling", "workload-file")),
]
OF_QUEUES = re.compile("(queues|scheduler):")
"""How a queue file begins."""
OF_TOPOLOGY = re.compile("(topology|feeds|licences|storage):")
"""How a topology file begins."""
OF_ROUTES = re.compile("routes:")
"""How a route file begins."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_workload_file_on_a_page_is_valid(page: Path) -> None:
    for text in [text for text in blocks(page, "yaml") if not OF_QUEUES.match(text)]:
        others = OF_TOPOLOGY.match(text) or OF_ROUTES.match(text)
        assert others or parse_workload(text, file=page.name, directory="/work")


def test_every_queue_file_on_the_page_of_scheduling_is_valid() -> None:
    examples = [text for text in blocks(ROOT / "docs" / "scheduling.md", "yaml") if OF_QUEUES.match(text)]
    assert examples
    for text in examples:
        read = parse_queue_file(text, file="scheduling.md")
        assert read.queues is not None or read.policy is not None


def test_the_topology_file_on_the_page_of_scheduling_is_valid() -> None:
    (text,) = [text for text in blocks(ROOT / "docs" / "scheduling.md", "yaml") if OF_TOPOLOGY.match(text)]
    assert parse_topology_file(text, file="scheduling.md").about


def test_the_route_file_on_the_page_of_serving_is_valid() -> None:
    (text,) = [text for text in blocks(ROOT / "docs" / "serving.md", "yaml") if OF_ROUTES.match(text)]
    assert parse_route_file(text, file="serving.md").routes


def test_the_training_example_runs_and_resumes(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is missing: pip install 'ampacity[train]'")
    (example,) = blocks(ROOT / "docs" / "training.md", "python")
    env = {**os.environ, "AMPACITY_CHECKPOINT_DIR": str(tmp_path / "checkpoints")}
    for last in ("31", "41"):
        script = example.replace("range(start + 1, 31)", f"range(start + 1, {last})")
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, check=True)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000020", "step-00000030", "step-00000040"]


def test_the_example_of_reading_measurements_runs() -> None:
    for example in blocks(ROOT / "docs" / "observability.md", "python"):
        subprocess.run([sys.executable, "-c", example], check=True)


def test_every_link_between_the_pages_leads_somewhere() -> None:
    for page in [*PAGES, *(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"

"""Models: the list, and one version with its files and where it came from."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from ampacity.hub.version import ModelVersion

from .table import Column, Listing, pairs
from .units import about_bytes, about_count, about_duration, clock, files_text

_COLUMNS = (
    Column("MODEL", gives=True),
    Column("TAGS", gives=True),
    Column("PARAMETERS", right=True),
    Column("SIZE", right=True),
    Column("AGE", right=True),
    Column("FROM", gives=True),
)
_FILE_COLUMNS = (Column("FILE", gives=True), Column("SIZE", right=True), Column("DIGEST"))


def models_table(models: Sequence[ModelVersion], *, now: float) -> Listing:
    """A line for each version."""
    table = Listing(_COLUMNS)
    for model in models:
        table.add(
            Text.assemble((model.name, "bold"), (f":{model.version}", "cyan")),
            ", ".join(model.tags),
            about_count(model.weights.parameters) if model.weights.parameters else "",
            about_bytes(model.size_bytes),
            about_duration(now - model.created_at),
            Text(origin_text(model), style="dim"),
        )
    return table


def origin_text(model: ModelVersion) -> str:
    """``train-1, step 400``."""
    lineage = model.lineage
    run = lineage.run_name or lineage.run
    step = f"step {lineage.step}" if lineage.step is not None else ""
    return ", ".join(part for part in (run, step) if part)


def model_page(model: ModelVersion, *, now: float) -> Group:
    head = pairs()
    head.add_row("model", Text.assemble((model.name, "bold"), (f":{model.version}", "cyan")))
    if model.tags:
        head.add_row("tags", ", ".join(model.tags))
    if model.architecture:
        head.add_row("architecture", model.architecture)
    if model.weights.parameters:
        kinds = ", ".join(f"{about_count(count)} {dtype}" for dtype, count in sorted(model.weights.dtypes.items()))
        head.add_row(
            "parameters", f"{about_count(model.weights.parameters)} in {model.weights.tensors} tensors: {kinds}"
        )
    head.add_row("size", f"{about_bytes(model.size_bytes)} in {files_text(len(model.files))}")
    head.add_row("added", clock(model.created_at, now=now))
    head.add_row("digest", Text(model.digest, style="dim"))
    files = Listing(_FILE_COLUMNS)
    for file in model.files:
        digest = file.digest.removeprefix("sha256:")[:12]
        files.add(file.path, about_bytes(file.size_bytes), Text(digest, style="dim"))
    return Group(head, Text(), files, Text(), lineage_tree(model))


def lineage_tree(model: ModelVersion) -> Tree:
    """Where it came from, the nearest first."""
    lineage = model.lineage
    tree = Tree(Text.assemble((model.ref, "bold"), ("  comes from", "dim")), guide_style="dim")
    if lineage.run or lineage.run_name:
        name = lineage.run_name or lineage.run
        ident = f" ({lineage.run})" if lineage.run and lineage.run != name else ""
        run = tree.add(Text.assemble(("run ", "dim"), name, (ident, "dim")))
        if lineage.project:
            run.add(Text.assemble(("project ", "dim"), lineage.project))
    else:
        run = tree
    if lineage.checkpoint or lineage.step is not None:
        step = "" if lineage.step is None else f"step {lineage.step}  "
        run.add(Text.assemble(("checkpoint ", "dim"), step, (lineage.checkpoint, "dim")))
    if lineage.code_revision:
        run.add(Text.assemble(("code ", "dim"), lineage.code_revision))
    for data in lineage.data:
        run.add(Text.assemble(("data ", "dim"), data))
    for each in lineage.inputs:
        run.add(Text.assemble(("input ", "dim"), each))
    if not tree.children:
        tree.add(Text("nothing that is known", style="dim"))
    return tree

"""The demo's story, part by part. Each does something real, waits for what must follow, and notes figures."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Protocol

from ampacity.model.errors import AmpacityError
from ampacity.model.view import WorkloadView
from ampacity.model.workload import WorkloadPhase

from . import load
from .findings import Fault, Findings, Part, Span
from .platform import Platform, wait_until
from .processes import kill_engine, kill_rank

JOBS = Path(__file__).parent / "jobs"
PROMPT = "class Stack:\n    def __init__(self"
TRAIN, SERVICE, MODEL = "tiny-llama", "python-writer", "tiny-llama"
PART_LIMIT_S = 300.0


class Screen(Protocol):
    """What the story needs of a terminal."""

    def part(self, name: str) -> None: ...
    def say(self, text: str) -> None: ...
    def piece(self, text: str) -> None: ...
    def progress(self, done: int, total: int, text: str) -> None: ...


class Story:
    """Plays all parts in order. ``work`` holds data, checkpoints and the model until they are in the hub."""

    def __init__(self, platform: Platform, work: Path, screen: Screen, *, steps: int) -> None:
        self.platform, self.client, self.work, self.screen = platform, platform.client, work, screen
        self.findings = Findings(began=time.time(), steps=steps, prompt=PROMPT)
        self._views: dict[str, WorkloadView] = {}

    def play(self) -> Findings:
        """Raises ``AmpacityError`` or ``TimeoutError`` when a part cannot go on."""
        with self._part("start the platform"):
            self.platform.up()
            self.screen.say(f"control plane, pid {self.client.status().pid}, in {self.platform.state_dir}")
        with self._part("prepare data"):
            self._prepare()
        with self._part("train through a crash"):
            self._train()
        with self._part("register the model"):
            self._register()
        with self._part("serve two replicas"):
            self._serve()
        with self._part("lose a replica under load"):
            self._load()
        return self.findings

    def clean_up(self) -> None:
        """Stop everything and look for what is left. Runs also after a part failed."""
        with self._part("clean up"):
            self.platform.down()
            self.findings.left_over = self.platform.left_over()
        self.findings.ended = time.time()

    # The parts -----------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._submit("workloads.yaml", steps=str(self.findings.steps))
        view = self.client.wait("stdlib-text", timeout_s=PART_LIMIT_S)
        self._keep(view)
        _expect_success(view)
        facts = json.loads((self.work / "data" / "data.json").read_text())
        self.screen.say(f"{facts['tokens']['train']:,} tokens of Python's own standard library")

    def _train(self) -> None:
        third, two_thirds = self.findings.steps // 3, 2 * self.findings.steps // 3
        self._await_step(third)
        self._kill_a_rank()
        self._await_step(two_thirds)
        self._kill_the_control_plane()
        self._await_step(self.findings.steps)
        view = self.client.wait(TRAIN, timeout_s=PART_LIMIT_S)
        self._keep(view)
        _expect_success(view)
        self.findings.points = self.client.progress(TRAIN)
        self.findings.validation_loss = json.loads((self.work / "model" / "training.json").read_text())[
            "validation_loss"
        ]
        self.screen.say(f"validation loss {self.findings.validation_loss:.3f}")

    def _kill_a_rank(self) -> None:
        workload = self.client.workload(TRAIN).workload.id
        before = self._incarnation()
        at = time.time()
        pid = kill_rank(str(self.platform.state_dir), workload, 1)
        self.screen.say(f"killed rank 1 (pid {pid}) with SIGKILL")
        wait_until(lambda: self._went_on(before), limit_s=PART_LIMIT_S, what="the first step after the crash")
        self._fault("training rank 1", at, "all ranks restarted in place, from the last checkpoint")

    def _kill_the_control_plane(self) -> None:
        at = time.time()
        pid = self.platform.kill_control_plane()
        self.screen.say(f"killed the control plane (pid {pid}) with SIGKILL; training goes on without it")
        self.platform.up()
        wait_until(lambda: self._alive(TRAIN), limit_s=30.0, what="the training run in the new control plane's view")
        self._fault("control plane", at, "started again; found everything as it was")

    def _register(self) -> None:
        data = json.loads((self.work / "data" / "data.json").read_text())
        model = self.client.add_model(
            name=MODEL,
            path=str(self.work / "model"),
            tags=("demo",),
            run=self.client.workload(TRAIN).workload.id,
            step=self.findings.steps,
            data=(f"stdlib-text@{data['digest']}",),
        )
        self.findings.model = model
        size = f"{model.weights.parameters:,} parameters, {model.size_bytes / 1e6:.1f} MB"
        self.screen.say(f"{model.ref}: {size}, {model.digest[:19]}…")

    def _serve(self) -> None:
        assert self.findings.model is not None
        self._submit("service.yaml", model=self.findings.model.ref)
        wait_until(lambda: self._ready() == 2, limit_s=PART_LIMIT_S, what="two ready replicas", every_s=0.2)
        client = load.connect(self.client.status().gateway_url)
        self.screen.say("two replicas are ready; the model goes on with:")
        self.screen.piece(PROMPT)
        text, first = load.stream(client, MODEL, PROMPT, 72, self.screen.piece)
        self.screen.piece("\n")
        self.findings.completion, self.findings.first_token_s = text, first

    def _load(self) -> None:
        asking = load.Load(self.client.status().gateway_url, MODEL, clients=4, tokens=16, limit_s=120.0)
        asking.start()
        try:
            wait_until(lambda: len(asking.answers) >= 40, limit_s=90.0, what="forty answers")
            victim = next(attempt for attempt in self.client.workload(SERVICE).attempts if attempt.ready)
            at = time.time()
            pid = kill_engine(str(self.platform.state_dir), victim.id)
            self.screen.say(f"killed a replica (pid {pid}) with SIGKILL, {len(asking.answers)} requests in")
            wait_until(lambda: self._replaced(victim.id), limit_s=PART_LIMIT_S, what="a new replica", every_s=0.2)
            self._fault("a replica", at, "its requests went to the other one; a new one took its place")
            enough = len(asking.answers) + 40
            wait_until(lambda: len(asking.answers) >= enough, limit_s=60.0, what="answers from both replicas")
        finally:
            asking.finish()
            self.findings.answers = asking.answers
        failed = sum(1 for answer in asking.answers if answer.error)
        self.screen.say(f"{len(asking.answers)} requests, {failed} failed")
        self._keep(self.client.workload(SERVICE))

    # What the parts are made of ------------------------------------------------------------------------------------

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        self.screen.part(name)
        part = Part(name=name, began=time.time())
        self.findings.parts.append(part)
        try:
            yield
        finally:
            part.ended = time.time()

    def _submit(self, file: str, **values: str) -> None:
        text = Template((JOBS / file).read_text()).substitute(
            values, python=sys.executable, jobs=str(JOBS), work=str(self.work)
        )
        self.client.submit(text, name=file, directory=self.work)

    def _fault(self, what: str, at: float, detail: str) -> None:
        fault = Fault(what=what, at=at, recovered_at=time.time(), detail=detail)
        self.findings.faults.append(fault)
        self.screen.say(f"all well after {fault.recovered_at - at:.2f} s")

    def _keep(self, view: WorkloadView) -> None:
        """Remember when its attempts ran, for the timeline."""
        for attempt in view.attempts:
            row = view.workload.name if len(view.replicas) == 1 else f"{view.workload.name} #{attempt.replica}"
            ended = attempt.ended_at if attempt.ended_at is not None else time.time()
            outcome = attempt.phase.value if attempt.phase.ended else "running"
            self.findings.spans.append(
                Span(row=row, label=f"{attempt.id}: {outcome}", began=attempt.placed_at, ended=ended, outcome=outcome)
            )

    def _await_step(self, step: int) -> None:
        def there() -> bool:
            view = self.client.workload(TRAIN)
            _expect_alive(view)
            progress = view.attempts[-1].progress if view.attempts else None
            if progress is not None:
                loss = f"loss {progress.loss:.2f}" if progress.loss is not None else ""
                self.screen.progress(progress.step, self.findings.steps, loss)
            return progress is not None and progress.step >= step

        wait_until(there, limit_s=PART_LIMIT_S, what=f"step {step}", every_s=0.2)

    def _incarnation(self) -> int:
        return self.client.workload(TRAIN).attempts[-1].incarnation

    def _went_on(self, before: int) -> bool:
        points = self.client.progress(TRAIN)
        return bool(points) and points[-1].incarnation > before

    def _alive(self, name: str) -> bool:
        return any(not attempt.phase.ended for attempt in self.client.workload(name).attempts)

    def _ready(self) -> int:
        view = self.client.workload(SERVICE)
        _expect_alive(view)
        return sum(attempt.ready for attempt in view.attempts)

    def _replaced(self, lost: str) -> bool:
        attempts = self.client.workload(SERVICE).attempts
        return sum(attempt.ready for attempt in attempts if attempt.id != lost) == 2


def _expect_alive(view: WorkloadView) -> None:
    if view.workload.phase in (WorkloadPhase.FAILED, WorkloadPhase.CANCELLED):
        _expect_success(view)


def _expect_success(view: WorkloadView) -> None:
    """Raises ``AmpacityError`` with the last lines of what failed."""
    if view.workload.phase is WorkloadPhase.SUCCEEDED:
        return
    cause = view.attempts[-1].cause if view.attempts else None
    lines = "\n  ".join(cause.last_lines) if cause else ""
    raise AmpacityError(f"{view.workload.name} {view.workload.phase}: {cause.message if cause else ''}\n  {lines}")

"""What all benchmarks share: their options, how figures are told, and the file that they are written to."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path


def parser(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--quick", action="store_true", help="under a minute, without peers that must be installed")
    options.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options.add_argument("--data", type=Path, default=Path(os.environ.get("AMPACITY_DATA", "../shared/data")))
    options.add_argument("--seed", type=int, default=0)
    return options


def log_as_the_daemon_does(folder: Path) -> Path:
    """Have all that the program tells its log written to a file, as a control plane does. Where that is."""
    path = folder / "log"
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(filename=path, format=form, level=logging.INFO, force=True)
    for loud in ("numba", "matplotlib"):
        logging.getLogger(loud).setLevel(logging.WARNING)
    return path


@dataclass
class Figures:
    """Named numbers, told as they come. ``goal`` is what the figure has to reach."""

    name: str
    values: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, value: float, goal: str = "") -> None:
        self.values[name] = value
        print(f"  {name:<28} {value:>12.4g}  {goal}", flush=True)

    def note(self, text: str) -> None:
        self.notes.append(text)
        print(f"  ({text})", flush=True)

    def write(self, path: Path | None) -> None:
        """``{"figures": {…}, …}``, with what is needed to compare runs."""
        if path is None:
            return
        facts = {
            "figures": self.values,
            "benchmark": self.name,
            "notes": self.notes,
            "commit": _commit(),
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(facts, indent=1) + "\n")


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()

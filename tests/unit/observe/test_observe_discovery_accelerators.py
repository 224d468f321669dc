"""Accelerators of this machine: found by their readers, in a process that may hang or fail."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ampacity.drivers.local.machine import this_machine
from ampacity.observe.discovery.accelerators import Accelerators, accelerators, short_kind

DOUBLE = """
import os, time
from ampacity.observe.devices.base import DeviceIdentity, ReadFailed

class Reader:
    def devices(self):
        names = ["NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"]
        return [DeviceIdentity(index=i, vendor="x", kind=name) for i, name in enumerate(names)]
    def read(self, index):
        return {"memory_used_bytes": 1e9, "memory_free_bytes": 79e9} if index == 0 else {}
    def processes(self, index): return {}
    def close(self): pass

def none():
    reader = Reader()
    reader.devices = lambda: []
    return reader
def hangs(): time.sleep(600)
def fails(): raise ReadFailed("the driver is sick")
def crashes(): os.abort()
"""


@pytest.fixture
def doubles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "doubled_vendor.py").write_text(DOUBLE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_what_the_reader_finds_is_what_the_node_has(doubles: None, tmp_path: Path) -> None:
    node = this_machine(tmp_path, accelerators(("doubled_vendor:none", "doubled_vendor:Reader")))
    assert [(device.index, device.kind, device.memory_bytes) for device in node.devices] == [
        (0, "H100", 80_000_000_000),
        (1, "A100", 0),
    ]
    assert len({device.id for device in node.devices}) == 2


@pytest.mark.parametrize(
    ("how", "limit_s", "told"),
    [("hangs", 0.5, "do not answer"), ("fails", 60.0, "the driver is sick"), ("crashes", 60.0, "cannot be read")],
)
def test_a_sick_driver_is_told_and_counts_as_none(
    doubles: None, caplog: pytest.LogCaptureFixture, how: str, limit_s: float, told: str
) -> None:
    with caplog.at_level(logging.ERROR):
        found = accelerators((f"doubled_vendor:{how}",), limit_s=limit_s)
    assert found == Accelerators(problem=found.problem)
    assert told in found.problem
    assert told in caplog.text


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA H200", "H200"),
        ("Tesla T4", "T4"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("NVIDIA L40S", "L40S"),
        ("AMD Instinct MI300X", "MI300X"),
        ("Something", "Something"),
    ],
)
def test_kinds_are_told_as_people_ask_for_them(name: str, kind: str) -> None:
    assert short_kind(name) == kind

"""What tests of the local driver stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from driver_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "local")
    yield made
    made.clean_up()

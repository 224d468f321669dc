"""Every kind of store that a suite for all of them is run over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ampacity.store import open_store
from ampacity.store.base import Store
from ampacity.store.feed import FeedStore


@pytest.fixture(params=["memory", "sqlite", "feed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    found = open_store(str(tmp_path / "store.db") if request.param == "sqlite" else "memory:")
    yield FeedStore(found) if request.param == "feed" else found
    found.close()

"""Which releases understand each other, and what is advised where they do not."""

from __future__ import annotations

import pytest

from ampacity.api.versions import advice, refuse_foreign, same_major, same_minor
from ampacity.model.errors import VersionMismatch


@pytest.mark.parametrize(
    ("one", "other", "major", "minor"),
    [
        ("0.1.0", "0.1.9", True, True),
        ("0.1.0", "0.2.0", True, False),
        ("0.1.0", "1.1.0", False, False),
        ("1.10.0", "1.1.0", True, False),
        ("2.0.0.dev3+g1", "2.0.1", True, True),
        ("unknown", "2.0.1", True, True),
    ],
)
def test_releases_are_compared_by_their_numbers(one: str, other: str, major: bool, minor: bool) -> None:
    assert (same_major(one, other), same_minor(one, other)) == (major, minor)
    assert (same_major(other, one), same_minor(other, one)) == (major, minor)


def test_the_older_one_is_brought_up_to_the_newer() -> None:
    with pytest.raises(VersionMismatch, match=r"runs Ampacity 2\.0\.0, this client is 1\.0\.0") as refused:
        refuse_foreign(server="2.0.0", client="1.0.0")
    assert "pip install ampacity==2.0.0" in refused.value.hint
    assert "ampacity down" in advice(server="1.0.0", client="2.0.0")
    refuse_foreign(server="1.2.0", client="1.0.0")

"""Ring files: what is written is read, coarser archives are folded, and nothing torn or old is ever shown."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.observe.ring import HEADER_BYTES, Archive, Column, Fold, Layout, NotARing, RingReader, RingWriter

COLUMNS = (Column(name="load"), Column(name="peak", fold=Fold.MAX), Column(name="total", fold=Fold.LAST))
ARCHIVES = (Archive(step_s=1, slots=20), Archive(step_s=5, slots=8), Archive(step_s=10, slots=4))
T0 = 1_000_000.0


def layout(**labels: str) -> Layout:
    return Layout("test", COLUMNS, labels, ARCHIVES)


def test_samples_are_read_back_in_order_with_their_labels(tmp_path: Path) -> None:
    path = str(tmp_path / "a.ring")
    writer = RingWriter(path, layout(node="n1"))
    for second in range(12):
        writer.append(T0 + second, (second, -second, 10 * second))
    reader = RingReader(path)
    assert reader.layout.labels == {"node": "n1"}
    assert reader.layout.columns == COLUMNS
    assert reader.window(T0 + 3, T0 + 5) == [(T0 + s, s, -s, 10.0 * s) for s in (3, 4, 5)]
    assert reader.latest(T0 + 13, max_age_s=3) == (T0 + 11, 11.0, -11.0, 110.0)
    assert reader.latest(T0 + 40, max_age_s=3) is None
    assert reader.last() == (T0 + 11, 11.0, -11.0, 110.0)


def test_the_file_never_grows_and_holds_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "a.ring"
    writer = RingWriter(str(path), layout())
    size = path.stat().st_size
    for second in range(100):
        writer.append(T0 + second, (second, second, second))
    assert path.stat().st_size == size == layout().size
    assert [values[1] for values in RingReader(str(path)).window(T0, T0 + 99, archive=0)] == list(range(80, 100))


def test_coarser_archives_are_folded_by_each_columns_rule(tmp_path: Path) -> None:
    writer = RingWriter(str(tmp_path / "a.ring"), layout())
    for second in range(21):
        writer.append(T0 + second, (second, 7 if second == 3 else 0, 2 * second))
    five = writer.window(T0, T0 + 20, archive=1)
    assert five[0] == (T0 + 4, 2.0, 7.0, 8.0)
    ten = writer.window(T0, T0 + 20, archive=2)
    assert ten[0] == (T0 + 9, 4.5, 7.0, 18.0)
    assert writer.window(T0 + 20 - 60, T0 + 20) == ten  # the span alone decides how fine it is


def test_what_is_not_known_stays_unknown_and_does_not_spoil_a_mean(tmp_path: Path) -> None:
    writer = RingWriter(str(tmp_path / "a.ring"), layout())
    for second, load in enumerate((1.0, math.nan, 3.0, math.nan, math.nan, 0.0)):
        writer.append(T0 + second, (load, math.nan, math.nan))
    (folded,) = writer.window(T0, T0 + 4, archive=1)
    assert folded[1] == 2.0
    assert math.isnan(folded[2])
    assert math.isnan(folded[3])


@given(cut=st.integers(min_value=0, max_value=39))
def test_a_torn_record_is_never_shown(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = str(tmp_path_factory.mktemp("ring") / "a.ring")
    shape = layout()
    writer = RingWriter(path, shape)
    writer.append(T0, (1, 2, 3))
    old, new = shape.pack(T0, (1, 2, 3)), shape.pack(T0 + 20, (4, 5, 6))  # the same slot, one turn later
    torn = new[:cut] + old[cut:]
    with open(path, "r+b") as file:
        file.seek(shape.place(0, int(T0)))
        file.write(torn)
    shown = RingReader(path).latest(T0 + 20, max_age_s=30)
    if torn == old:
        assert shown == (T0, 1.0, 2.0, 3.0)
    elif torn != new:  # the last bytes of two check sums may be alike
        assert shown is None


def test_a_writer_goes_on_with_a_file_and_folds_what_its_predecessor_left(tmp_path: Path) -> None:
    path = str(tmp_path / "a.ring")
    first = RingWriter(path, layout())
    for second in range(4):
        first.append(T0 + second, (second, 0, 0))
    first.close()  # killed: the period is not over, nothing is folded yet
    second_writer = RingWriter(path, layout())
    second_writer.append(T0 + 17, (9, 0, 0))
    assert second_writer.window(T0, T0 + 9, archive=1) == [(T0 + 3, 1.5, 0.0, 0.0)]


def test_a_file_of_another_shape_is_made_anew(tmp_path: Path) -> None:
    path = str(tmp_path / "a.ring")
    RingWriter(path, layout(node="n1")).append(T0, (1, 2, 3))
    RingWriter(path, layout(node="n2"))
    assert RingReader(path).last() is None


def test_what_is_no_ring_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ring"
    for content in (b"", b"x" * HEADER_BYTES, layout().header()[:100]):
        path.write_bytes(content)
        with pytest.raises(NotARing):
            RingReader(str(path))
    damaged = bytearray(layout().header())
    damaged[20] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(NotARing):
        RingReader(str(path))
    assert str(path) not in open_files()  # refused files are closed again


def test_archives_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be folded"):
        Layout("test", COLUMNS, {}, (Archive(step_s=2, slots=10), Archive(step_s=3, slots=10)))


def open_files() -> list[str]:
    """What this process has open."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one of the listing itself
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return found

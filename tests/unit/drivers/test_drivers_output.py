"""Lines on their way from a process into ``output.log`` and back out of it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.drivers.base import LogLine
from ampacity.drivers.local.log_lines import parse_line, read_log
from ampacity.drivers.supervisor.output import MAX_LINE_BYTES, LineSplitter, Log


def split(chunks):
    splitter = LineSplitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + splitter.flush()


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=30)),
    cuts=st.lists(st.integers(0, 600)),
    unended=st.booleans(),
)
def test_however_it_is_cut_the_same_lines_come_out(lines, cuts, unended):
    data = "".join(f"{line}\n" for line in lines).encode()
    expected = [line.encode() for line in lines]
    if unended and expected and expected[-1]:
        data = data[:-1]
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    assert split([data[a:b] for a, b in pairwise(places)]) == expected


@given(text=st.text(st.sampled_from("aé€😀"), min_size=1), repeat=st.integers(1, 20_000), step=st.integers(1, 9000))
def test_a_long_line_is_split_between_characters_and_nothing_is_lost(text, repeat, step):
    data = (text * repeat).encode()[: 4 * MAX_LINE_BYTES].decode("utf-8", "ignore").encode()
    lines = split([data[at : at + step] for at in range(0, len(data), step)])
    assert b"".join(lines) == data
    assert all(len(line) <= MAX_LINE_BYTES for line in lines)


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\r\nb\r\n"], [b"a", b"b"]),
        ([b"a\r", b"\nb\n"], [b"a", b"b"]),
        ([b"1%\r2%\r3%"], [b"2%", b"3%"]),
        ([b"\r1%", b"\r2%"], [b"", b"1%", b"2%"]),
        ([b"\xff\xfe\n"], ["\ufffd\ufffd".encode()]),
        ([b"\n\n"], [b"", b""]),
        ([b""], []),
    ],
)
def test_carriage_returns_and_bad_bytes(chunks, lines):
    assert [line for line in split(chunks) if line] == [line for line in lines if line]


def test_log_lines_go_in_and_come_out(tmp_path):
    path = str(tmp_path / "output.log")
    log = Log(path)
    log.write("out", [b"one", b"", b"two words"])
    log.say("said\nin two lines")
    page = read_log(path, None, limit=2, ended=True)
    assert [line.text for line in page.lines] == ["one", ""]
    assert not page.ended
    rest = read_log(path, page.cursor, limit=10, ended=True)
    assert [(line.stream, line.text) for line in rest.lines] == [("out", "two words"), ("sys", "said in two lines")]
    assert rest.ended
    assert log.last_lines() == ["one", "", "two words"]
    assert log.last_lines(1) == ["two words"]


def test_a_line_that_is_still_being_written_waits_for_its_end(tmp_path):
    path = tmp_path / "output.log"
    path.write_bytes(b"1.500000 0 out whole\n2.0 1 err to")
    page = read_log(str(path), None, limit=10, ended=False)
    assert page.lines == (LogLine(at=1.5, rank=0, stream="out", text="whole"),)
    assert not page.ended
    torn = read_log(str(path), page.cursor, limit=10, ended=True)
    assert torn.lines == (LogLine(at=2.0, rank=1, stream="err", text="to"),)
    assert torn.ended


def test_an_absent_log_is_empty(tmp_path):
    assert read_log(str(tmp_path / "none"), "7", limit=5, ended=False).cursor == "7"
    assert read_log(str(tmp_path / "none"), None, limit=5, ended=True).ended


@pytest.mark.parametrize("line", [b"", b"torn", b"x - out hello", b"1.0 a out hello", b"1.0 - odd hello", b"\xff\xff"])
def test_what_is_no_log_line_is_kept_whole(line):
    parsed = parse_line(line, at=3.0)
    assert parsed == LogLine(at=3.0, rank=-1, stream="sys", text=line.decode("utf-8", "replace"))


@given(
    at=st.floats(0, 2**33),
    rank=st.integers(-1, 4096),
    stream=st.sampled_from(["out", "err", "sys"]),
    text=st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])),
)
def test_every_line_of_the_format_is_read(at, rank, stream, text):
    line = f"{at:.6f} {'-' if rank < 0 else rank} {stream} {text}".encode()
    parsed = parse_line(line)
    assert (parsed.rank, parsed.stream, parsed.text) == (rank, stream, text)
    assert parsed.at == pytest.approx(at, abs=1e-6)

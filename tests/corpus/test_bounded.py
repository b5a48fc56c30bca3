"""Lines and parts of streams that hold a line of any length."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from exnihilo.corpus import reader
from exnihilo.corpus.bounded import lines, parts
from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.reader import read_file


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"ab\ncd", [b"ab\n", b"cd"]),
        (b"1234\n12345\n1\n", [b"1234\n", None, b"1\n"]),
        (b"12345\n1234", [None, b"1234"]),
        (b"123456789" * 9, [None]),
        (b"12345", [b"12345"]),
        (b"123456", [None]),
    ],
)
def test_lines_of_at_most_five_bytes(data: bytes, expected: list[bytes | None]) -> None:
    assert list(lines(io.BytesIO(data), 5)) == expected


def test_parts_end_with_paragraphs_then_lines_and_lose_nothing() -> None:
    text = b"one two\nthree\n\nfour five\nsix\n\nseven\n" * 20
    cut = list(parts(io.BytesIO(text), 40))
    assert b"".join(part or b"" for part in cut) == text
    assert all(part is not None and len(part) <= 40 and part.endswith(b"\n") for part in cut)
    assert sum(part.endswith(b"\n\n") for part in cut if part) > len(cut) / 2
    assert list(parts(io.BytesIO(text[:40]), 40)) == [text[:40]]


def test_a_part_never_holds_half_a_line() -> None:
    long = b"x" * 99
    cut = list(parts(io.BytesIO(b"ab\n" + long + b"\ncd\nef"), 10))
    assert cut == [b"ab\n", None, b"cd\nef"]


def test_a_large_text_becomes_numbered_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "parts", lambda stream: parts(stream, 12))
    file = tmp_path / "a.txt"
    file.write_text("first line\nsecond\n" + "long " * 9 + "\nlast")
    found = list(read_file(file, "a.txt"))
    assert [(one.text, one.index, one.meta) for one in found if isinstance(one, Found)] == [
        ("first line\n", 0, {"path": "a.txt"}),
        ("second\n", 1, {"path": "a.txt", "part": 2}),
        ("last", 3, {"path": "a.txt", "part": 4}),
    ]
    assert [one.reason for one in found if isinstance(one, Skipped)] == ["line too long"]


PROGRAM = """
import resource, sys
from pathlib import Path
from exnihilo.corpus.findings import Found
from exnihilo.corpus.reader import read_file
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[1:]:
    for one in read_file(Path(name), Path(name).name):
        print(one.text.strip() if isinstance(one, Found) else one)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_must_show_6_a_line_of_two_gigabytes_is_one_line_of_the_report(tmp_path: Path) -> None:
    names = []
    for name, before, after in (
        ("a.jsonl", b'{"text": "one"}\n{"text": "', b'"}\n{"text": "two"}\n'),
        ("b.txt", b"one\n", b"\ntwo"),
    ):
        file = tmp_path / name
        names.append(str(file))
        with file.open("wb") as stream:
            stream.write(before)
            for _ in range(2048):
                stream.write(b"x" * (1 << 20))
            stream.write(after)
    done = subprocess.run([sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True, check=True)
    *told, grown = done.stdout.splitlines()
    assert told == [
        "one",
        "Skipped(reason='line too long', example='a.jsonl:2: more than 64 MiB')",
        "two",
        "one",
        "Skipped(reason='line too long', example='b.txt: a line of more than 64 MiB')",
        "two",
    ]
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(grown) * unit < 600 << 20, int(grown) * unit >> 20

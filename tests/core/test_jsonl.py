"""JSON Lines: what is read, and what a bad line says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from exnihilo.core.errors import ExnihiloError
from exnihilo.core.jsonl import dumps, read_jsonl, write_jsonl


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_what_is_written_is_read_again_with_line_numbers(tmp_path: Path, name: str) -> None:
    records = [{"a": 1}, {"ü": "中文 "}, {"c": [None, True]}]
    assert write_jsonl(tmp_path / name, records) == 3
    assert list(read_jsonl(tmp_path / name)) == list(enumerate(records, start=1))
    assert [line for line, _ in read_jsonl(tmp_path / name, limit=2)] == [1, 2]
    first = (tmp_path / name).read_bytes()
    write_jsonl(tmp_path / name, records)
    assert (tmp_path / name).read_bytes() == first


def test_byte_order_mark_crlf_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": 2}')
    assert list(read_jsonl(path)) == [(1, {"a": 1}), (4, {"a": 2})]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": 1}\n{"a": \n', "a.jsonl:2: not JSON"),
        (b'{"a": 1}\n\n[1]\n', "a.jsonl:3: a JSON object is wanted, not list"),
        (b'{"a": 1}\n{"a": "\xff"}\n', "a.jsonl:2: not UTF-8 at byte 7"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    records = read_jsonl(path)
    assert next(records) == (1, {"a": 1})
    with pytest.raises(ExnihiloError, match=r"^[^\n]+$") as caught:
        list(records)
    assert said in str(caught.value)


def test_a_cut_gzip_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"a": "x" * 100}).encode() + b"\n")[:-12])
    with pytest.raises(ExnihiloError, match="not a whole gzip file"):
        list(read_jsonl(path))
    path.write_bytes(b"plain")
    with pytest.raises(ExnihiloError, match="not a whole gzip file"):
        list(read_jsonl(path))
    with pytest.raises(ExnihiloError, match="No such file"):
        list(read_jsonl(tmp_path / "none.jsonl"))


def test_a_failing_source_of_records_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_jsonl(path, [{"a": 1}])
    with pytest.raises(ZeroDivisionError):
        write_jsonl(path, ({"a": 1 / number} for number in (1, 0)))
    assert list(read_jsonl(path)) == [(1, {"a": 1})]
    assert [one.name for one in tmp_path.iterdir()] == ["a.jsonl"]


def test_numbers_of_numpy_are_numbers_and_nan_is_null() -> None:
    line = dumps({"a": np.float32(0.5), "b": np.int64(3), "c": float("nan"), "d": [float("inf"), {"e": 1.0}]})
    assert json.loads(line) == {"a": 0.5, "b": 3, "c": None, "d": [None, {"e": 1.0}]}
    with pytest.raises(TypeError, match="object is not JSON"):
        dumps({"a": object()})

"""Collecting real files of every format."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exnihilo.core.artifact import Artifact
from exnihilo.core.config import key_table, resolve, validate
from exnihilo.core.documents import Document, read_documents
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.keys import status
from exnihilo.corpus.collect import STAGE
from exnihilo.corpus.source_config import CollectConfig

Run = Callable[..., Artifact]

PAGE = """<!doctype html><html><head><title>Rivers &amp; sand</title></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/x">About</a></li></ul></nav>
<article><p>The river carries sand.</p><ul><li>slowly</li><li>every day</li></ul></article>
<footer>All rights reserved</footer></body></html>"""


def collected(artifact: Artifact) -> dict[str, Document]:
    return {str(one.meta["path"]): one for one in read_documents(artifact.path)}


def skipped(artifact: Artifact) -> dict[str, list[str]]:
    report = json.loads((artifact.path / "collection.json").read_text())
    return {reason: entry["examples"] for reason, entry in report["skipped"].items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One good file of every format, in a path with a space and a letter outside ASCII."""
    root = tmp_path / "my téxts"
    (root / "deep").mkdir(parents=True)
    (root / "plain.txt").write_text("plain text\n")
    (root / "deep" / "note.md").write_text("# Note\n\nMarkdown.\n")
    (root / "deep" / "paper.rst").write_text("Paper\n=====\n")
    (root / "page.html").write_text(PAGE)
    (root / "code.py").write_text("def f():\n    return 1\n")
    (root / "rows.jsonl").write_text('{"text": "row one", "author": "Ann"}\n\n{"text": "row two"}\n')
    (root / "packed.jsonl.gz").write_bytes(gzip.compress(b'{"content": "packed row", "n": 3}\n'))
    (root / "packed.txt.gz").write_bytes(gzip.compress(b"gepackt\n"))
    (root / "list.json").write_text('[{"body": "a long text of a list", "id": "x1"}]')
    (root / "nosuffix").write_text("a file without a suffix\n")
    pq.write_table(
        pa.table({"text": ["from parquet"], "stars": [5], "more": [[1, 2]]}), root / "table.parquet"
    )
    return root


def test_every_format_of_a_folder(run_collect: Run, folder: Path) -> None:
    artifact = run_collect({"path": str(folder)})
    documents = list(read_documents(artifact.path))
    texts = {one.text for one in documents}
    assert texts == {
        "plain text\n",
        "# Note\n\nMarkdown.\n",
        "Paper\n=====\n",
        "The river carries sand.\n\n  • slowly\n  • every day",
        "def f():\n    return 1\n",
        "row one",
        "row two",
        "packed row",
        "gepackt\n",
        "a long text of a list",
        "from parquet",
        "a file without a suffix\n",
    }
    assert [one.meta["path"] for one in documents] == sorted(one.meta["path"] for one in documents)
    by_path = collected(artifact)
    assert by_path["page.html"].meta == {"path": "page.html", "title": "Rivers & sand"}
    assert by_path["packed.jsonl.gz"].meta == {"path": "packed.jsonl.gz", "row": 1, "n": 3}
    assert by_path["table.parquet"].meta == {"path": "table.parquet", "row": 1, "stars": 5}
    assert {one.source for one in documents} == {"my téxts"}
    assert {one.licence for one in documents} == {"unknown"}
    assert len({one.id for one in documents}) == len(documents)
    assert artifact.manifest["provenance"] == [
        {
            "source": "my téxts",
            "licence": "unknown",
            "generator": "",
            "amount": sum(len(one.text.encode()) for one in documents),
            "unit": "bytes",
        }
    ]
    assert "took 3 JSONL documents, 24 bytes" in artifact.manifest["lines"]


def test_bare_strings_of_a_json_list_are_taken_when_the_list_is_of_strings(
    run_collect: Run, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_text('["first string", "second string", 7]')
    (tmp_path / "in" / "b.json").write_text('{"version": 1, "data": [{"text": "held in data"}]}')
    (tmp_path / "in" / "c.json").write_text('{"text": "JSONL called json"}\n{"text": "its second line"}\n')
    artifact = run_collect({"path": str(tmp_path / "in")})
    assert [one.text for one in read_documents(artifact.path)] == [
        "first string",
        "second string",
        "held in data",
        "JSONL called json",
        "its second line",
    ]
    assert skipped(artifact)["bad row"] == ["a.json: item 3 is a int, not an object or a string"]


def test_no_absolute_path_enters_the_artifact(run_collect: Run, folder: Path, tmp_path: Path) -> None:
    artifact = run_collect({"path": str(folder)})
    for file in artifact.path.rglob("*"):
        if file.is_file():
            assert str(tmp_path).encode() not in file.read_bytes(), file.name


def test_corpus_14_bom_crlf_binary_bad_row(run_collect: Run, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    (root / "bom.txt").write_bytes(b"\xef\xbb\xbfwith a mark\r\nsecond line\r\n")
    (root / "bom.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "first row"}\r\n{"text": "second row"}\r\n')
    (root / "late.txt").write_bytes(b"0123456789" + b"\xe9t\xe9")
    (root / "marked.txt").write_bytes(b"\xef\xbb\xbf0123456789\xe9")
    (root / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    (root / "nul.txt").write_bytes(b"abc\x00def")
    (root / "wide.txt").write_bytes("wide".encode("utf-16"))
    (root / "empty.txt").write_bytes(b"")
    (root / "blank.md").write_bytes(b" \n\n")
    (root / "rows.jsonl").write_bytes(
        b'{"text": "good"}\n{"text": "cut off\n{"text": 5}\n{"text": ""}\n[1]\n{"text": "b\xff"}\n'
        b'{"text": "\\ud83d"}\n{"other": "x"}\n{"text": "also good"}\n'
    )
    (root / "broken.txt.gz").write_bytes(gzip.compress(b"text" * 1000)[:-9])
    (root / "broken.parquet").write_bytes(b"PAR1 and nothing")
    (root / "broken.json").write_text('[{"text": "a"},')
    (root / "report.pdf").write_bytes(b"%PDF-1.7")
    (root / "report.docx").write_bytes(b"PK")
    (root / ".hidden").write_text("hidden")
    artifact = run_collect({"path": str(root)})

    assert [(one.meta["path"], one.text) for one in read_documents(artifact.path)] == [
        ("bom.jsonl", "first row"),
        ("bom.jsonl", "second row"),
        ("bom.txt", "with a mark\r\nsecond line\r\n"),
        ("rows.jsonl", "good"),
        ("rows.jsonl", "also good"),
        ("wide.txt", "wide"),  # its byte order mark says what it is
    ]
    reasons = skipped(artifact)
    assert reasons["not UTF-8"] == [
        "late.txt: byte 10 is 0xe9",
        "marked.txt: byte 13 is 0xe9",
        "photo.png: byte 0 is 0x89",
    ]
    report = json.loads((artifact.path / "collection.json").read_text())["skipped"]
    assert report["not UTF-8"]["count"] == 3
    assert reasons["binary"] == ["nul.txt: byte 3 is 0x00"]
    assert reasons["empty"] == ["blank.md", "empty.txt", "rows.jsonl:4"]
    assert report["bad row"]["count"] == 4
    assert reasons["bad row"][0].startswith("rows.jsonl:2: not JSON (")
    assert reasons["bad row"][1:] == [
        "rows.jsonl:5: a list, not an object",
        "rows.jsonl:6: not UTF-8 at byte 11 of the line",
    ]
    assert reasons["no text field"] == [
        "rows.jsonl:3: field 'text' is int",
        "rows.jsonl:8: no field 'text'",
    ]
    assert reasons["not a whole gzip file"][0].startswith("broken.txt.gz: ")
    assert reasons["not a whole Parquet file"][0].startswith("broken.parquet: ")
    assert reasons["not JSON"][0].startswith("broken.json:1: ")
    assert reasons["no reader for .docx"] == ["report.docx"]
    assert reasons["not a whole PDF file"][0].startswith("report.pdf: ")
    assert reasons["hidden or generated"] == [".hidden"]
    assert any(
        line.startswith("skipped 3: not UTF-8 (late.txt: byte 10") for line in artifact.manifest["lines"]
    )


def test_the_text_field_is_sniffed_by_file_and_can_be_named(run_collect: Run, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    (root / "a.jsonl").write_text('{"t": "x", "story": "the long one"}\n{"t": "yy", "story": "another"}\n')
    (root / "b.jsonl").write_text('{"content": "c", "story": "longer than content"}\n')
    sniffed = run_collect({"path": str(root)})
    assert [one.text for one in read_documents(sniffed.path)] == ["the long one", "another", "c"]
    named = run_collect({"path": str(root)}, name="named", text_field="story")
    assert [one.text for one in read_documents(named.path)] == [
        "the long one",
        "another",
        "longer than content",
    ]


def test_corpus_5_order_and_ids_do_not_depend_on_the_file_system(run_collect: Run, tmp_path: Path) -> None:
    names = [f"{i:02d}.txt" for i in range(30)]
    for place, order in (("one", names), ("two", names[::-1])):
        folder = tmp_path / place / "texts"
        folder.mkdir(parents=True)
        for name in order:
            (folder / name).write_text(f"text of {name}\n")
    first = run_collect({"path": str(tmp_path / "one" / "texts")}, name="first")
    second = run_collect({"path": str(tmp_path / "two" / "texts")}, name="second")
    assert first.content == second.content
    # One file more leaves every other document as it was.
    (tmp_path / "two" / "texts" / "05b.txt").write_text("one more\n")
    third = run_collect({"path": str(tmp_path / "two" / "texts")}, name="third")
    before = {one.id: one.text for one in read_documents(first.path)}
    after = {one.id: one.text for one in read_documents(third.path)}
    assert before.items() < after.items() and len(after) == 31


def test_glob_file_and_list_of_sources(run_collect: Run, folder: Path) -> None:
    artifact = run_collect(
        [
            {"path": str(folder / "**" / "*.md"), "source": "notes", "licence": "CC0-1.0"},
            {"path": str(folder / "rows.jsonl")},
            {"path": str(folder / "*.jsonl"), "source": "rows"},
        ]
    )
    found = [(one.source, one.licence, one.meta["path"], one.text) for one in read_documents(artifact.path)]
    assert found == [
        ("notes", "CC0-1.0", "deep/note.md", "# Note\n\nMarkdown.\n"),
        ("rows", "unknown", "rows.jsonl", "row one"),
        ("rows", "unknown", "rows.jsonl", "row two"),
    ]
    assert skipped(artifact) == {"listed twice": ["rows.jsonl"]}


def test_a_licence_stated_by_a_row_is_kept_unless_the_source_states_one(
    run_collect: Run, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a", "license": "mit"}\n{"text": "b"}\n')
    stated = run_collect({"path": str(file)})
    assert [one.licence for one in read_documents(stated.path)] == ["mit", "unknown"]
    given = run_collect({"path": str(file), "licence": "CC-BY-4.0"}, name="given")
    assert [one.licence for one in read_documents(given.path)] == ["CC-BY-4.0", "CC-BY-4.0"]


def test_two_sources_of_one_name_with_one_file_name_are_told_apart(run_collect: Run, tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place / "texts").mkdir(parents=True)
        (tmp_path / place / "texts" / "x.txt").write_text(place)
    sources = [{"path": str(tmp_path / place / "texts")} for place in ("a", "b")]
    with pytest.raises(ConfigError, match=r"two sources called 'texts' hold a file 'x.txt'"):
        run_collect(sources)
    artifact = run_collect([{**sources[0], "source": "a"}, {**sources[1], "source": "b"}])
    assert len({one.id for one in read_documents(artifact.path)}) == 2


def test_nothing_to_take_is_refused_and_a_missing_path_is_wrong_usage(
    run_collect: Run, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="nothing was collected"):
        run_collect({"path": str(tmp_path / "empty")})
    (tmp_path / "empty" / "a.bin").write_bytes(b"\xff")
    with pytest.raises(
        Refused, match=r"nothing was collected; skipped 1: not UTF-8 \(a\.bin: byte 0 is 0xff\)"
    ):
        run_collect({"path": str(tmp_path / "empty")})
    with pytest.raises(ConfigError, match="no such file or folder"):
        run_collect({"path": str(tmp_path / "absent")})
    assert not (tmp_path / "run" / "corpus").exists()


def test_a_changed_file_makes_the_stage_stale(run_collect: Run, folder: Path) -> None:
    config = validate(CollectConfig, {"from": {"path": str(folder)}}, where="collect")
    out = run_collect({"path": str(folder)}).path
    assert status(STAGE, config, {}, out, seed=1).state == "cached"
    (folder / "plain.txt").write_text("other text\n")
    assert status(STAGE, config, {}, out, seed=1).state == "stale"


def test_config_from_flags_and_its_mistakes() -> None:
    config = resolve(CollectConfig, flags={"from": {"path": "texts", "licence": "mit"}}, environ={})
    assert config.model_dump(mode="json", by_alias=True)["from"]["path"] == "texts"
    assert resolve(CollectConfig, flags={"from": {"python": True}}, environ={}).sources[0].python is True
    with pytest.raises(ConfigError, match=r"from\.pth: unknown key; did you mean from\.path"):
        validate(CollectConfig, {"from": {"pth": "x"}}, where="")
    with pytest.raises(ConfigError, match="python is given twice"):
        validate(CollectConfig, {"from": [{"python": True}, {"python": True}]}, where="")
    assert {"from", "from.path", "from.python", "from.hub", "text_field"} <= {
        row.key for row in key_table(CollectConfig)
    }


def test_tang_poems_survive_in_full(run_collect: Run, data: Path) -> None:
    artifact = run_collect({"path": str(data / "text" / "tang-poems-zh.jsonl.gz")})
    documents = list(read_documents(artifact.path))
    # Half of the rows of this file hold two line feeds and nothing else.
    assert len(documents) == 7004
    assert documents[0].source == "tang-poems-zh"
    assert skipped(artifact).keys() == {"empty"}

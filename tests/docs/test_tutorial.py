"""The tutorial: every chapter runs in an empty folder, and prints what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fences import blocks, run_python

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial"
CHAPTERS = sorted(TUTORIAL.glob("[0-9]*.md"))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_prints_what_it_shows(
    chapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run_python(chapter, {"__name__": "chapter"})
    assert len(ran) > 4
    problems = [f"line {one.code.line}: {one.problem}" for one in ran if one.problem]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_ends_with_one_thing_to_change(chapter: Path) -> None:
    text = chapter.read_text(encoding="utf-8")
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert titles[-2:] == ["Read next", "Change one thing"]
    start = text[: text.index("## Change one thing")].count("\n")
    assert any(block.language == "python" and block.line > start for block in blocks(chapter))
    assert "src/exnihilo/" in text.partition("## Read next")[2]


def test_the_index_names_the_chapters_in_order() -> None:
    linked = re.findall(r"\]\((\d\d-[\w-]+\.md)\)", (TUTORIAL / "index.md").read_text(encoding="utf-8"))
    assert linked == [chapter.name for chapter in CHAPTERS]

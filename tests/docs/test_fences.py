"""Reading the pages: what counts as the output that a page shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from fences import blocks, matches, run_python


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("loss 4.…, step 9\n", "loss 4.31, step 9\n"),
        ("a\n…\nd\n", "a\nb\nc\nd\n"),
        ("a\n…\nd\n", "a\nd\n"),
        ("(1.5) [x]\n", "(1.5) [x]\n"),
        ("no line end\n", "no line end"),
    ],
)
def test_an_ellipsis_stands_for_anything_on_its_line(shown: str, printed: str) -> None:
    assert matches(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("loss 4.…, step 9\n", "loss 5.31, step 9\n"),
        ("loss …\n", "loss 4\nand more\n"),
        ("a\nb\n", "a\n"),
        ("a\n", "a\nb\n"),
        ("a.c\n", "abc\n"),
        ("a\n", ""),
    ],
)
def test_other_output_is_a_difference(shown: str, printed: str) -> None:
    assert not matches(shown, printed)


def test_a_page_runs_in_one_namespace_and_hides_nothing_printed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 2\n```\n\n```python\nprint(x)\n```\n\n```text\n3\n```\n\n```python\nprint(x)\n```\n",
        encoding="utf-8",
    )
    problems = [one.problem for one in run_python(page, {})]
    assert problems[0] is None
    assert problems[1] is not None and "3" in problems[1] and "2" in problems[1]
    assert problems[2] is not None and "nowhere" in problems[2]


def test_a_fence_that_is_not_closed_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="not closed"):
        blocks(page)

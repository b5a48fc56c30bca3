"""Every bad input gets its answer, with its exit code, and nothing that was good before is lost."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from all_cases import CASES, GROUPS
from answers_page import PAGE, written
from bad_case import Case, Outcome, run_process
from good_world import state

from exnihilo.cli.main import main

ADVICE = re.compile(
    r"; |\?$|allowed: |Did you mean|Choose from|are written|comes first|pip install|again|use |give |add "
)
"""What an answer has that says what to do."""


def run_here(case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Outcome:
    """Run the command of a case in this process."""
    for name in [name for name in os.environ if name.startswith("EXNIHILO_")]:
        monkeypatch.delenv(name)
    for name, value in case.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(case.stdin), encoding="utf-8"))
    capsys.readouterr()
    code = main(shlex.split(case.command))
    return Outcome(code, *capsys.readouterr())


def permissions_bind(folder: Path) -> bool:
    """Whether a file's mode keeps this process from reading it; root passes by it."""
    closed = folder / "closed"
    closed.touch(mode=0)
    return not os.access(closed, os.R_OK)


@pytest.mark.parametrize("case", CASES, ids=[case.wrong for case in CASES])
def test_core_2_bad_input_gets_its_answer_and_loses_nothing(
    case: Case,
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if case.permissions and not permissions_bind(tmp_path):
        pytest.skip("permissions do not bind root")
    folder = tmp_path / "mes essais é"
    shutil.copytree(world, folder)
    monkeypatch.chdir(folder)
    for name, content in case.files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with case.during():
        case.make()
        before = state(folder)
        outcome = run_process(case) if case.process else run_here(case, monkeypatch, capsys)
    problem = outcome.problem(case)
    assert problem is None, problem
    assert "Traceback" not in outcome.err and "this is a bug" not in outcome.err
    after = state(folder)
    assert before == {name: after.get(name) for name in before}


def test_there_are_at_least_a_hundred_of_every_kind() -> None:
    assert len(CASES) >= 100 and all(len(group.cases) >= 3 for group in GROUPS)
    assert len({case.wrong for case in CASES}) == len(CASES)
    assert sum(case.process for case in CASES) >= 10
    assert {case.code for case in CASES} >= {0, 1, 2, 3, 4}


@pytest.mark.parametrize("case", CASES, ids=[case.wrong for case in CASES])
def test_an_answer_says_what_to_do(case: Case) -> None:
    for line in case.answer.splitlines():
        assert not line.startswith("error: ") or ADVICE.search(line), line


def test_core_9_the_page_shows_these_answers() -> None:
    assert PAGE.read_text(encoding="utf-8") == written(), (
        "run: python tests/bad_input/answers_page.py --write"
    )

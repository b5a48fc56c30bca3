"""Real runs of a small recipe, disturbed in ways that users meet: they end as if nothing had been.

The full measurement, 300 disturbances of the recipe `smoke`, is `python -m benchmarks survival`.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.disturbances import Kind, Session, disturb, environment, finish, small_disk
from benchmarks.survival import Ending, Unbroken, as_many_as_planned, break_and_mend, differences
from exnihilo.cli.main import main
from exnihilo.core.errors import ExnihiloError
from exnihilo.core.lock import hold

RECIPE = """
seed: 1
stages:
  library:   {do: collect, from: {path: texts}}
  corpus:    {do: curate, corpus: library, held_out: 0.2}
  tokenizer: {do: tokenizer, corpus: corpus, vocabulary: 300}
  tokens:    {do: tokenize, corpus: corpus, tokenizer: tokenizer}
  base:
    do: pretrain
    tokens: tokens
    model: {depth: 1, width: 32, heads: 1, hidden: 64}
    steps: 30
    rows: 4
    length: 64
    checkpoint_every: 3
    sample_tokens: 4
  scores:    {do: evaluate, models: [base], corpus: corpus}
"""


@dataclass(frozen=True)
class Small:
    """The recipe and what it comes to."""

    recipe: str
    unbroken: Unbroken
    run: Path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("small run")
    (folder / "texts").mkdir()
    draw = random.Random(0)
    words = [f"{start}{end}" for start in ("ka", "lo", "mi", "ru") for end in ("n", "ra", "st", "ve")]
    for number in range(60):
        text = "\n".join(" ".join(draw.choices(words, k=12)) + "." for _ in range(8))
        (folder / "texts" / f"{number}.txt").write_text(text)
    recipe = folder / "small.yaml"
    recipe.write_text(RECIPE)
    return Small(str(recipe), Unbroken.make(folder / "unbroken", str(recipe)), folder / "unbroken")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk", 32 << 20) as folder:
            yield folder
    except ExnihiloError as error:
        pytest.skip(str(error))


def test_train_6_one_signal_in_any_stage_saves_and_the_next_run_ends_the_same(
    small: Small, tmp_path: Path
) -> None:
    """SIGTERM and Ctrl-C while a tokenizer and a model are trained, and in evaluation."""
    run, draw = tmp_path / "run", random.Random(1)
    ending = Ending([])
    for phase in ("tokenizer", "base", "scores"):
        session = disturb(run, "stop", phase, 0.2, small.unbroken.timeline, draw, small.recipe)
        ending.sessions.append(session)
        ending.problems += session.problems
    assert {one.code for one in ending.sessions} <= {0, 130, 143} and ending.sessions[0].code in (130, 143)
    code, said = finish(run, small.recipe)
    assert code == 0, said
    assert not ending.problems and not differences(run, small.unbroken)


def test_core_12_a_disk_that_fills_up_is_told_in_one_line_and_loses_nothing(small: Small, disk: Path) -> None:
    ending = break_and_mend(disk / "run", ["full"], small.unbroken, random.Random(5), small.recipe)
    assert not ending.problems, ending.problems
    assert [one.kind for one in ending.sessions if one.kind] == ["full"]


def test_a_finished_run_on_a_read_only_disk_is_refused_and_stays(
    small: Small, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["cp", "-r", str(small.run), str(disk / "run")], check=True)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert main(["run", small.recipe, "--run", str(disk / "run")]) == 3
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "cannot write there (Read-only file system); choose another folder" in errors[0]
    assert not differences(disk / "run", small.unbroken)


def test_two_runs_in_one_folder_the_second_is_refused(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold(small.run / ".lock", small.run):
        assert main(["run", small.recipe, "--run", str(small.run)]) == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "another exnihilo (pid " in line and "wait for it or use another folder" in line
    assert not differences(small.run, small.unbroken)


def test_what_a_kill_left_half_written_beside_the_stages_is_swept_away(small: Small) -> None:
    """A report and a model card that were being written, and a card that never was."""
    left = [small.run / ".report.html.12345.tmp", small.run / "base" / ".README.md.12345.tmp"]
    for path in left:
        path.write_text("<html>")
    (small.run / "base" / "README.md").unlink()
    code, said = finish(small.run, small.recipe)
    assert code == 0, said
    assert not differences(small.run, small.unbroken)
    assert not any(path.exists() for path in left)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kill", "stop", "full"])
def test_ten_disturbances_at_random_moments(small: Small, tmp_path: Path, kind: Kind) -> None:
    """`pytest -m slow tests/pipeline`: a minute each."""
    if kind == "full":
        try:
            disk = small_disk(tmp_path, 32 << 20)
            with disk:
                ending = break_and_mend(
                    tmp_path / "run", [kind] * 10, small.unbroken, random.Random(7), small.recipe
                )
        except ExnihiloError as error:
            pytest.skip(str(error))
    else:
        ending = break_and_mend(tmp_path / "run", [kind] * 10, small.unbroken, random.Random(7), small.recipe)
    assert not ending.problems, ending.problems


def test_disturbances_that_came_too_late_are_made_up_for() -> None:
    endings: list[Ending] = []
    given = as_many_as_planned([["kill"] * 3, ["stop"]], endings)
    assert [next(given), next(given)] == [["kill"] * 3, ["stop"]]
    late = Session(None, "report", 0)
    endings += [Ending([Session("kill", "base", -9), late, late]), Ending([Session("stop", "base", 143)])]
    assert next(given) == ["kill"] * 2
    endings.append(Ending([Session("kill", "base", -9)] * 2))
    assert list(given) == []


def test_the_benchmark_is_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"],
        env=environment(),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "survival" in done.stdout

"""The run: what it makes again and what not, what it leaves on disk, and what stops it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from exnihilo.core.artifact import Artifact
from exnihilo.core.config import parse_flags, read_yaml
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.lineage import lineage
from exnihilo.core.lock import hold
from exnihilo.recipes.clean import clean
from exnihilo.recipes.load import load
from exnihilo.recipes.run import Made, plan, run

Command = Callable[..., "subprocess.Popen[str]"]
ALL = ["text", "pieces", "base", "more", "scores"]


def ran(made: dict[str, Made]) -> list[str]:
    return [name for name, one in made.items() if one.state != "cached"]


def again(recipe: Path, folder: Path, *flags: str, **more: object) -> list[str]:
    return ran(run(load(recipe, flags=parse_flags(flags)), folder, **more))  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, str]:
    return {name: Artifact.open(folder / name, verify=True).content for name in ALL}


def test_everything_runs_once(recipe: Path, here: Path) -> None:
    assert again(recipe, here / "r") == ALL
    before = contents(here / "r")
    assert again(recipe, here / "r") == []
    assert contents(here / "r") == before
    assert (here / "r" / "report.html").is_file()


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--text.text", "nihil", ALL),
        ("--pieces.length", "4", ["pieces", "base", "more", "scores"]),
        ("--base.optim.lr", "0.5", ["base", "more", "scores"]),
        ("--more.steps", "5", ["more", "scores"]),
        ("--scores.limit", "5", ["scores"]),
        ("--text.note", "cosmetic", []),
        # Lower case already: `pieces` is made again, comes out the same, and nothing after it runs.
        ("--pieces.lower", "false", ["pieces"]),
    ],
)
def test_core_11_one_changed_key_reruns_exactly_what_depends_on_it(
    recipe: Path, here: Path, made: Path, flag: str, value: str, expected: list[str]
) -> None:
    assert again(recipe, here / "r", flag, value) == expected
    assert again(recipe, here / "r", flag, value) == []


def test_a_line_a_stage_says_what_became_of_it(
    recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again(recipe, here / "r")
    first = capsys.readouterr()
    assert "text: running\n" in first.err and "    14 characters\n" in first.err
    assert "exnihilo chat r --web" in first.err
    assert first.out == ""
    again(recipe, here / "r", "--base.optim.lr", "0.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "text: cached",
        "pieces: cached",
        "base: stale because optim.lr 0.001 -> 0.5: running",
    ]
    assert "more: stale because input parent changed: running" in lines
    events = [json.loads(line) for line in (here / "r" / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events if event["stage"] == "pieces"] == ["running", "done", "cached"]
    assert "base: stale because optim.lr" in (here / "r" / "log.txt").read_text()


def test_replaced_artifacts_stay_until_clean(recipe: Path, here: Path, made: Path) -> None:
    old = Artifact.open(here / "r" / "more").content
    again(recipe, here / "r", "--more.steps", "5")
    assert Artifact.open(here / "r" / ".replaced" / "more-1").content == old
    with hold(here / "r" / ".lock", here / "r"), pytest.raises(Refused, match="is working in"):
        clean(here / "r")
    names, size = clean(here / "r")
    assert names == ["more-1", "scores-1"] and size > 0
    assert not (here / "r" / ".replaced").exists()
    assert clean(here / "r") == ([], 0)
    with pytest.raises(Refused):
        clean(here / "none")


def test_core_11_what_is_read_from_outside_makes_a_stage_stale(recipe: Path, here: Path) -> None:
    (here / "mine.txt").write_text("some text")
    flags = ("--text.path", "mine.txt")
    again(recipe, here / "r", *flags)
    assert again(recipe, here / "r", *flags) == []
    (here / "mine.txt").write_text("other text")
    assert again(recipe, here / "r", *flags) == ALL


def test_core_4_recipe_yaml_of_a_run_does_it_again_whatever_the_environment(
    recipe: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "mine.txt").write_text("some text")
    monkeypatch.setenv("EXNIHILO_MORE__STEPS", "6")
    flags = ("--text.path", "mine.txt", "--base.steps=2")
    again(recipe, here / "r", *flags)
    monkeypatch.setenv("EXNIHILO_MORE__STEPS", "7")
    assert again(here / "r" / "recipe.yaml", here / "r") == []
    monkeypatch.delenv("EXNIHILO_MORE__STEPS")
    assert again(here / "r" / "recipe.yaml", here / "r") == []
    resolved = read_yaml(here / "r" / "recipe.yaml")["stages"]
    assert resolved["more"]["steps"] == 6 and resolved["base"]["steps"] == 2
    assert resolved["text"]["path"] == "../mine.txt" and resolved["base"]["optim"]["name"] == "1e-3"
    before = contents(here / "r")
    again(here / "r" / "recipe.yaml", here / "elsewhere" / "copy")
    assert contents(here / "elsewhere" / "copy") == before


def test_core_6_a_run_can_be_moved_and_reads_the_same(recipe: Path, here: Path, made: Path) -> None:
    shutil.move(made, here / "neuf ü 2")
    assert again(here / "neuf ü 2" / "recipe.yaml", here / "neuf ü 2") == []
    for file in (here / "neuf ü 2").rglob("*.json*"):
        assert str(here) not in file.read_text(encoding="utf-8"), file


def test_core_10_two_runs_side_by_side_and_a_changed_parent_is_reported(
    recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again(recipe, here / "one")
    again(recipe, here / "two", "--text.text", "something else")
    assert contents(here / "one")["base"] != contents(here / "two")["base"]
    child = here / "child.yaml"
    child.write_text("stages: {own: {do: grow, tokens: ./one/pieces, parent: ./one/base}}")
    assert again(child, here / "child") == ["own"]
    record = json.loads((here / "child" / "run.json").read_text())
    assert [(one["path"], one["kind"]) for one in record["parents"]] == [
        ("../one/pieces", "tokens"),
        ("../one/base", "model"),
    ]
    again(recipe, here / "one", "--base.steps", "9")
    assert [node.state for node in lineage(here / "child" / "own").parents] == ["whole", "changed"]
    capsys.readouterr()
    assert again(child, here / "child") == ["own"]
    assert "own: stale because input parent changed" in capsys.readouterr().err


def test_run_json_says_how_the_run_came_about(recipe: Path, here: Path) -> None:
    run(load(recipe, seed=5), here / "r", command=["exnihilo", "run", "toys.yaml"])
    record = json.loads((here / "r" / "run.json").read_text())
    assert record["command"] == ["exnihilo", "run", "toys.yaml"] and record["seed"] == 5
    assert {"version", "commit"} <= record["code"].keys() and "torch" in record["libraries"]
    assert record["stages"]["base"]["content"] == Artifact.open(here / "r" / "base").content


def test_another_seed_makes_everything_again(recipe: Path, here: Path, made: Path) -> None:
    assert ran(run(load(recipe, seed=4), here / "r")) == [*ALL]


def test_only_runs_the_stage_named_and_needs_its_inputs(recipe: Path, here: Path) -> None:
    with pytest.raises(Refused, match="base: needs pieces, which is not made yet"):
        again(recipe, here / "r", only=["base"])
    with pytest.raises(ConfigError, match="did you mean base"):
        again(recipe, here / "r", only=["bsae"])
    again(recipe, here / "r")
    assert again(recipe, here / "r", "--text.text", "x", "--base.steps", "9", only=["base"]) == ["base"]


def test_force_makes_again_what_is_current(recipe: Path, here: Path, made: Path) -> None:
    before = contents(here / "r")
    assert again(recipe, here / "r", only=["base"], force=True) == ["base"]
    assert contents(here / "r") == before


def test_an_altered_artifact_stops_the_run_and_force_mends_it(recipe: Path, here: Path, made: Path) -> None:
    before = contents(here / "r")
    (here / "r" / "base" / "weights.txt").write_text("else")
    with pytest.raises(Refused, match=r"altered since it was made.*--force"):
        again(recipe, here / "r")
    again(recipe, here / "r", only=["base"], force=True)
    assert again(recipe, here / "r") == [] and contents(here / "r") == before


def test_model_cards_hold_the_scores_once_there_are_some(recipe: Path, here: Path, made: Path) -> None:
    card = here / "r" / "base" / "README.md"
    assert "bits_per_byte" in card.read_text()
    again(recipe, here / "r", only=["base"], force=True)
    assert "bits_per_byte" not in card.read_text()
    assert again(recipe, here / "r") == []
    assert "bits_per_byte" in card.read_text()


def test_plan_writes_nothing_and_agrees_with_the_run(recipe: Path, here: Path) -> None:
    def states(*flags: str) -> dict[str, str]:
        return {
            name: one.state for name, one in plan(load(recipe, flags=parse_flags(flags)), here / "r").items()
        }

    assert set(states().values()) == {"missing"}
    assert not (here / "r").exists()
    again(recipe, here / "r")
    listing = sorted(path for path in here.rglob("*"))
    assert set(states().values()) == {"cached"}
    assert states("--more.steps", "9") == {**dict.fromkeys(ALL, "cached"), "more": "stale", "scores": "stale"}
    assert sorted(path for path in here.rglob("*")) == listing


def test_failure_leaves_what_was_made_and_its_traceback_in_the_log(recipe: Path, here: Path) -> None:
    recipe.write_text(recipe.read_text() + "  broken: {do: fail, corpus: text}\n")
    with pytest.raises(ZeroDivisionError):
        again(recipe, here / "r")
    log = (here / "r" / "log.txt").read_text()
    assert "Traceback" in log and "ZeroDivisionError: by design" in log
    assert Artifact.open(here / "r" / "text", verify=True).kind == "corpus"


def test_a_recipe_of_the_users_own_is_never_overwritten(recipe: Path, here: Path) -> None:
    (here / "r").mkdir()
    (here / "r" / "recipe.yaml").write_text("# mine\n" + recipe.read_text())
    with pytest.raises(Refused, match="that no run wrote"):
        again(recipe, here / "r")
    assert (here / "r" / "recipe.yaml").read_text().startswith("# mine\n")


def test_a_second_process_on_a_run_is_refused(recipe: Path, here: Path) -> None:
    with (
        hold(here / "r" / ".lock", here / "r"),
        pytest.raises(Refused, match=r"another exnihilo \(pid \d+\)"),
    ):
        again(recipe, here / "r")


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < deadline and process.poll() is None, "the stage did not get there"
        time.sleep(0.01)


def test_core_6_killed_in_mid_stage_and_run_again_gives_the_same_content(
    recipe: Path, here: Path, command: Command
) -> None:
    """kill -9, a second process meanwhile, then Ctrl-C, then to the end: as if nothing had been."""
    again(recipe, here / "unbroken", "--more.steps", "30")
    args = ("run", "toys.yaml", "--run", "ça va", "--more.steps", "30", "--more.pause", "0.05")
    saved = here / "ça va" / "more.partial" / "checkpoints" / "state.json"
    first = command(*args)
    wait_for(saved, first)
    second = command(*args)
    _, told = second.communicate(timeout=30)
    assert second.returncode == 3 and f"another exnihilo (pid {first.pid}) is working in" in told
    first.send_signal(signal.SIGKILL)
    assert first.wait(timeout=30) == -signal.SIGKILL
    step = json.loads(saved.read_text())[0]
    assert not (here / "ça va" / "more").exists()
    third = command(*args)
    deadline = time.monotonic() + 20
    while json.loads(saved.read_text())[0] < step + 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    third.send_signal(signal.SIGINT)
    _, told = third.communicate(timeout=30)
    assert third.returncode == 130 and "error: interrupted by SIGINT; run the same command again" in told
    assert "base: cached" in told and "more: continuing at step" in told
    last = command(*args)
    out, told = last.communicate(timeout=60)
    assert last.returncode == 0, told
    assert out == "ça va/report.html\n" and "exnihilo chat 'ça va' --web" in told
    assert contents(here / "ça va") == contents(here / "unbroken")
    steps = [
        json.loads(line)["step"]
        for line in (here / "ça va" / "more" / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == list(range(1, 31))


def test_resume_must_and_never(recipe: Path, here: Path, command: Command) -> None:
    with pytest.raises(Refused, match="no stage is under way"):
        again(recipe, here / "r", resume="must")
    process = command("run", "toys.yaml", "--run", "r", "--base.pause", "0.2")
    wait_for(here / "r" / "base.partial" / "checkpoints" / "state.json", process)
    process.kill()
    process.communicate()
    copy = shutil.copytree(here / "r", here / "copy")
    assert again(recipe, here / "r", resume="must") == ["base", "more", "scores"]
    again(recipe, copy, resume="never")
    assert contents(here / "r") == contents(copy)
    assert (copy / ".replaced").is_dir() and not (here / "r" / ".replaced").exists()

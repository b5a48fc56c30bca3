"""Whole comparisons with real stages: what they report, what they make again, what a kill costs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_comparison import question, write_recipe

from exnihilo.core.artifact import Artifact, read_manifest
from exnihilo.core.errors import Refused
from exnihilo.lab.compare import RESULT, compare
from exnihilo.lab.question import Question
from exnihilo.lab.table import table

Compared = tuple[Question, Path, dict[str, Any]]


def manifests(folder: Path) -> dict[str, dict[str, Any]]:
    """{part/stage: manifest} of everything made."""
    return {
        str(file.parent.relative_to(folder)): read_manifest(file.parent)
        for file in sorted(folder.glob("*/*/manifest.json"))
    }


def entry(found: dict[str, Any], metric: str) -> dict[str, Any]:
    (one,) = [one for one in found["comparisons"] if one["metric"] == metric]
    return dict(one)


def told(found: dict[str, Any]) -> dict[str, Any]:
    """A comparison without its times."""
    text = json.dumps({key: value for key, value in found.items() if key not in ("compute", "command")})
    return dict(json.loads(text))


@pytest.fixture
def copied(compared: Compared, here: Path) -> Path:
    """The finished comparison, with its recipe, in the working directory."""
    shutil.copytree(compared[1].parent, here, dirs_exist_ok=True)
    return here / "lab"


def test_the_values_are_those_of_the_artifacts_and_the_differences_are_paired(compared: Compared) -> None:
    _, folder, found = compared
    assert json.loads((folder / RESULT).read_text(encoding="utf-8")) == found
    assert found["seeds"] == [1, 2] and [arm["name"] for arm in found["arms"]] == ["muon", "adamw"]
    values: dict[str, list[float]] = {}
    for arm in found["arms"]:
        places = [folder / arm["artifacts"][str(seed)]["scores"] for seed in (1, 2)]
        scores = [json.loads((place / "results.json").read_text())["models"]["base"] for place in places]
        values[arm["name"]] = [one["bits_per_byte"]["value"] for one in scores]
        assert values[arm["name"]] == found["values"][arm["name"]]["base.bits_per_byte"]
        last = [read_manifest(folder / arm["artifacts"][str(seed)]["base"])["metrics"] for seed in (1, 2)]
        assert [one["validation_loss"] for one in last] == found["values"][arm["name"]][
            "base.validation_loss"
        ]
    one = entry(found, "base.bits_per_byte")
    differences = [b - a for a, b in zip(values["muon"], values["adamw"], strict=True)]
    assert one["differences"] == pytest.approx(differences)
    assert (one["a"], one["b"], one["better"], one["n"]) == ("muon", "adamw", "less", 2)
    assert one["value"] == pytest.approx(sum(differences) / 2) == pytest.approx(one["items"]["value"])
    assert one["low"] < one["value"] < one["high"] and one["detectable"] > 0
    assert one["items"]["n"] == 7 and one["items"]["low"] < one["items"]["high"]


def test_equal_steps_of_one_model_are_equal_compute(compared: Compared) -> None:
    _, folder, found = compared
    spent = found["compute"]
    assert spent["agreed"] and spent["largest_difference"] == 0 and not spent["adjusted_steps"]
    muon, adamw = (one["flops"] for one in spent["stages"])
    assert muon == adamw and min(muon) > 1e8
    assert not (folder / "probes").exists()


def test_what_the_arms_share_is_made_once(compared: Compared) -> None:
    _, folder, _ = compared
    made = manifests(folder)
    assert len(made) == 4 + 2 * 2 * 2
    assert {name for name, one in made.items() if one["do"] == "tokenize"} == {"shared/tokens"}
    for name, one in made.items():
        Artifact.open(folder / name, verify=True)
        assert one["seed"] == int(name.partition("seed=")[2][:1] or 1)
    assert not list(folder.rglob("*.partial"))


def test_an_arm_is_a_run_that_can_be_run_by_itself(copied: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from exnihilo.cli.main import main

    assert main(["run", str(copied / "name=adamw,seed=2"), "--seed", "2"]) == 0
    assert capfd.readouterr().err.count("cached") == 2


def test_the_table_and_the_page_tell_the_same(compared: Compared) -> None:
    _, folder, found = compared
    lines = table(found)
    assert lines[0] == "tiny: base.optimizer.name: muon, adamw; seeds 1, 2"
    assert lines[1] == "equal training FLOPs: the arms differ by at most 0.0%"
    head, row, *_ = lines[3:]
    cells = re.split(r"\s{2,}", row)
    assert re.split(r"\s{2,}", head)[:4] == ["metric", "muon", "adamw", "difference"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(cell in page for cell in cells)
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=.?(?:https?:)?//", page)
    figures = json.loads(re.findall(r'id="figures">(.*?)</script>', page, re.DOTALL)[0])
    titles = {trace["name"] for figure in figures for trace in figure["data"] if "name" in trace}
    assert {"muon", "adamw"} <= titles


def test_run_again_nothing_is_made_again(copied: Path, compared: Compared) -> None:
    before = manifests(copied)
    found = compare(question("tiny.yaml", "base.optimizer.name=muon,adamw", seeds=2), copied)
    assert manifests(copied) == before
    assert told(found) == told(compared[2])


def test_more_seeds_make_only_what_is_new(copied: Path, compared: Compared) -> None:
    before = manifests(copied)
    found = compare(question("tiny.yaml", "base.optimizer.name=muon,adamw", seeds=3), copied)
    after = manifests(copied)
    assert before.items() <= after.items() and len(after) == len(before) + 4
    old, new = entry(compared[2], "base.bits_per_byte"), entry(found, "base.bits_per_byte")
    assert new["n"] == 3 and new["differences"][:2] == old["differences"]


def test_deeper_arms_take_fewer_steps_for_equal_flops(here: Path) -> None:
    found = compare(question(write_recipe(here), "base.model.depth=1,3", seeds=2), here / "lab")
    spent = found["compute"]
    assert spent["agreed"] and 0 < spent["largest_difference"] <= 0.02
    steps = {one["arm"]: one["steps"] for one in spent["stages"]}
    assert steps["1"] == [60, 60] and spent["adjusted_steps"] == {"3": {"base": steps["3"][0]}}
    assert steps["3"][0] == steps["3"][1] < 40
    assert any(note.startswith("Steps of 3 for equal training FLOPs") for note in found["notes"])
    probes = manifests(here / "lab" / "probes")
    assert {name: one["metrics"]["steps"] for name, one in probes.items()} == {
        "depth=1,seed=1/base": 8,
        "depth=3,seed=1/base": 8,
    }


def test_equal_time_sets_steps_by_the_seconds_of_a_probe(here: Path) -> None:
    """A step through 8 blocks takes longer than one through a single one, however busy the machine is."""
    asked = question(
        write_recipe(here),
        "base.model.depth=1,8",
        seeds=1,
        equal="time",
        metrics=["seconds", "bits_per_byte"],
    )
    found = compare(asked, here / "lab")
    spent = found["compute"]
    assert spent["equal"] == "time" and spent["adjusted_steps"]["8"]["base"] < 50
    assert [one["metric"] for one in found["comparisons"]] == ["base.bits_per_byte", "base.seconds"]
    deep = read_manifest(here / "lab" / "depth=8,seed=1" / "base")["metrics"]
    assert deep["steps"] == spent["adjusted_steps"]["8"]["base"]


def test_other_tokenizers_and_one_seed_are_told(here: Path) -> None:
    asked = question(write_recipe(here), "tokenizer.vocabulary=280,300", seeds=1)
    found = compare(asked, here / "lab")
    assert [one["metric"] for one in found["comparisons"]] == [
        "base.bits_per_byte",
        "base.validation_bits_per_byte",
    ]
    assert {one["verdict"] for one in found["comparisons"]} == {"unknown"}
    assert found["notes"][0].startswith("One seed: no interval is possible")
    assert any("different tokenizers" in note for note in found["notes"])
    assert found["compute"]["agreed"]
    assert all(line for line in table(found)[3:5])


def test_arms_measured_on_other_text_are_told(here: Path) -> None:
    asked = question(
        write_recipe(here), "corpus.held_out=0.2,0.4", seeds=1, equal="steps", metrics=["bits_per_byte"]
    )
    found = compare(asked, here / "lab")
    assert any("were measured on different held-out items or text" in note for note in found["notes"])
    assert [one["metric"] for one in found["comparisons"]] == ["base.bits_per_byte"]


def test_a_folder_of_something_else_is_refused(copied: Path) -> None:
    before = manifests(copied)
    with pytest.raises(
        Refused, match=r"holds a comparison of base.optimizer.name in tiny; give another folder"
    ):
        compare(question("tiny.yaml", "base.clip=1,null"), copied)
    with pytest.raises(Refused, match=r"holds a recipe.yaml and is no comparison"):
        compare(question("tiny.yaml", "base.clip=1,null"), copied / "shared")
    assert manifests(copied) == before


def test_core_12_killed_at_any_arm_it_goes_on_and_ends_the_same(here: Path, compared: Compared) -> None:
    write_recipe(here)
    command = [
        *(sys.executable, "-m", "exnihilo", "lab", "compare", "tiny.yaml", "--run", "lab", "--json"),
        *("--vary", "base.optimizer.name=muon,adamw", "--seeds", "2"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    under_way = here / "lab" / "name=adamw,seed=1" / "base.partial" / "checkpoints"
    while not list(under_way.glob("step-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    assert not (here / "lab" / RESULT).exists() and (here / "lab" / "name=muon,seed=1" / "scores").exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "continuing" in done.stderr
    assert told(json.loads(done.stdout)) == told(compared[2])
    contents = {name: one["content"] for name, one in manifests(here / "lab").items()}
    assert contents == {name: one["content"] for name, one in manifests(compared[1]).items()}

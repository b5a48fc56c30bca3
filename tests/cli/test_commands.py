"""The commands, on real stages with little text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from exnihilo.cli.options import read_keys
from exnihilo.core.artifact import Artifact
from exnihilo.core.config import read_yaml
from exnihilo.core.errors import ConfigError

Call = Callable[..., tuple[int, str, str]]
RECIPE = "stages: {text: {do: gather}, pieces: {do: cut, corpus: text}, base: {do: grow, tokens: pieces}}\n"


@pytest.fixture
def texts(here: Path) -> Path:
    folder = here / "mes textes"
    folder.mkdir()
    for number in range(40):
        (folder / f"poème {number}.txt").write_text(
            f"Poème numéro {number}. " + f"Un vers à lire, {number} fois. " * 8
        )
    return folder


def test_core_6_stages_by_themselves_from_text_to_tokens(call: Call, texts: Path, here: Path) -> None:
    def made(*args: object) -> Path:
        code, out, err = call(*args)
        assert code == 0, err
        assert out.count("\n") == 1
        return Path(out.rstrip("\n"))

    corpus = made("collect", "--from.path", "mes textes", "--out", "sortie é/brut")
    assert corpus == Path("sortie é/brut")
    # `near_duplicate null`: these poems are all alike.
    curated = made("curate", "--corpus", corpus, "--held_out", "0.2", "--near_duplicate", "null")
    assert curated == Path("runs/curate")
    tokenizer = made("tokenizer", "train", "--corpus", curated, "--vocabulary", "300")
    tokens = made(
        "tokenize", "--corpus", curated, "--tokenizer", tokenizer, "--out", "sortie é/tokens", "--seed", "4"
    )
    manifest = Artifact.open(tokens, kind="tokens", verify=True).manifest
    assert manifest["seed"] == 4 and {one["name"] for one in manifest["inputs"]} == {"curate", "tokenizer"}
    code, out, err = call(
        "curate", "--corpus", corpus, "--held_out", "0.2", "--near_duplicate", "null", "--json"
    )
    assert code == 0 and "curate: cached" in err
    assert json.loads(out)["state"] == "cached" and json.loads(out)["path"] == "runs/curate"
    code, out, _ = call("lineage", tokens)
    assert code == 0 and out.splitlines()[0].startswith("tokenize (tokens, tokenize) ")
    assert "collect (corpus, collect)" in out
    code, out, _ = call("tokenizer", "stats", tokenizer, "--text", "mes textes")
    assert code == 0 and "bytes per token" in out
    code, out, _ = call("tokenizer", "stats", tokenizer, "--text", "mes textes", "--json")
    assert json.loads(out)["texts"] == 40
    code, _, err = call("tokenize", "--corpus", tokenizer, "--tokenizer", tokenizer)
    assert code == 2 and "wants kind corpus, and" in err and "is of kind tokenizer" in err


def test_config_files_flags_and_print_config_make_one_config(call: Call, here: Path) -> None:
    (here / "tokens").mkdir()
    (here / "sub").mkdir()
    (here / "sub" / "one.yaml").write_text(
        "tokens: ../tokens\nsteps: 5\nmodel: {depth: 2}\noptimizer: {lr: 1e-3, name: adamw}\n"
    )
    (here / "two.yaml").write_text("steps: 6\n")
    args = ("pretrain", "-c", "sub/one.yaml", "-c", "two.yaml", "--optimizer.lr", "2e-3", "--print-config")
    code, out, _ = call(*args)
    assert code == 0
    (here / "whole.yaml").write_text(out)
    whole = read_yaml("whole.yaml")
    assert (whole["steps"], whole["optimizer"]["lr"], whole["optimizer"]["name"]) == (6, 0.002, "adamw")
    assert whole["tokens"] == "./tokens" and whole["schedule"]["kind"] == "linear"
    assert call("pretrain", "-c", "whole.yaml", "--print-config")[1] == out
    code, out, _ = call(*args, "--json")
    assert json.loads(out) == whole
    assert not (here / "runs").exists()


def test_dry_run_of_a_stage_writes_nothing(call: Call, texts: Path, here: Path) -> None:
    before = sorted(here.rglob("*"))
    code, out, err = call("collect", "--from.path", "mes textes", "--dry-run")
    assert (code, out, err) == (0, "runs/collect: missing\n", "")
    code, out, _ = call("collect", "--from.path", "mes textes", "--dry-run", "--json")
    assert json.loads(out)["state"] == "missing"
    assert sorted(here.rglob("*")) == before


def test_run_in_all_its_ways(call: Call, toys: None, here: Path) -> None:
    (here / "r.yaml").write_text(RECIPE)
    code, out, err = call("run", "r.yaml", "--dry-run", "--base.pause", "1", "--base.steps", "2k")
    assert (code, err) == (
        0,
        "",
    ) and out == "text: missing\npieces: missing\nbase: missing\n    about 2000 s\n"
    code, out, err = call("run", "r.yaml", "--print-config", "--base.steps", "2k", "--seed", "7")
    (here / "whole.yaml").write_text(out)
    assert (code, err) == (0, "") and read_yaml("whole.yaml")["stages"]["base"]["steps"] == 2000
    assert call("run", "whole.yaml", "--print-config")[1] == out
    assert json.loads(call("run", "whole.yaml", "--print-config", "--json")[1]) == read_yaml("whole.yaml")
    assert sorted(path.name for path in here.iterdir()) == ["r.yaml", "whole.yaml"]
    code, out, err = call("run", "r.yaml", "--base.steps", "2", "--json")
    told = json.loads(out)
    assert code == 0 and told["run"] == "runs/r" and (here / told["report"]).is_file()
    assert told["stages"]["base"]["state"] == "missing" and told["stages"]["base"]["kind"] == "model"
    code, out, err = call("run", "runs/r", "--dry-run", "--base.optim.lr", "0.2", "--json")
    assert json.loads(out)["stages"]["base"]["reasons"] == ["optim.lr 0.1 -> 0.2"]
    assert json.loads(out)["stages"]["text"]["state"] == "cached"
    code, out, err = call("run", "runs/r", "--only", "base", "--force")
    assert code == 0 and out == "runs/r/report.html\n" and "base: stale because --force is given" in err
    code, out, _ = call("clean", "runs/r")
    assert code == 0 and out.startswith("removed base-1\n") and out.endswith(" MiB freed\n")
    assert call("clean", "runs/r") == (0, "nothing to remove\n", "")
    code, out, _ = call("report", "runs/r")
    assert (code, out) == (0, "runs/r/report.html\n")
    assert json.loads(call("report", "runs/r", "--json")[1]) == {"stages": {}}
    code, _, err = call("report", "runs/none")
    assert code == 3 and err.startswith("error: runs/none: ")


def test_a_stage_may_be_called_like_an_option(call: Call, toys: None, here: Path) -> None:
    (here / "r.yaml").write_text("stages: {run: {do: gather}, seed: {do: cut, corpus: run}}")
    code, out, err = call(
        "run", "r.yaml", "--run.text", "x", "--seed.length", "2", "--seed", "5", "--print-config"
    )
    assert code == 0, err
    (here / "out.yaml").write_text(out)
    whole = read_yaml("out.yaml")
    assert (whole["seed"], whole["stages"]["run"]["text"], whole["stages"]["seed"]["length"]) == (5, "x", 2)


def test_data_check_lists_bad_rows_and_exits_3(call: Call, here: Path) -> None:
    good = {"messages": [{"role": "user", "content": "Où?"}, {"role": "assistant", "content": "Ici."}]}
    file = here / "mes données.jsonl"
    file.write_text(json.dumps(good) + "\n", encoding="utf-8")
    code, out, _ = call("data", "check", file.name)
    assert code == 0 and "[[Ici." in out
    file.write_text(
        json.dumps(good) + "\n" + json.dumps({"messages": [{"role": "bot", "content": ""}]}) + "\n"
    )
    code, out, _ = call("data", "check", file.name, "--json")
    assert code == 3 and json.loads(out)["rows"] == 2 and [2] in json.loads(out)["problems"].values()


def test_doctor_says_what_it_looked_at(call: Call) -> None:
    code, out, _ = call("doctor", "--json")
    checks = {one["name"]: one for one in json.loads(out)}
    assert {"versions", "cores", "memory", "multiply on cpu", "disk", "chat template"} <= checks.keys()
    assert checks["chat template"]["ok"] is True
    assert code == (1 if any(one["ok"] is False for one in checks.values()) else 0)


def test_core_1_options_that_are_nearly_ours_are_not_taken_for_keys() -> None:
    assert read_keys(["--base.steps", "3"]) == {"base": {"steps": "3"}}
    for word, option in {
        "--sede": "--seed",
        "--dryrun": "--dry-run",
        "--forse": "--force",
        "--jsn": "--json",
    }.items():
        with pytest.raises(ConfigError, match=f"did you mean {option}"):
            read_keys([word])
        with pytest.raises(ConfigError, match=f"did you mean {option}"):
            read_keys([word], ["steps", "rows"])
    assert read_keys(["--rows", "3"], ["steps", "rows"]) == {"rows": "3"}

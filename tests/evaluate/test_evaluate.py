"""The stage as a whole, through `core.build`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from exnihilo.core.build import build
from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.seeds import derive
from exnihilo.evaluate.evaluate import STAGE, Evaluate
from exnihilo.evaluate.items import best_of_items, read_items
from exnihilo.infer.generate import Generation, generate
from exnihilo.infer.sampling import Sampling, of_tokenizer
from exnihilo.model.folder import load_model
from exnihilo.model.scorer import Scorer
from exnihilo.model.scorer_folder import Scale, save_scorer
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer
from random_decoder import random_decoder

SOURCE = Path(__file__).parents[2] / "src"


def config(**keys: Any) -> Evaluate:
    return validate(Evaluate, {"models": ["first", "second"], "max_new": 6, **keys}, where="scores")


def evaluate(
    out: Path, folders: dict[str, Path], examples: Path | None, corpus: Path | None, **keys: Any
) -> Any:
    inputs: dict[str, Any] = {"models": folders}
    inputs |= {"items": examples} if examples else {}
    inputs |= {"corpus": corpus} if corpus else {}
    names = {name: name for name in ("items", "corpus") if name in inputs}
    return build(STAGE, config(**names, **keys), inputs, out, seed=1)


def test_the_stage_writes_every_score_with_n_and_interval(
    tmp_path: Path, folders: dict[str, Path], examples: Path, corpus: Path
) -> None:
    artifact = evaluate(tmp_path / "scores", folders, examples, corpus, trained=["sum"])
    results = json.loads((artifact.path / "results.json").read_text(encoding="utf-8"))
    assert list(results["models"]) == ["first", "second"]
    wanted = {"bits_per_byte", "bits_per_byte/code", "bits_per_byte/prose", "loss", "perplexity"}
    wanted |= {"accuracy", "accuracy/trained", "accuracy_items", "ended"}
    entries = [*results["majority"].values(), *results["paired"]]
    for name in folders:
        assert set(results["models"][name]) == wanted
        assert set(results["families"][name]) == {"other", "sum"}
        entries += [*results["models"][name].values(), *results["families"][name].values()]
        items = (artifact.path / "items" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["id"] for line in items][:3] == ["other-0", "sum-1", "other-2"]
        assert len(items) == 24
        texts = (artifact.path / "documents" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["id"] for line in texts] == [f"d{i}" for i in range(7)]
    for entry in entries:
        assert {"value", "n", "low", "high"} <= set(entry)
        assert entry["low"] <= entry["value"] <= entry["high"] and entry["n"] >= 1
    assert results["majority"]["other"]["answer"] == "None"
    assert {(entry["a"], entry["b"]) for entry in results["paired"]} == {("second", "first")}
    assert not (artifact.path / "checkpoints").exists()
    assert (
        artifact.manifest["metrics"]["first"]["accuracy"] == results["models"]["first"]["accuracy"]["value"]
    )
    assert any(line.startswith("second") and "%" in line for line in artifact.manifest["lines"])


def test_text_alone_and_items_alone(
    tmp_path: Path, folders: dict[str, Path], examples: Path, corpus: Path
) -> None:
    text = evaluate(tmp_path / "text", folders, None, corpus)
    results = json.loads((text.path / "results.json").read_text(encoding="utf-8"))
    assert results["families"] == {} and "accuracy" not in results["models"]["first"]
    assert [entry["what"] for entry in results["paired"]] == ["bits_per_byte"]
    items = evaluate(
        tmp_path / "items", {"first": folders["first"]}, examples, None, limit=5, models=["first"]
    )
    results = json.loads((items.path / "results.json").read_text(encoding="utf-8"))
    assert "bits_per_byte" not in results["models"]["first"] and results["paired"] == []
    assert results["models"]["first"]["accuracy_items"]["n"] == 5


def test_what_cannot_be_evaluated_is_refused_before_any_work(
    tmp_path: Path, folders: dict[str, Path], examples: Path
) -> None:
    with pytest.raises(ConfigError, match="give items"):
        config()
    with pytest.raises(ConfigError, match="give items too"):
        config(corpus="corpus", trained=["sum"])
    with pytest.raises(ConfigError, match="models"):
        config(items="items", models=[])
    with pytest.raises(ConfigError, match="'third' is not among the models; the models are first, second"):
        evaluate(tmp_path / "a", folders, examples, None, pairs=[["third", "first"]])
    with pytest.raises(ConfigError, match="no item is of family 'sums'; the families are other, sum"):
        evaluate(tmp_path / "b", folders, examples, None, trained=["sums"])
    assert not list(tmp_path.glob("*/checkpoints/*/*"))


def test_only_the_pairs_asked_for_are_compared(
    tmp_path: Path, folders: dict[str, Path], examples: Path
) -> None:
    artifact = evaluate(tmp_path / "scores", folders, examples, None, pairs=[["first", "second"]], limit=6)
    results = json.loads((artifact.path / "results.json").read_text(encoding="utf-8"))
    assert {(entry["a"], entry["b"]) for entry in results["paired"]} == {("first", "second")}


def test_the_best_of_n_is_what_the_reward_model_likes_best_and_stands_beside_its_model(
    tmp_path: Path, folders: dict[str, Path], examples: Path, corpus: Path, tokenizer: Tokenizer
) -> None:
    judge = Scorer(random_decoder(tokenizer.vocab_size, seed=7, max_length=48)).eval()
    save_scorer(judge, tokenizer, Scale.plain(("reward",)), tmp_path / "reward")
    given = config(
        items="items", corpus="corpus", reward="reward", best_of=3, best_of_model="first",
        pairs=[["second", "first"], ["first-best-of-3", "first"], ["second", "first-best-of-3"]],
    )  # fmt: skip
    inputs = {"models": folders, "items": examples, "corpus": corpus, "reward": tmp_path / "reward"}
    made = build(STAGE, given, inputs, tmp_path / "scores", seed=1)
    results = json.loads((made.path / "results.json").read_text(encoding="utf-8"))
    assert list(results["models"]) == ["first", "first-best-of-3", "second"]
    assert "bits_per_byte" not in results["models"]["first-best-of-3"]
    compared = {(one["a"], one["b"]) for one in results["paired"] if one["what"] == "win_rate"}
    assert compared == {("second", "first"), ("first-best-of-3", "first"), ("second", "first-best-of-3")}

    assert len((made.path / "items" / "first-best-of-3.jsonl").read_text().splitlines()) == 24

    renderer, model, items = (
        Renderer(tokenizer),
        load_model(folders["first"]).eval(),
        read_items(examples)[:6],
    )
    found = best_of_items(
        model, tokenizer, items, tmp_path / "reward", samples=3, temperature=1.0, batch=4, max_new=6, seed=1
    )
    for item, record in zip(items, found, strict=True):
        prompt = renderer.prompt(item.messages)
        seeds = [derive(1, "best of", item.id, str(n)) for n in range(3)]
        drawn = generate(
            model, [prompt] * 3, Sampling(temperature=1.0, max_new=6), seeds=seeds, **of_tokenizer(tokenizer)
        )

        def worth(one: Generation, prompt: list[int] = prompt) -> tuple[bool, float]:
            with torch.no_grad():
                return one.finish == "stop", float(judge(torch.tensor([prompt + one.ids]))[0, -1, 0])

        assert (record["id"], record["output"]) == (item.id, tokenizer.decode(max(drawn, key=worth).ids))


def test_what_can_not_pick_the_best_is_refused(
    tmp_path: Path, folders: dict[str, Path], examples: Path
) -> None:
    with pytest.raises(ConfigError, match="best_of_model: 'third' is not among the models"):
        config(items="items", reward="reward", best_of_model="third")
    with pytest.raises(ConfigError, match="reward picks among answers to items; give items too"):
        config(corpus="corpus", reward="reward")
    other = train_tokenizer(["some other text " * 20], 280)
    save_scorer(
        Scorer(random_decoder(other.vocab_size)), other, Scale.plain(("reward",)), tmp_path / "reward"
    )
    inputs = {"models": folders, "items": examples, "reward": tmp_path / "reward"}
    with pytest.raises(Refused, match="ids of another tokenizer than the model's"):
        build(STAGE, config(items="items", reward="reward"), inputs, tmp_path / "scores", seed=1)


KILLED = """
import sys, time
from pathlib import Path
from exnihilo.core.build import build
from exnihilo.core.config import validate
from exnihilo.evaluate import evaluate as stage

ask = stage._answered

def slow(config, folder, *how, **asked):
    if folder.name == second.name:
        time.sleep(600)
    return ask(config, folder, *how, **asked)

stage._answered = slow
out, first, second, examples = map(Path, sys.argv[1:])
keys = {"models": ["first", "second"], "max_new": 6, "items": "items"}
config = validate(stage.Evaluate, keys, where="scores")
build(stage.STAGE, config, {"models": {"first": first, "second": second}, "items": examples}, out, seed=1)
"""


def test_killed_between_two_models_it_goes_on_and_gives_the_same(
    tmp_path: Path, folders: dict[str, Path], examples: Path
) -> None:
    """kill -9 while the second model answers: the first is not asked again, and the content is the same."""
    whole = evaluate(tmp_path / "whole", folders, examples, None)
    out = tmp_path / "scores"
    paths = [str(path) for path in (out, folders["first"], folders["second"], examples)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *paths], env=environment, stderr=subprocess.PIPE
    )
    kept = tmp_path / "scores.partial" / "checkpoints" / "items" / "first.jsonl"
    deadline = time.monotonic() + 300
    while not kept.is_file() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert kept.is_file(), errors.decode()
    assert not out.exists()
    # A line of its own in what was kept shows that it is read, not made again.
    lines = kept.read_text(encoding="utf-8").splitlines()
    marked = json.loads(lines[0]) | {"output": "kept"}
    kept.write_text("\n".join([json.dumps(marked), *lines[1:]]) + "\n", encoding="utf-8")
    again = evaluate(out, folders, examples, None)
    written = (out / "items" / "first.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(written[0])["output"] == "kept"
    assert written[1:] == (tmp_path / "whole/items/first.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    same = ("results.json", "items/second.jsonl")
    assert all(again.manifest["files"][name] == whole.manifest["files"][name] for name in same)


def test_importing_the_stage_does_not_import_torch() -> None:
    code = "import sys, exnihilo.evaluate.evaluate; print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "False"

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_runs import CountingRows, tiny_decoder, workspace_at

from exnihilo.core.errors import Refused
from exnihilo.objectives.causal import causal
from exnihilo.train.checkpoint import (
    complete,
    discard_after,
    load_checkpoint,
    prune,
    resume_from,
    save_checkpoint,
)
from exnihilo.train.config import FitConfig, OptimizerConfig
from exnihilo.train.fit import FitResult, fit


def save(folder: Path, step: int, value: float = 1.0, **state: Any) -> Path:
    tensors = {"a": torch.full((3, 2), value), "b": torch.tensor(value)}
    return save_checkpoint(folder, step, tensors, {"adamw/step/a": torch.tensor(value)}, state)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_round_trip_and_nothing_left_beside(tmp_path: Path) -> None:
    path = save(tmp_path, 1000, 0.1, source={"seed": 3}, average=[0.1, 1 / 3])
    assert names(tmp_path) == ["step-00001000"]
    found = load_checkpoint(path)
    assert found.step == 1000
    assert found.state["source"] == {"seed": 3} and found.state["average"] == [0.1, 1 / 3]
    assert torch.equal(found.parameters["a"], torch.full((3, 2), 0.1)) and found.parameters["b"].ndim == 0
    assert found.optimizer.keys() == {"adamw/step/a"}
    save_checkpoint(
        tmp_path, 1, {"a": torch.ones(1)}, {}, {}
    )  # before the first step an optimizer has no state
    assert load_checkpoint(tmp_path / "step-00000001").optimizer == {}
    assert not list(tmp_path.rglob("*.pt")) and not list(tmp_path.rglob("*.pkl"))


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_train_6_latest_skips_altered_missing_and_partial_checkpoints(tmp_path: Path, file: str) -> None:
    save(tmp_path, 10)
    broken = save(tmp_path, 20)
    data = bytearray((broken / file).read_bytes())
    data[len(data) // 2] ^= 1
    (broken / file).write_bytes(bytes(data))
    (save(tmp_path, 30) / file).unlink()
    (tmp_path / ".step-00000040.123.tmp").mkdir()
    (tmp_path / "step-00000050.tmp").mkdir()
    assert [path.name for path in complete(tmp_path)] == ["step-00000030", "step-00000020", "step-00000010"]
    found, remarks = resume_from(tmp_path, "auto")
    assert found is not None and found.step == 10
    assert len(remarks) == 2 and all("step-000000" in remark for remark in remarks)
    with pytest.raises(Refused, match=r"state\.json|safetensors"):
        resume_from(tmp_path, str(broken))


def test_train_6_retention_keeps_the_last_and_the_best(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40, 50):
        save(tmp_path, step)
    prune(tmp_path, 2, 20, None)
    assert names(tmp_path) == ["step-00000020", "step-00000040", "step-00000050"]
    prune(tmp_path, 1, None)
    assert names(tmp_path) == ["step-00000050"]


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    save(tmp_path, 10, 1.0)
    save(tmp_path, 10, 2.0)
    assert load_checkpoint(tmp_path / "step-00000010").parameters["b"].item() == 2.0
    assert names(tmp_path) == ["step-00000010"]


def test_train_5_resume_modes(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    assert resume_from(folder, "auto") == (None, [])
    with pytest.raises(Refused, match="no checkpoint to resume from; use --resume auto"):
        resume_from(folder, "must")
    with pytest.raises(Refused, match="no checkpoint"):
        resume_from(folder, str(tmp_path / "elsewhere"))
    first = save(folder, 10)
    save(folder, 20)
    for mode, step in (("auto", 20), ("must", 20), (str(first), 10), (str(folder), 20)):
        found, _ = resume_from(folder, mode)
        assert found is not None and found.step == step, mode
    assert resume_from(folder, "never") == (None, [])
    assert names(folder) == ["step-00000010", "step-00000020"]  # choosing removes nothing
    discard_after(folder, 10)
    assert names(folder) == ["step-00000010"]


# --- the same cases through fit ---


def run(
    folder: Path, resume: str = "auto", *, model: Any = None, source: Any = None, **config: Any
) -> FitResult:
    settings = {"steps": 6, "checkpoint_every": 2, "keep": 9, "log_every": 1, **config}
    return fit(
        tiny_decoder() if model is None else model,
        causal,
        source or CountingRows(),
        FitConfig.model_validate(settings),
        workspace_at(folder, resume),
    )


def message(folder: Path) -> str:
    path = folder / "events.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return next((str(e["message"]) for e in reversed(events) if e["event"] == "resumed"), "")


def test_train_5_resume_says_in_one_sentence_what_it_decided(tmp_path: Path) -> None:
    run(tmp_path)
    assert message(tmp_path) == ""
    run(tmp_path)
    assert message(tmp_path) == "continuing at step 6 of 6 (config unchanged)"
    run(tmp_path, steps=8, log_every=2)
    assert message(tmp_path) == "continuing at step 6 of 8 (changed: steps 6 -> 8; log_every 1 -> 2)"
    run(tmp_path, "never")
    assert names(tmp_path / "stage.partial/checkpoints") == [
        "step-00000000",
        "step-00000002",
        "step-00000004",
        "step-00000006",
    ]


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"model": {"width": 24}}, "another shape of model"),
        ({"model": {"depth": 3}}, "another shape of model"),
        ({"source": {"seed": 9}}, "data differ"),
        ({"source": {"rows": 5}}, "data differ"),
        ({"optimizer": OptimizerConfig(name="adamw")}, "optimizer.name"),
        ({"steps": 3}, "4 steps are done, and 3 are asked for"),
    ],
)
def test_train_5_what_alters_shapes_data_or_optimizer_is_refused(
    tmp_path: Path, changed: dict[str, Any], complaint: str
) -> None:
    run(tmp_path)
    folder = tmp_path / "stage.partial/checkpoints"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    arguments = {"model": lambda more: tiny_decoder(**more), "source": lambda more: CountingRows(**more)}
    built = {key: arguments.get(key, lambda value: value)(value) for key, value in changed.items()}
    with pytest.raises(Refused, match=complaint):
        run(tmp_path, str(folder / "step-00000004"), **built)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_train_5_an_explicit_checkpoint_of_another_run_is_gone_on_from(tmp_path: Path) -> None:
    """The next "auto" goes on from there as well, and lines of training do not mix."""
    straight, other = tmp_path / "straight", tmp_path / "other"
    model = tiny_decoder()
    run(straight, model=model)
    run(other, source=CountingRows(), model=tiny_decoder(seed=3))
    copy = tiny_decoder(seed=4)
    result = run(other, str(straight / "stage.partial/checkpoints/step-00000004"), model=copy)
    for a, b in zip(model.parameters(), copy.parameters(), strict=True):
        assert torch.equal(a, b)
    lines = [json.loads(line) for line in (other / "stage.partial/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert result.counters.tokens == 6 * 48
    found, _ = resume_from(other / "stage.partial/checkpoints", "auto")
    assert found is not None and found.state["counters"]["tokens"] == 6 * 48


def test_checkpoint_holds_no_pickle_and_loads_with_safetensors_alone(tmp_path: Path) -> None:
    run(tmp_path, steps=2)
    path = tmp_path / "stage.partial/checkpoints/step-00000002"
    assert names(path) == ["model.safetensors", "optimizer.safetensors", "state.json"]
    optimizer = load_file(path / "optimizer.safetensors")
    assert any(key.startswith("muon/momentum_buffer/blocks.0.") for key in optimizer)
    assert "adamw/exp_avg_sq/embedding.weight" in optimizer
    save_file(optimizer, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").stat().st_size == (path / "optimizer.safetensors").stat().st_size

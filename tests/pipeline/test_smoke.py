"""The whole path, end to end, as a user runs it: real processes, no network, kills at every stage."""

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

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from exnihilo.core.artifact import Artifact, read_manifest
from exnihilo.model.folder import load_model
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer

STAGES = [
    "library",
    "corpus",
    "tokenizer",
    "tokens",
    "questions",
    "base",
    "sft",
    "longer",
    "aligned",
    "scores",
]
TRAINED = {"base", "sft", "longer", "aligned"}


def command(run: Path) -> list[str]:
    return [sys.executable, "-m", "exnihilo", "run", "smoke", "--run", str(run)]


def environment() -> dict[str, str]:
    # One thread: two pytest workers or a busy machine must not change how sums are split.
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def network_cut() -> list[str]:
    """A prefix that runs a command in a network namespace without any interface, where that is allowed."""
    prefix = ["unshare", "-rn"]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        return []
    return prefix


def contents(run: Path) -> dict[str, str]:
    return {stage: read_manifest(run / stage)["content"] for stage in STAGES}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A space and a letter outside ASCII, since users have them too (core-6).
    run = tmp_path_factory.mktemp("Läufe mit Raum") / "smoke"
    done = subprocess.run(
        [*network_cut(), *command(run)], env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return run


def test_core_6_core_15_every_stage_and_the_report_without_a_network(unbroken: Path) -> None:
    for stage in STAGES:
        Artifact.open(unbroken / stage, verify=True)
        assert not (unbroken / f"{stage}.partial").exists()
    page = (unbroken / "report.html").read_text(encoding="utf-8")
    assert "aligned" in page
    loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=.?(?:https?:)?//", page)
    assert not loaded, "the report asks for something from outside"
    table = subprocess.run(
        [sys.executable, "-m", "exnihilo", "report", str(unbroken), "--json"],
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    stages = json.loads(table.stdout)["stages"]
    for stage in TRAINED:
        for metric in ("accuracy", "bits_per_byte"):
            assert set(stages[stage][metric]) >= {"value", "n", "low", "high"}
            assert (
                stages[stage][metric]["low"]
                <= stages[stage][metric]["value"]
                <= stages[stage][metric]["high"]
            )


def test_core_11_a_second_run_makes_nothing_again(unbroken: Path) -> None:
    before = contents(unbroken)
    done = subprocess.run(command(unbroken), env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr.count("cached") >= len(STAGES)
    assert contents(unbroken) == before and not (unbroken / ".replaced").exists()


def test_training_learns_and_alignment_moves_the_policy(unbroken: Path) -> None:
    losses = [json.loads(line) for line in (unbroken / "base" / "metrics.jsonl").read_text().splitlines()]
    validations = [line["validation_loss"] for line in losses if "validation_loss" in line]
    assert validations[-1] < validations[0] - 0.3
    rollouts = [
        json.loads(line) for line in (unbroken / "aligned" / "metrics.jsonl").read_text().splitlines()
    ]
    assert any(0 < line.get("reward", 0) < 1 for line in rollouts)
    before, after = load_model(unbroken / "sft"), load_model(unbroken / "aligned")
    assert any(not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


def test_export_1_the_final_model_loads_with_transformers(unbroken: Path) -> None:
    folder = unbroken / "aligned"
    theirs = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ours = Tokenizer.load(folder)
    messages = [{"role": "user", "content": "What is the type of `[1, 2]`?"}]
    ids = Renderer(ours).prompt(messages)
    assert ids == tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    with torch.no_grad():
        tokens = torch.tensor([ids])
        assert (theirs(tokens).logits - load_model(folder)(tokens)).abs().max() < 1e-4
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "front" not in config and (folder / "README.md").read_text().startswith("---\n")


def test_train_4_core_12_killed_in_every_stage_it_ends_with_the_same_hashes(
    unbroken: Path, tmp_path: Path
) -> None:
    run = tmp_path / "killed"
    for stage in STAGES:
        process = subprocess.Popen(
            command(run), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 120
        while not _under_way(run, stage) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        assert process.poll() is None or (run / stage).exists(), f"{stage} ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command(run), env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert contents(run) == contents(unbroken)
    for stage in TRAINED:
        steps = [
            line["step"]
            for line in map(json.loads, (run / stage / "metrics.jsonl").read_text().splitlines())
            if "loss" in line
        ]
        assert steps == sorted(set(steps)), f"{stage}: steps repeated or out of order after the resume"


def _under_way(run: Path, stage: str) -> bool:
    """Whether a stage is where a kill hurts: begun, and for training past its first checkpoint."""
    partial = run / f"{stage}.partial"
    if stage in TRAINED:
        return any(partial.glob("checkpoints/step-*"))
    return partial.is_dir()


def test_train_6_sigterm_saves_a_checkpoint_and_the_next_run_continues(
    unbroken: Path, tmp_path: Path
) -> None:
    run = tmp_path / "stopped"
    process = subprocess.Popen(command(run), env=environment(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not _under_way(run, "base") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors[-2000:]
    assert any((run / "base.partial").glob("checkpoints/step-*")) and not (run / "base").exists()
    done = subprocess.run(command(run), env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "continuing" in done.stderr
    assert contents(run) == contents(unbroken)

"""`kill -9` in the middle of PPO: the run that goes on ends with the hash of one that nobody disturbed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from exnihilo.core.artifact import read_manifest
from exnihilo.core.jsonl import write_jsonl
from exnihilo.model.folder import save_model
from exnihilo.tokenizer.bpe import train_tokenizer
from random_rollouts import items, make_model

SETTINGS = {
    "steps": 16, "prompts": 8, "max_new": 6, "length": 48, "epochs": 2, "parts": 2, "checkpoint_every": 3,
    "target_kl": 0.01, "horizon": 50, "optimizer.lr": 0.02, "log_every": 1,
}  # fmt: skip


def command(folder: Path, out: Path) -> list[str]:
    flags = [word for key, value in SETTINGS.items() for word in (f"--{key}", str(value))]
    places = ["--model", str(folder / "model"), "--examples", str(folder / "examples"), "--out", str(out)]
    return [sys.executable, "-m", "exnihilo", "ppo", *places, *flags]


def steps_of(out: Path) -> int:
    file = out.with_name(out.name + ".partial") / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def test_ppo_killed_between_two_steps_of_a_rollout_ends_with_the_same_hash(tmp_path: Path) -> None:
    """Checkpoints are at steps 3, 6, 9 …, and a rollout is four steps: after each kill the run goes on in the middle
    of a rollout that the policy as it is now would not sample again."""
    tokenizer = train_tokenizer(["What is one plus one? It is two. Yes. No. " * 4], 280)
    tokenizer.save(tmp_path / "tokenizer")
    save_model(make_model(tokenizer), tmp_path / "tokenizer", tmp_path / "model")
    write_jsonl(tmp_path / "examples" / "prompts.jsonl", items(20))
    straight, broken = tmp_path / "runs" / "straight", tmp_path / "runs" / "broken"
    subprocess.run(command(tmp_path, straight), check=True, capture_output=True)
    for at in (5, 11):
        process = subprocess.Popen(command(tmp_path, broken), stderr=subprocess.PIPE)
        until = time.monotonic() + 60
        while steps_of(broken) < at and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done = subprocess.run(command(tmp_path, broken), check=True, capture_output=True, text=True)
    assert "continuing at step" in done.stderr
    assert read_manifest(broken)["content"] == read_manifest(straight)["content"]

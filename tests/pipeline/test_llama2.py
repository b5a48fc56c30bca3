"""The recipe `llama2` as a user runs it, as small as it can be: two reward models, two rounds, PPO, and the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exnihilo.cli.main import main
from exnihilo.core.jsonl import read_jsonl
from small_world import SMALL_WORLD

SMALL = f"""{SMALL_WORLD}
--helpful-pairs.families truth,valid --helpful-pairs.samples 6 --helpful-pairs.max_new 12 --helpful.steps 3
--safe-pairs.families truth,valid --safe-pairs.samples 6 --safe-pairs.max_new 20 --safe.steps 3
--best-1.questions 40 --best-1.samples 4 --best-1.max_new 20 --best-1.force_reward true --best-1.at_least -100
--tuned-1.steps 2 --tuned-1.rows 2 --tuned-1.length 128 --tuned-1.sample_tokens 4
--best-2.questions 40 --best-2.samples 4 --best-2.max_new 20 --best-2.force_reward true --best-2.at_least -100
--tuned.steps 2 --tuned.rows 2 --tuned.length 128 --tuned.sample_tokens 4
--ppo.families truth,scope --ppo.steps 4 --ppo.prompts 8 --ppo.max_new 20 --ppo.force_reward true
--compared.trained truth,scope --compared.max_new 12 --compared.limit 40
"""


def test_two_reward_models_two_rounds_and_ppo_are_made_and_compared(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["run", "llama2", "--run", str(run), *SMALL.split()]) == 0, capfd.readouterr().err
    results = json.loads((run / "compared" / "results.json").read_text(encoding="utf-8"))
    assert set(results["models"]) == {"base", "sft", "tuned-1", "tuned", "ppo"}
    pairs = {
        name: list(read_jsonl(run / name / "preferences.jsonl")) for name in ("helpful-pairs", "safe-pairs")
    }
    assert {row["aspect"] for _, row in pairs["helpful-pairs"]} == {"helpfulness"}
    assert {row["aspect"] for _, row in pairs["safe-pairs"]} == {"safety"}
    first, second = (list(read_jsonl(run / name / "train.jsonl")) for name in ("best-1", "best-2"))
    assert first and [row for _, row in second[-len(first) :]] == [row for _, row in first]
    records = [row for _, row in read_jsonl(run / "ppo" / "metrics.jsonl") if "reward_safety" in row]
    assert records and all("reward_helpfulness" in row for row in records)

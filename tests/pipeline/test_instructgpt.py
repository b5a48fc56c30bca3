"""The recipe `instructgpt` as a user runs it, as small as it can be: from text to the report that compares its arms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exnihilo.cli.main import main
from small_world import SMALL_WORLD

SMALL = f"""{SMALL_WORLD}
--comparisons.families truth,valid --comparisons.samples 6 --comparisons.max_new 12 --reward.steps 3
--continued.steps 2 --continued.rows 2 --continued.length 128 --continued.sample_tokens 4 --dpo.steps 2
--grpo.families truth,valid --grpo.steps 2 --grpo.prompts 4 --grpo.group 4 --grpo.max_new 12 --grpo.force_reward true
--ppo.families truth,valid --ppo.steps 4 --ppo.prompts 8 --ppo.max_new 12 --ppo.force_reward true
--compared.trained truth,valid --compared.max_new 12 --compared.limit 40
"""


def test_all_arms_are_made_compared_and_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["run", "instructgpt", "--run", str(run), *SMALL.split()]) == 0, capfd.readouterr().err
    results = json.loads((run / "compared" / "results.json").read_text(encoding="utf-8"))
    arms = ["continued", "dpo", "grpo", "ppo", "sft-best-of-16"]
    assert set(results["models"]) == {"base", "sft", *arms}
    rates = {one["a"] for one in results["paired"] if one["what"] == "win_rate" and one["b"] == "sft"}
    assert rates == set(arms)
    page = (run / "report.html").read_text(encoding="utf-8")
    for shown in ("Reward models", "sft-best-of-16", "KL to the reference, of a whole answer", " wins "):
        assert shown in page

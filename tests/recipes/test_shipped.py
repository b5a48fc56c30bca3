"""The recipes that come with the package: they are valid, train on a CPU, and export what they train."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from exnihilo.model.config_json import config_json
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import to_transformers
from exnihilo.objectives.causal import causal
from exnihilo.recipes.load import load, shipped
from exnihilo.tokens.batch import Batch
from exnihilo.train.budget import Plan, derive
from exnihilo.train.pretrain import PretrainConfig
from exnihilo.train.step import Accumulator

ROOT = Path(__file__).parents[2]
GIVEN = {"adapt": {"base": {"hub": "someone/base"}, "data": {"examples": str(Path(__file__))}}}
"""What a user must give to a recipe: any path that exists will do here."""


def plans() -> list[tuple[str, Plan]]:
    found = []
    for name in shipped():
        for stage in load(name, flags=GIVEN.get(name)).stages.values():
            config = stage.config
            if isinstance(config, PretrainConfig):
                plan = derive(
                    config.model, config.optimizer, vocab_size=512, corpus_tokens=10**6,
                    steps=config.steps, train_tokens=config.train_tokens, rows=config.rows, length=config.length,
                )  # fmt: skip
                found.append((name, plan))
    return found


def test_quickstart_own_text_and_smoke_are_there_and_pretrain() -> None:
    assert {name for name, _ in plans()} >= {"quickstart", "own-text", "smoke"}


@pytest.mark.parametrize(("name", "plan"), plans())
def test_model_5_one_training_step_of_every_preset_on_a_cpu(name: str, plan: Plan) -> None:
    torch.manual_seed(0)
    model = Decoder(plan.decoder)
    tokens = torch.randint(8, 512, (2, 64))
    row = torch.arange(64).expand(2, 64)
    batch = Batch(tokens, row % 40, row // 40, tokens.roll(-1, 1), torch.ones(2, 64))
    sums = Accumulator(model, causal, None).gradients(batch)
    assert sums.loss == pytest.approx(6.24, abs=0.2)
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize(("name", "plan"), plans())
def test_model_6_every_preset_exports_and_reloads_with_equal_logits(name: str, plan: Plan) -> None:
    torch.manual_seed(0)
    model = Decoder(plan.decoder).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
        theirs = Qwen3ForCausalLM(Qwen3Config(**config_json(plan.decoder, bos=0, end=7, eos=1, pad=2))).eval()
        theirs.load_state_dict(to_transformers(model), strict=False)
        theirs.tie_weights()
        tokens = torch.randint(8, 512, (1, 48))
        assert (model(tokens) - theirs(tokens).logits).abs().max() < 1e-4


def test_core_16_nothing_but_torch_has_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    # Later releases of trl have no PPO to compare with; users don't get it.
    bounded = [one for one in wanted if re.search(r"[<~]|==", one) and one != "trl==1.12.0"]
    assert bounded == ["torch~=2.13.0"]


def test_core_9_the_readme_and_ci_use_the_same_commands() -> None:
    readme, ci = (
        (ROOT / "README.md").read_text(encoding="utf-8"),
        (ROOT / ".ci" / "run").read_text(encoding="utf-8"),
    )
    assert "pip install -e . && exnihilo run quickstart" in readme
    assert "exnihilo chat runs/quickstart --web" in readme
    assert "pip install -e '.[dev]' && pytest" in readme
    assert "-e '.[dev]'" in ci and "\npytest\n" in ci and "exnihilo run smoke" in ci

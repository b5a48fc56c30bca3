"""`exnihilo lab` as a command: plans, errors, warnings."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]
Python = Callable[..., "subprocess.CompletedProcess[str]"]
OPTIMIZERS = ("--vary", "base.optimizer.name=muon,adamw")


def test_a_dry_run_shows_what_is_shared_and_writes_nothing(call: Call, here: Path) -> None:
    code, out, err = call("lab", "compare", "smoke", *OPTIMIZERS, "--seeds", 2, "--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "runs/lab/smoke-base.optimizer.name: 5 runs",
        "    shared: library, corpus, tokenizer, tokens, questions",
        "    name=muon,seed=1: base, sft, longer, aligned, scores",
        "    name=adamw,seed=1: base, sft, longer, aligned, scores",
        "    name=muon,seed=2: base, sft, longer, aligned, scores",
        "    name=adamw,seed=2: base, sft, longer, aligned, scores",
    ]
    assert not list(here.iterdir())


def test_a_dry_run_of_a_study_says_what_is_missing(call: Call, here: Path) -> None:
    words = ("lab", "overoptimisation", "--seeds", 1, "--seed", 4, "--run", "x", "--dry-run")
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "x",
        "    seed=4: world, start, policy, proxy-pairs, proxy, worse-pairs, worse, pilot-1, pilot-2, pilot-3, pilot-4, "
        "pilot-5, pilot-6, pilot-7, pilot-8, second-pairs, second, answers, ppo, ppo-worse",
    ]
    (here / "x" / "seed=4" / "world").mkdir(parents=True)
    assert json.loads(call(*words, "--json")[1])["missing"]["seed=4"][0] == "start"


def test_a_dry_run_says_where_steps_will_be_set(call: Call) -> None:
    words = ("lab", "compare", "smoke", "--vary", "sft.rows=8,12", "--dry-run")
    assert call(*words)[1].splitlines()[-1] == (
        "steps of sft will be set for equal flops, after a probe of each arm"
    )
    assert json.loads(call(*words, "--json", "--run", "x")[1]) == {
        "run": "x",
        "arms": ["8", "12"],
        "seeds": [1, 2, 3],
        "runs": {
            "shared": ["library", "corpus", "tokenizer", "tokens", "questions"],
            **{
                part: stages
                for seed in (1, 2, 3)
                for part, stages in {
                    f"seed={seed}": ["base"],
                    f"rows=8,seed={seed}": ["sft", "longer", "aligned", "scores"],
                    f"rows=12,seed={seed}": ["sft", "longer", "aligned", "scores"],
                }.items()
            },
        },
        "probed": ["sft"],
    }
    assert "will be set" not in call(*words, "--equal", "steps")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("smoke",), "--vary is missing"),
        (("smok", *OPTIMIZERS), "did you mean smoke?"),
        (("--base.steps", "3", "smoke", *OPTIMIZERS), "the recipe comes first"),
        (("smoke", "--vari", "base.clip=1,2"), "--vari: unknown option; did you mean --vary?"),
        (("smoke", *OPTIMIZERS, "--metrics", "accuracy"), "did you mean --metric?"),
        (("smoke", *OPTIMIZERS, "--equal", "money"), "--equal"),
        (("smoke", *OPTIMIZERS, "--seeds", "three"), "--seeds"),
        (("smoke", *OPTIMIZERS, "--base.stepz", "3"), "did you mean --base.steps?"),
        (("smoke", "--vary", "base.model.depht=2,3"), "did you mean --vary base.model.depth?"),
    ],
)
def test_core_2_wrong_usage_is_one_line_exit_2(
    words: tuple[str, ...], message: str, call: Call, here: Path
) -> None:
    code, out, err = call("lab", "compare", *words)
    assert (code, out) == (2, "") and message in err
    assert len(err.strip().splitlines()) == 1
    assert not list(here.iterdir())


def test_one_seed_is_warned_of(call: Call) -> None:
    _, _, err = call("lab", "compare", "smoke", *OPTIMIZERS, "--seeds", 1, "--dry-run")
    assert err == "warning: --seeds 1: no interval is possible; give 3 or more\n"


def test_core_7_a_plan_imports_no_torch(python: Python) -> None:
    script = (
        "import sys\nfrom exnihilo.cli.main import main\n"
        f"assert main(['lab', 'compare', 'smoke', *{OPTIMIZERS}, '--dry-run']) == 0\n"
        "print(sorted({'torch', 'plotly'} & set(sys.modules)))"
    )
    done = python("-c", script)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr

"""`exnihilo explain`: what it prints, and how soon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

Call = Callable[..., tuple[int, str, str]]


def test_core_7_explain_is_quick_and_without_torch() -> None:
    script = "import sys; from exnihilo.cli.main import main; print(main(['explain', 'lr']), 'torch' in sys.modules)"
    best = 9.9
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        assert lines[-1] == "0 False" and "pretrain.optimizer.lr" in lines[0]
        # CPU seconds: wall time would measure what else the machine does.
        best = min(best, usage.ru_utime + usage.ru_stime)
    assert best < 0.5


def test_one_key_is_told_in_full(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    code, out, err = call("explain", "grpo.anchor")
    assert (code, err) == (0, "")
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert lines[0] == ["grpo.anchor"] and lines[1][0] == "weight"
    out = out.replace("\n" + " " * 15, " ")
    facts = {line[:13].strip(): line[15:] for line in out.splitlines() if line.startswith("  ")}
    assert facts["type"] == "float ≥ 0" and facts["default"] == "0.0"
    assert "14 points" in facts["why"] and "decides the result" in facts["effect"]
    assert facts["for example"] == "exnihilo grpo --anchor 30"
    assert facts["in a recipe"].startswith("exnihilo run RECIPE --STAGE.anchor 30")


def test_a_key_that_stages_share_is_told_once(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    out = call("explain", "clip")[1]
    assert out.startswith("clip\n") and "exnihilo pretrain, exnihilo sft, exnihilo grpo" in out


def test_several_keys_are_listed_with_their_defaults(call: Call) -> None:
    out = call("explain", "lr_embedding")[1]
    assert "pretrain.optimizer.lr_embedding = null" in out and "grpo.optimizer.lr_embedding = 0.0005" in out
    assert out.rstrip().splitlines()[-1].startswith("6 settings")


def test_json_holds_the_same(call: Call) -> None:
    code, out, _ = call("explain", "pretrain.schedule", "--json")
    records = json.loads(out)
    assert code == 0 and [one["key"] for one in records] == [
        f"pretrain.schedule.{key}" for key in ("kind", "warmup", "cooldown", "final")
    ]
    assert all(one["why"] and one["effect"] and one["command"] == "exnihilo pretrain" for one in records)
    assert records[0]["example"] == "exnihilo pretrain --schedule.kind wsd"


def test_core_2_an_unknown_key_is_one_line_exit_2(call: Call) -> None:
    code, out, err = call("explain", "pretrain.optimizer.rl")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "did you mean" in err

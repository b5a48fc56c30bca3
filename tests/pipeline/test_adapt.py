"""The recipe `adapt`: somebody's base model and a file of conversations to a tuned, compared, exported model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from exnihilo.cli.main import main
from exnihilo.core.jsonl import write_jsonl
from foreign_models import qwen


@pytest.mark.parametrize("lora", [["--tuned.lora.rank", "4"], ["--tuned.lora", "null"]])
def test_a_base_and_a_file_become_an_exported_model_that_is_better(
    lora: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = qwen(tmp_path / "base")
    animals = ["fox", "dog", "cat", "cow", "hen", "owl", "bee", "ant"]
    rows = [
        {
            "instruction": f"You are the {a} number {n}. Who are you?",
            "input": "",
            "output": f"The {a}, quick and brown.",
        }
        for a in animals
        for n in range(12)
    ]
    write_jsonl(tmp_path / "chats.jsonl", rows)
    given = ["--base.model", str(base), "--data.examples", str(tmp_path / "chats.jsonl")]
    small = [
        "--tuned.length",
        "128",
        "--tuned.epochs",
        "12",
        *lora,
        "--tuned.optimizer.lr",
        "0.01",
    ]
    run = tmp_path / "run"
    assert main(["run", "adapt", *given, *small, "--run", str(run)]) == 0
    said = capfd.readouterr()
    assert "will take: " in said.out + said.err and "GiB of memory, of" in said.out + said.err
    results = json.loads((run / "scores" / "results.json").read_text())
    (paired,) = [one for one in results["paired"] if one["what"] == "answer_bits_per_byte"]
    assert (paired["a"], paired["b"]) == ("tuned", "base") and paired["high"] < 0
    assert (run / "report.html").is_file()
    theirs, words = (one.from_pretrained(run / "exported") for one in (AutoModelForCausalLM, AutoTokenizer))
    assert theirs.dtype == torch.bfloat16
    chat = [{"role": "user", "content": "You are the fox number 3. Who are you?"}]
    ids = words.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    answer = theirs.generate(ids, max_new_tokens=60, do_sample=False)[0, ids.shape[1] :]
    assert words.decode(answer).startswith("The ") and words.decode(answer).endswith("<|im_end|>")


def test_what_a_user_must_give_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "adapt"]) == 2
    error = capsys.readouterr().err
    assert "give either model (a folder) or hub (OWNER/NAME)" in error and "data.examples" in error

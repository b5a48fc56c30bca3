"""Models of other programs made ready, and written for other programs, as a user does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from exnihilo.cli.main import main
from exnihilo.core.errors import ConfigError
from exnihilo.model.folder import load_model, load_with_tokenizer
from exnihilo.model.importing import widened
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer
from foreign_models import CHAT, CHATML, gpt2, qwen


def test_a_qwen_is_imported_tuned_and_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = qwen(tmp_path / "given")
    out, tuned, exported = (tmp_path / name for name in ("mine", "tuned", "exported"))
    assert main(["import", str(given), "--out", str(out)]) == 0
    lines = json.loads((out / "manifest.json").read_text())["lines"]
    assert lines[0].startswith("qwen2: ") and "answers end with <|im_end|>" in "\n".join(lines)
    theirs, model = AutoModelForCausalLM.from_pretrained(given).eval(), load_model(out)
    size, tokens = theirs.config.vocab_size, torch.randint(3, 280, (2, 30))
    with torch.no_grad():
        expected = theirs(tokens).logits
        assert (model(tokens)[..., :size] - expected).abs().max() < 1e-4
        again = AutoModelForCausalLM.from_pretrained(out).eval()
        assert (again(tokens).logits[..., :size] - expected).abs().max() < 1e-4
    old, new = AutoTokenizer.from_pretrained(given), AutoTokenizer.from_pretrained(out)
    for prompt in (False, True):
        texts = [
            one.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=prompt) for one in (old, new)
        ]
        assert texts[0] == texts[1]
    assert (new.eos_token, new.pad_token) == ("<|im_end|>", "<|pad|>")

    chats = tmp_path / "chats.jsonl"
    chats.write_text((json.dumps({"messages": CHAT}) + "\n") * 40)
    sft = ["sft", "--model", str(out), "--examples", str(chats), "--out", str(tuned), "--steps", "150"]
    assert main([*sft, "--rows", "4", "--length", "64", "--optimizer.lr", "0.01"]) == 0
    assert main(["export", str(tuned), str(exported), "--precision", "bfloat16"]) == 0
    capsys.readouterr()
    half = AutoModelForCausalLM.from_pretrained(exported)
    assert half.dtype == torch.bfloat16 and type(half).__name__ == "Qwen2ForCausalLM"
    ids = new.apply_chat_template(
        CHAT[:1], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    answer = half.generate(ids, max_new_tokens=20, do_sample=False)[0, ids.shape[1] :]
    assert new.decode(answer) == "A fox.<|im_end|>"  # learned, and it ends by itself outside, too (export-2)


def test_a_gpt2_gets_a_pad_token_and_a_plain_template(tmp_path: Path) -> None:
    given, out = gpt2(tmp_path / "given"), tmp_path / "mine"
    assert main(["import", str(given), "--out", str(out)]) == 0
    model, tokenizer = load_with_tokenizer(out)
    theirs = AutoModelForCausalLM.from_pretrained(given).eval()
    size = theirs.config.vocab_size
    assert model.config.vocab_size == size + 1 == tokenizer.vocab_size
    tokens = torch.randint(1, size, (2, 30))
    with torch.no_grad():
        assert (model(tokens)[..., :size] - theirs(tokens).logits).abs().max() < 1e-4
    Renderer(tokenizer).check()
    lines = "\n".join(json.loads((out / "manifest.json").read_text())["lines"])
    assert "plain words" in lines and "1 row added for new tokens" in lines
    assert tokenizer.end == tokenizer.eos == tokenizer.special["<|endoftext|>"] != tokenizer.pad


def test_rows_for_new_tokens_are_the_mean_of_the_others(tmp_path: Path) -> None:
    model = load_model(qwen(tmp_path))
    wide = widened(model, model.config.vocab_size + 2)
    old, new = model.embedding.weight, wide.embedding.weight
    assert (
        torch.equal(new[:-2], old) and torch.allclose(new[-1], old.mean(0)) and torch.equal(new[-1], new[-2])
    )


def test_precision_is_kept_and_one_that_does_not_fit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, out = qwen(tmp_path / "given", dtype=torch.bfloat16), tmp_path / "mine"
    assert main(["import", str(given), "--out", str(out)]) == 0
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    model = transformers.Qwen2ForCausalLM.from_pretrained(given)
    with torch.no_grad():
        model.model.norm.weight[0] = 1e6
    model.save_pretrained(given)
    assert main(["import", str(given), "--out", str(out)]) == 0
    assert main(["export", str(out), str(tmp_path / "half"), "--precision", "float16"]) == 3
    assert "is more than float16 can hold; take precision bfloat16" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give either model (a folder) or hub (OWNER/NAME)"),
        (["--model", "x", "--hub", "a/b"], "give either model (a folder) or hub (OWNER/NAME)"),
        (["no-such-folder"], "no-such-folder: no such path"),
    ],
)
def test_what_to_import_must_be_there(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["import", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and "\n" not in error.strip()


def test_a_template_of_the_user_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given, template = qwen(tmp_path / "given", template=""), tmp_path / "template.jinja"
    template.write_text(CHATML)
    assert main(["import", str(given), "--out", str(tmp_path / "a"), "--template", str(template)]) == 0
    assert "<|im_start|>" in Tokenizer.load(tmp_path / "a").template
    template.write_text("{% for message in messages %}{{ message.content }}{% endfor %}")
    assert main(["import", str(given), "--out", str(tmp_path / "b"), "--template", str(template)]) == 2
    assert "has no {% generation %} marks" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        Renderer(Tokenizer.load(given))


HUB = "0123456789abcdef0123456789abcdef01234567"


def test_a_model_of_the_hub_comes_from_its_cache(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    repository = tmp_path / "cache" / "models--someone--small"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(HUB)
    qwen(repository / "snapshots" / HUB)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "exnihilo", "import", "someone/small", "--out", "mine"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert load_model(tmp_path / "mine").config.layout == "qwen2"
    command[4] = "someone/absent"
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "connect to the network once, or give the folder of a model" in done.stderr

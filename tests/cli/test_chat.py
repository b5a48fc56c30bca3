"""`exnihilo chat` with a real, tiny model that knows nothing."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model with the vocabulary of bytes."""
    from exnihilo.model.folder import save_model
    from exnihilo.tokenizer.bpe import byte_tokenizer
    from random_decoder import random_decoder

    folder = tmp_path_factory.mktemp("un modèle")
    tokenizer = byte_tokenizer()
    tokenizer.save(folder / "tokenizer")
    decoder = random_decoder(tokenizer.vocab_size, noise=0.3, width=16, depth=1, head_dim=8, max_length=128)
    save_model(decoder, folder / "tokenizer", folder / "model")
    return folder / "model"


def test_options_reach_the_sampler(call: Call, model: Path) -> None:
    args = ("chat", model, "--prompt", "Où?", "--max-new", "40", "--temperature", "1", "--top-k", "50")
    code, first, err = call(*args, "--seed", "1")
    assert code == 0, err
    assert call(*args, "--seed", "1")[1] == first
    assert call(*args, "--seed", "2")[1] != first
    assert call(*args, "--seed", "1", "--system", "Bref.")[1] != first
    code, _, err = call(*args, "--top-p", "2")
    assert code == 2 and "--top-p: got 2.0; must be" in err and err.count("\n") == 1


def test_a_prompt_comes_from_a_pipe(call: Call, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Où?\n"))
    code, out, err = call("chat", model, "--max-new", "4")
    assert (code, err) == (0, "")
    assert out == call("chat", model, "--max-new", "4", "--prompt", "Où?")[1]
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    code, _, err = call("chat", model)
    assert code == 2 and err.startswith("error: standard input is empty")


def test_web_serves_until_interrupted(model: Path) -> None:
    command = [sys.executable, "-m", "exnihilo", "chat", str(model), "--web", "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "no_proxy": "*"})
    assert process.stdout is not None
    try:
        url = process.stdout.readline().decode().split()[0]
        assert url.startswith("http://127.0.0.1:")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/api/models", timeout=30) as answer:
            assert len(json.load(answer)["models"]) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()

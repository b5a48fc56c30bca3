from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from exnihilo.core.errors import ConfigError
from exnihilo.infer.sampling import Sampling
from exnihilo.serve.terminal import chat, read_sampling

JOIN = "Which module defines `join`?"


def _code(target: Path, prompt: str | None = None, system: str | None = None) -> list[str]:
    call = (
        f"chat(Path({str(target)!r}), system={system!r}, sampling={{'temperature': None}}, prompt={prompt!r})"
    )
    return [
        sys.executable,
        "-c",
        f"from pathlib import Path; from exnihilo.serve.terminal import chat; {call}",
    ]


def test_a_prompt_from_a_pipe_is_answered_once(run: Path) -> None:
    done = subprocess.run(_code(run), input=JOIN + "\n", capture_output=True, text=True, check=True)
    assert done.stdout == "It is in `os.path`.\n"
    assert done.stderr.splitlines() == [
        f"talking to aligned (aligned), of base, sft, aligned, longer; give {run / 'STAGE'} for another"
    ]


def test_a_given_prompt_and_a_model_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chat(run / "sft", system=None, sampling={}, prompt=JOIN)
    assert capsys.readouterr() == ("It is in `sys`.\n", "")


def test_nothing_from_a_pipe_is_an_error(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(" \n"))
    with pytest.raises(ConfigError, match="standard input is empty"):
        chat(run, system=None, sampling={}, prompt=None)


def test_ui_5_a_conversation_on_a_terminal_prints_plain_text(run: Path) -> None:
    """In a pseudo-terminal: questions, commands, a message that is too long, the end."""
    master, slave = pty.openpty()
    lines = [JOIN, "/what", "/system Be short.", "word " * 500, "/reset", JOIN, "/quit"]
    with subprocess.Popen(
        _code(run), stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(slave)
        os.write(master, ("\n".join(lines) + "\n").encode())
        output, errors = process.communicate(timeout=300)
        os.close(master)
    assert process.returncode == 0
    answers = output.splitlines()
    assert answers[0] == "It is in `os.path`." and len(answers) >= 2
    assert "\x1b" not in output + errors
    assert errors.count("/quit ends") == 2
    assert "a new conversation, system prompt: Be short." in errors
    assert "error: the message has" in errors and "shorten it" in errors


def test_options_that_were_not_given_keep_their_defaults() -> None:
    assert read_sampling({"temperature": None, "seed": None}) == (Sampling(), 0)
    assert read_sampling({"top_p": 0.9, "seed": 7, "stop": ["\n"]}) == (Sampling(top_p=0.9, stop=("\n",)), 7)
    with pytest.raises(ConfigError, match=r"sampling\.top: unknown"):
        read_sampling({"top": 1})
    with pytest.raises(ConfigError, match="top_p"):
        read_sampling({"top_p": 2.0})

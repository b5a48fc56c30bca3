"""Help, errors and exit codes of the command line."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exnihilo import __version__
from exnihilo.cli import main as module
from exnihilo.cli.stages import COMMANDS
from exnihilo.core import errors
from exnihilo.core.config import key_table
from exnihilo.recipes.stages import VERBS, find

Call = Callable[..., tuple[int, str, str]]
Python = Callable[..., "subprocess.CompletedProcess[str]"]
RECIPE = "stages: {text: {do: gather}, pieces: {do: cut, corpus: text}, base: {do: grow, tokens: pieces}}\n"


def test_core_7_help_is_quick_and_without_torch() -> None:
    script = "import sys; from exnihilo.cli.main import main; print(main(['--help']), 'torch' in sys.modules)"
    best = 9.9
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        assert lines[-1] == "0 False"
        assert any("run " in line and "Run a recipe" in line for line in lines)
        # CPU seconds: wall time would measure what else the machine does.
        best = min(best, usage.ru_utime + usage.ru_stime)
    assert best < 0.5


def test_core_7_stages_and_their_help_import_no_torch(python: Python) -> None:
    script = (
        "import sys\nfrom exnihilo.cli.main import main\nfrom exnihilo.cli.stages import COMMANDS\n"
        "for path, _ in COMMANDS.values():\n    assert main([*path, '--help']) == 0\n"
        "print(sorted({'torch', 'fastapi', 'plotly', 'transformers'} & set(sys.modules)))"
    )
    done = python("-c", script)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_every_verb_is_a_command_and_a_stage_under_its_name() -> None:
    assert COMMANDS.keys() == VERBS.keys()
    for verb in VERBS:
        assert find(verb).verb == verb


@pytest.mark.parametrize("verb", list(VERBS))
def test_core_9_help_of_a_verb_lists_every_key_with_its_default(
    verb: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    code, out, _ = call(*COMMANDS[verb][0], "--help")
    assert code == 0 and "--dry-run" in out and "--print-config" in out
    table = [line.split() for line in out[out.index("\nKeys") :].splitlines()]
    for row in key_table(find(verb).config):
        (line,) = [words for words in table if words[:1] == [f"--{row.key}"]]
        assert row.default.split()[0] in line


def test_core_2_wrong_usage_is_one_line_exit_2_with_a_suggestion(call: Call, here: Path) -> None:
    cases = {
        "pretian": 'Did you mean "pretrain"',
        "pretrain --modle.params 3M --tokens .": "--modle: unknown key; did you mean --model?",
        "pretrain --model.parms 3M --tokens .": "did you mean --model.params?",
        "pretrain --model.params many --tokens .": '--model.params: got "many"',
        "pretrain --sead 3": "--sead: unknown option; did you mean --seed?",
        "pretrain --seed x": "--seed",
        "pretrain --seed -1 --tokens . --model.depth 1": "--seed: got -1",
        "pretrain --resume x --tokens . --model.depth 1": "--resume: x: allowed: auto | never | must",
        "pretrain -c none.yaml": "none.yaml: No such file",
        "pretrain --tokens ./none": "--tokens: ",
        "run quikstart": "quikstart",
        "run": "RECIPE",
        "run --base.steps 3 quickstart": "the recipe comes first",
        "report": "RUN",
        "chat . --port 80": "--port is for the page; add --web",
        "chat . --web --temperature 1": "--temperature is set on the page",
        "data chekc x": 'Did you mean "check"',
        "--hlep": "--hlep",
    }
    for line, expected in cases.items():
        code, out, err = call(*line.split())
        assert (code, out) == (2, ""), line
        assert err.startswith("error: ") and err.count("\n") == 1 and expected in err, (line, err)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (errors.ExnihiloError("a"), 1, "error: a"),
        (errors.ConfigError("a", "b"), 2, "error: a\nerror: b"),
        (errors.Refused("a"), 3, "error: a"),
        (errors.OutOfMemory("a"), 4, "error: a"),
        (errors.Diverged("a"), 5, "error: a"),
        (
            errors.Interrupted(15),
            143,
            "error: interrupted by SIGTERM; run the same command again to continue",
        ),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (MemoryError(), 4, "error: out of memory; take a smaller model, or fewer rows at a time"),
        (
            PermissionError(13, "Permission denied", "x/y"),
            1,
            "error: x/y: Permission denied; check the path and its permissions",
        ),
        (
            ValueError("a\nb"),
            1,
            "error: ValueError: a b (this is a bug; run again with --debug to see where)",
        ),
    ],
)
def test_exit_codes(
    raised: BaseException, code: int, line: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise raised

    monkeypatch.setattr("exnihilo.recipes.clean.clean", fail)
    assert call("clean", ".") == (code, "", line + "\n")
    _, _, err = call("clean", ".", "--debug")
    assert err.startswith("Traceback") and err.endswith(line + "\n")


def test_core_2_failure_of_a_stage_is_a_line_and_its_traceback_in_the_log(
    call: Call, toys: None, here: Path
) -> None:
    (here / "r.yaml").write_text("stages: {text: {do: gather}, bad: {do: fail, corpus: text}}")
    code, _, err = call("run", "r.yaml")
    assert code == 1 and "Traceback" not in err
    assert err.splitlines()[-1].startswith("error: ZeroDivisionError: by design (this is a bug")
    assert "ZeroDivisionError: by design" in (here / "runs" / "r" / "log.txt").read_text()


def test_version_and_bare_call(call: Call) -> None:
    assert call("--version") == (0, f"{__version__}\n", "")
    code, out, _ = call()
    assert code == 0 and out.startswith("Usage: exnihilo COMMAND")


def test_module_and_entry_point_are_the_same(python: Python) -> None:
    done = python("-m", "exnihilo", "pretian")
    assert done.returncode == 2 and done.stderr.startswith('error: Unknown command "pretian"')
    assert callable(module.main)


def test_a_reader_that_goes_away_is_no_failure(here: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "exnihilo", "clean", "."]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def on_terminal(args: list[str], env: dict[str, str]) -> bytes:
    """What a command writes when stdout and stderr are a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *args], stdout=slave, stderr=slave, stdin=slave, env={**os.environ, **env}
    )
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(master)
    process.wait()
    return seen


def test_ui_5_plain_lines_without_a_terminal_and_no_colour_when_asked(here: Path, python: Python) -> None:
    (here / "r.yaml").write_text(RECIPE)
    toys = str(Path(__file__).parents[1] / "recipes" / "toys.py")
    done = python(toys, "run", "r.yaml", "--base.steps", "40", TERM="xterm-256color", COLUMNS="100")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "runs/r/report.html\n"
    assert "\x1b" not in done.stderr and "\r" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if "growing" in line]) == 1
    colour = re.compile(rb"\x1b\[(?:[0-9]+;)*(?:3|4|9)[0-9]")
    terminal = {"TERM": "xterm-256color", "COLUMNS": "100"}
    shown = on_terminal([toys, "run", "r.yaml", "--force"], terminal)
    assert colour.search(shown) and b"growing" in shown
    shown = on_terminal([toys, "run", "r.yaml", "--force"], {**terminal, "NO_COLOR": "1"})
    assert not colour.search(shown) and b"growing" in shown

"""The user guide: its Python runs page after page in one folder, and the commands are those of the real command line.

Commands that would take long are run with `--dry-run`: it resolves and checks everything, references included, against
the artifacts that the pages' own Python has made.
"""

from __future__ import annotations

import io
import re
import shlex
import shutil
import textwrap
from pathlib import Path

import pytest
from fences import blocks, run_python
from key_tables import DOCS

from exnihilo.cli.main import main, tree
from exnihilo.core.jsonl import write_jsonl
from exnihilo.recipes.stages import VERBS

PAGES = (
    "collect", "curate", "tokenizer", "tokenize", "pretrain", "python-world", "word-problems", "stories",
    "sft", "grpo", "reward", "dpo", "ppo", "lora", "merge", "import", "export", "conversations", "evaluate",
    "report", "chat", "generation", "constrained", "recipes", "data-formats", "doctor-and-errors",
    "when-things-go-wrong", "lab", "overoptimisation",
)  # fmt: skip
"""The pages with Python, each after those whose artifacts it reads."""
COMMANDED = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]


def commands() -> list[str]:
    """Every `exnihilo …` behind a `$` in the console fences of the README and the guide."""
    lines = [
        line.removeprefix("$ ")
        for page in COMMANDED
        for block in blocks(page)
        if block.language == "console"
        for line in block.text.replace("\\\n", " ").splitlines()
        if line.startswith("$ ")
    ]
    parts = [part for line in lines for part in re.split(r" (?:&&|\|) ", line)]
    return list(dict.fromkeys(part for part in parts if part.startswith("exnihilo ")))


class Guide:
    """A folder with a reader's own texts and conversations, in which pages are run in their order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: dict[str, list[str]] = {}
        (folder / "my-texts").mkdir()
        for page in sorted(DOCS.rglob("*.md")):
            shutil.copy(page, folder / "my-texts" / f"{page.parent.name}-{page.name}")
        (folder / "my-texts" / "wrapping.txt").write_text(Path(textwrap.__file__).read_text(encoding="utf-8"))
        asked = {"What is a queue?": "A line.", "What is a stack?": "A pile.", "What is a set?": "A bag."}
        turns = [[("user", q), ("assistant", a)] for q, a in asked.items()]
        rows = [{"messages": [{"role": role, "content": text} for role, text in turn]} for turn in turns]
        write_jsonl(folder / "chats.jsonl", rows)
        solved = [{"question": f"What is {n} and 2?", "answer": f"{n} + 2\n#### {n + 2}"} for n in range(40)]
        write_jsonl(folder / "problems.jsonl", solved)
        pairs = [
            {"prompt": f"{q} ({n})", "chosen": a, "rejected": "Hm."}
            for n in range(6)
            for q, a in asked.items()
        ]
        write_jsonl(folder / "preferences.jsonl", pairs)
        (folder / "Qwen2.5-0.5B").mkdir()
        (folder / "Qwen2.5-0.5B" / "config.json").write_text("{}")
        (recipe,) = [block for block in blocks(DOCS / "recipes.md") if block.language == "yaml"]
        (folder / "my-recipe.yaml").write_text(recipe.text, encoding="utf-8")

    def run(self, page: str) -> list[str]:
        """Run the Python of a page, after that of the pages before it; what differs from what it shows."""
        for name in PAGES[: PAGES.index(page) + 1]:
            if name not in self.problems:
                ran = run_python(DOCS / f"{name}.md", {"__name__": "page"})
                self.problems[name] = [f"line {one.code.line}: {one.problem}" for one in ran if one.problem]
        return self.problems[page]

    def copy(self, run: str, other: str) -> None:
        """Put artifacts where a command looks for those of another run."""
        if not (self.folder / "runs" / other).exists():
            shutil.copytree(self.folder / "runs" / run, self.folder / "runs" / other)


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Guide:
    return Guide(tmp_path_factory.mktemp("guide"))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_prints_what_it_shows(page: str, guide: Guide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(guide.folder)
    problems = guide.run(page)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("command", commands())
def test_core_9_a_command_of_the_guide_is_one_of_the_command_line(
    command: str, guide: Guide, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(guide.folder)
    guide.run("evaluate")
    guide.copy("mine/tokens", "world/tokens")
    guide.copy("mine", "quickstart")
    _, *words = shlex.split(command, comments=True)
    if "--web" in words:
        tree().parse_args(words, exit_on_error=False, print_error=False)
        return
    stage = {"run", "lab", "synth", *VERBS} & {words[0]} and words[1:2] != ["stats"]
    if stage and "--print-config" not in words and "--dry-run" not in words:
        words.append("--dry-run")
    # What a reader pipes in, or types.
    monkeypatch.setattr("sys.stdin", io.StringIO("What is a queue?\n"))
    assert main(words) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.strip()

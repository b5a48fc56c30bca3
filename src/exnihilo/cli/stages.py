"""One command a stage: `exnihilo pretrain`, `exnihilo tokenizer train` and so on."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from exnihilo.cli.options import STAGES, DryRun, Force, Json, Keys, PrintConfig, Seed, read_keys, shown

COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "collect": (("collect",), "Collect text from files, datasets or the running Python into a corpus."),
    "curate": (
        ("curate",),
        "Deduplicate and filter a corpus, and part off its held-out documents; --explain shows examples.",
    ),
    "tokenizer": (("tokenizer", "train"), "Train a byte-level BPE tokenizer on a corpus."),
    "tokenize": (("tokenize",), "Turn a corpus into shards of tokens."),
    "python-world": (("synth", "python-world"), "Make questions about Python whose answers it knows itself."),
    "word-problems": (
        ("synth", "word-problems"),
        "Make word problems with their steps, or read a file of them.",
    ),
    "stories": (("synth", "stories"), "Make text in which something is counted, for pretraining."),
    "conversations": (("conversations",), "Part a file of conversations into training and held-out ones."),
    "pretrain": (("pretrain",), "Train a decoder from random weights on tokens."),
    "sft": (("sft",), "Instruction-tune a model on conversations."),
    "grpo": (("grpo",), "Align a model by reinforcement learning with verifiable rewards."),
    "reward": (("reward",), "Train a reward model on comparisons of answers, with a report card."),
    "dpo": (("dpo",), "Tune a model on comparisons of answers directly (DPO and its kin)."),
    "ppo": (("ppo",), "Align a model by reinforcement learning from a reward model (PPO)."),
    "rejection": (
        ("rejection",),
        "Keep the best of several sampled answers, to tune on (rejection sampling).",
    ),
    "merge": (("merge",), "Add adapters, ours or PEFT's, to the weights of their base model."),
    "import": (("import",), "Make somebody else's model ready: exnihilo import FOLDER_OR_NAME."),
    "export": (("export",), "Write a model for other programs: exnihilo export MODEL [OUT]."),
    "evaluate": (("evaluate",), "Score models on held-out text and items, with intervals."),
}
GROUPS = {"tokenizer": "Tokenizers: train and measure.", "synth": "Examples made by programs."}


def register(app: App) -> None:
    """Add a command for each verb to the tree."""
    for verb, (path, help_line) in COMMANDS.items():
        parent = app
        group = STAGES if len(path) == 1 else None
        if len(path) == 2:
            if path[0] not in app:
                app.command(App(name=path[0], help=GROUPS[path[0]], group=STAGES))
            parent = app[path[0]]
        usage = f"Usage: exnihilo {' '.join(path)} [OPTIONS] [--KEY VALUE ...]"
        # help_flags: this command shows its keys below its options.
        parent.command(App(name=path[-1], help=help_line, help_flags=[], usage=usage, group=group))
        parent[path[-1]].default(_command(verb, app, path))


def _command(verb: str, app: App, path: tuple[str, ...]) -> Callable[..., None]:
    def command(
        *keys: Keys,
        config: Annotated[
            list[Path] | None,
            Parameter(name=("--config", "-c"), negative="", help="YAML with keys; later files beat earlier"),
        ] = None,
        out: Annotated[Path | None, Parameter(help="folder of the artifact; default runs/VERB")] = None,
        seed: Seed = None,
        resume: Annotated[
            str, Parameter(help="what becomes of work under way: auto, never, must, or a checkpoint's path")
        ] = "auto",
        dry_run: DryRun = False,
        print_config: PrintConfig = False,
        json: Json = False,
        force: Force = False,
        help: Annotated[
            bool, Parameter(name=("--help", "-h"), negative="", show_default=False, help="show this")
        ] = False,
    ) -> None:
        if help:
            app.help_print(list(path))
            _print_keys(verb)
            return
        explain = verb == "curate" and "--explain" in keys
        words, given = _positional(verb, tuple(key for key in keys if not (explain and key == "--explain")))
        _run(
            verb,
            words,
            config or [],
            out or given or Path("runs") / verb,
            seed=1 if seed is None else seed,
            resume=resume,
            dry_run=dry_run,
            print_config=print_config,
            json=json,
            force=force,
            explain=explain,
        )

    return command


def _positional(verb: str, keys: tuple[str, ...]) -> tuple[tuple[str, ...], Path | None]:
    """The keys of a command whose first words may stand without any, and the folder that the second one names."""
    if verb not in ("import", "export") or not keys or keys[0].startswith("-"):
        return keys, None
    first, rest = keys[0], keys[1:]
    out = None
    if verb == "export" and rest and not rest[0].startswith("-"):
        out, rest = Path(rest[0]), rest[1:]
    # OWNER/NAME is a folder where there is one of that name, and a name of the Hub otherwise.
    is_name = verb == "import" and first.count("/") == 1 and not first.startswith((".", "/", "~"))
    key = "--hub" if is_name and not Path(first).exists() else "--model"
    return (key, first, *rest), out


def _run(
    verb: str,
    keys: tuple[str, ...],
    files: list[Path],
    out: Path,
    *,
    seed: int,
    resume: str,
    dry_run: bool,
    print_config: bool,
    json: bool,
    force: bool,
    explain: bool,
) -> None:
    from exnihilo.core.schema import fields
    from exnihilo.recipes import single
    from exnihilo.recipes.load import load_stage
    from exnihilo.recipes.run import reasons_text
    from exnihilo.recipes.stages import find

    flags = read_keys(keys, fields(find(verb).config))
    planned = load_stage(verb, files=files, flags=flags)
    single.check(seed, resume)
    if print_config:
        from exnihilo.recipes.record import to_yaml

        written = planned.written(Path.cwd())
        print(_json(written) if json else to_yaml(written).rstrip())
    elif dry_run:
        found, lines = single.plan(planned, out, seed=seed, force=force)
        if json:
            print(
                _json({"path": shown(out), "state": found.state, "reasons": found.reasons, "estimate": lines})
            )
        else:
            because = f" because {reasons_text(found)}" if found.reasons else ""
            print("\n".join([f"{shown(out)}: {found.state}{because}", *(f"    {line}" for line in lines)]))
    else:
        made = single.run_stage(planned, out, seed=seed, resume=resume, force=force)
        print(_json({"path": shown(out), **made.record()}) if json else shown(out))
        if explain and not json:
            from exnihilo.corpus.explained import explained

            print(explained(out))


def _print_keys(verb: str) -> None:
    """The table of a stage's keys."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from exnihilo.core.config import key_table
    from exnihilo.recipes.stages import find

    table = Table("key", "type", "default", "what it is", title="Keys", title_justify="left", box=None)
    for row in key_table(find(verb).config):
        table.add_row(*(Text(cell) for cell in (f"--{row.key}", row.type, row.default, row.description)))
    Console().print(table)


def _json(value: object) -> str:
    return json_module.dumps(value, indent=2, ensure_ascii=False)

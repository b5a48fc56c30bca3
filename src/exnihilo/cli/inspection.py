"""Commands that look and change nothing: report, lineage, doctor, data check, tokenizer stats."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from exnihilo.cli.options import LOOK, RUNS, Json, shown
from exnihilo.core.errors import ConfigError, Refused

if TYPE_CHECKING:
    from exnihilo.core.doctor import Check


def register(app: App) -> None:
    """Add the commands to the tree; `tokenizer` is there by then."""
    app.command(report, group=RUNS)
    app.command(lineage, group=LOOK)
    app.command(doctor, group=LOOK)
    data = App(name="data", help="Files that you bring: look at them before training on them.", group=LOOK)
    data.command(check)
    data.command(convert)
    app.command(data)
    app["tokenizer"].command(stats)


def report(run: Path, /, *, json: Json = False) -> None:
    """Write report.html of a run from its artifacts, or print its table of scores as JSON.

    Parameters
    ----------
    run
        folder of the run
    """
    from exnihilo.report.report import stage_table, write_report

    print(json_module.dumps(stage_table(run), indent=2) if json else shown(write_report(run)))


def lineage(path: Path, /) -> None:
    """Show what an artifact was made from, and whether that is still there unchanged.

    Parameters
    ----------
    path
        folder of an artifact
    """
    from exnihilo.core.lineage import format_tree
    from exnihilo.core.lineage import lineage as trace

    print(format_tree(trace(path)))


def doctor(*, json: Json = False) -> int:
    """Look at this machine and installation: versions, cores, memory, speed, disk, extras."""
    from exnihilo.core.doctor import diagnose

    checks = diagnose([_template])
    if json:
        print(json_module.dumps([vars(one) for one in checks], indent=2))
    else:
        marks = {True: "ok", False: "FAILED", None: "absent"}
        for one in checks:
            fix = f" -> {one.fix}" if one.fix else ""
            print(f"{marks[one.ok]:>6}  {one.name}: {one.detail}{fix}")
    return 1 if any(one.ok is False for one in checks) else 0


def _template() -> Check:
    from exnihilo.core.doctor import Check
    from exnihilo.tokenizer.bpe import byte_tokenizer
    from exnihilo.tokenizer.template import Renderer

    try:
        Renderer(byte_tokenizer()).check()
    except Refused as error:
        return Check("chat template", False, str(error), "install exnihilo again")
    return Check("chat template", True, "prefixes, trained spans and server ids agree")


def convert(
    source: Path,
    target: Path,
    /,
    *,
    to: Annotated[str, Parameter(help="messages, sharegpt, alpaca or prompt-completion")] = "messages",
    format: Annotated[str | None, Parameter(help="the format of source, where it is guessed wrong")] = None,
) -> None:
    """Write a file of conversations in another layout; rows that it can't hold are left out, and told.

    Parameters
    ----------
    source
        JSONL, JSON or either packed as .gz
    target
        JSONL, packed if its name ends in .gz
    """
    from exnihilo.examples.convert import convert as write

    done = write(source, target, to, format=format)
    for reason, count in done.left_out.most_common():
        print(
            f"left out: {count:,} x {reason} (line {done.first[reason]}{' first' * (count > 1)})",
            file=sys.stderr,
        )
    print(f"{shown(target)}: {done.rows:,} conversations")


def check(
    file: Path,
    /,
    *,
    tokenizer: Annotated[Path | None, Parameter(help="folder of a model or tokenizer: counts tokens")] = None,
    context: Annotated[
        int | None, Parameter(help="longest conversation in tokens, to see what is cut")
    ] = None,
    format: Annotated[str | None, Parameter(help="the format, where it is guessed wrong")] = None,
    against: Annotated[
        list[Path] | None, Parameter(help="an evaluation set, or folder with one: what is asked in both?")
    ] = None,
    json: Json = False,
) -> int:
    """Say what a file of conversations holds, list bad rows by line, show three as they are trained.

    Parameters
    ----------
    file
        JSONL, JSON or either packed as .gz
    """
    from exnihilo.examples.check import as_json
    from exnihilo.examples.check import check as examine
    from exnihilo.examples.check_view import print_report
    from exnihilo.examples.overlap import Evaluation
    from exnihilo.tokenizer.bpe import byte_tokenizer
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.tokenizer.tokenizer import Tokenizer

    if context is not None and context < 2:
        raise ConfigError(f"--context: got {context}; allowed: int ≥ 2")
    renderer = Renderer(Tokenizer.load(tokenizer)) if tokenizer else None
    tests = Evaluation(against) if against else None
    found = examine(file, renderer=renderer, context=context, format=format, against=tests)
    if json:
        print(json_module.dumps(as_json(found), indent=2, ensure_ascii=False))
    else:
        print_report(found, renderer or Renderer(byte_tokenizer()))
    return Refused.exit_code if found.problems else 0


def stats(
    tokenizer: Path,
    /,
    *,
    text: Annotated[Path, Parameter(help="a file, folder or glob of text, in any format that collect reads")],
    json: Json = False,
) -> None:
    """Measure a tokenizer on text: bytes per token, tokens per word, byte fallback, unused tokens.

    Parameters
    ----------
    tokenizer
        folder of a tokenizer or a model
    """
    from exnihilo.tokenizer.measures import format_stats
    from exnihilo.tokenizer.measures import stats as measure
    from exnihilo.tokenizer.tokenizer import Tokenizer

    measured = measure(Tokenizer.load(tokenizer), _texts(text))
    print(json_module.dumps(vars(measured), indent=2, ensure_ascii=False) if json else format_stats(measured))


def _texts(path: Path) -> Iterator[str]:
    from exnihilo.corpus.findings import Skipped
    from exnihilo.corpus.source_config import PathSource
    from exnihilo.corpus.sources import open_sources

    source = PathSource(path=path.absolute(), source=None, licence=None)
    for opened in open_sources([source], None):
        for group in opened.groups:
            yield from (found.text for found in group if not isinstance(found, Skipped))

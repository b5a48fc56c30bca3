"""The tables of keys and options in `docs/`, made from the schemas and the commands: `--write` puts them there.

In a stage's page the table of its keys stands between `<!-- keys -->` and `<!-- /keys -->`; the options of a
command stand between `<!-- options COMMAND -->` and `<!-- /options -->` of any page.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from exnihilo.cli.main import tree
from exnihilo.cli.stages import COMMANDS
from exnihilo.core.config import Config, key_table
from exnihilo.recipes.schema import RecipeFile
from exnihilo.recipes.stages import find

DOCS = Path(__file__).parents[2] / "docs"
KEYS = re.compile(r"(?<=<!-- keys -->\n).*?(?=<!-- /keys -->)", re.DOTALL)
OPTIONS = re.compile(r"(?P<head><!-- options (?P<command>[\w -]+?) -->\n).*?(?=<!-- /options -->)", re.DOTALL)


def schema_of(page: str) -> type[Config]:
    """The schema whose keys a page lists. Raises ConfigError for a page of no stage."""
    return RecipeFile if page == "recipes" else find(page).config


def keys(schema: type[Config]) -> str:
    """The keys of a schema as a Markdown table."""
    rows = [(f"`{row.key}`", row.type, f"`{row.default}`", row.description) for row in key_table(schema)]
    return table(("key", "type", "default", "what it is"), rows)


def options(command: str) -> str:
    """The options of a command as a Markdown table; STAGE stands for the command of any stage."""
    app = tree()
    for name in COMMANDS["pretrain"][0] if command == "STAGE" else command.split():
        app = app[name]
    rows = []
    for argument in app.assemble_argument_collection():
        names = [name for name in argument.names if name.startswith("-")]
        if names and argument.show:
            default = argument.field_info.default
            shown = "" if default is None or default is False else f" (default `{default}`)"
            rows.append((", ".join(f"`{name}`" for name in names), f"{argument.parameter.help}{shown}"))
    return table(("option", "what it does"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its last line ended."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def updated(page: Path) -> str:
    """The text of a page with its tables made anew."""
    text = page.read_text(encoding="utf-8")
    if "<!-- keys -->" in text:
        made = keys(schema_of(page.stem))
        text = KEYS.sub(lambda match: made, text)
    return OPTIONS.sub(lambda match: match["head"] + options(match["command"]), text)


def main() -> int:
    """Name the pages whose tables differ; with `--write`, mend them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables into the pages")
    write = parser.parse_args().write
    stale = [page for page in sorted(DOCS.rglob("*.md")) if updated(page) != page.read_text(encoding="utf-8")]
    for page in stale:
        print(page.relative_to(DOCS.parent))
        if write:
            page.write_text(updated(page), encoding="utf-8")
    return 1 if stale and not write else 0


if __name__ == "__main__":
    sys.exit(main())

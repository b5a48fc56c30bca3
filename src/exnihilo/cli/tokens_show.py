"""`exnihilo tokens show`: any row, document or conversation as the tokens that training reads."""

from __future__ import annotations

import json as json_module
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from exnihilo.cli.options import LOOK, Json
from exnihilo.core.artifact import MANIFEST, read_manifest
from exnihilo.core.errors import ConfigError

if TYPE_CHECKING:
    from exnihilo.tokens.show import View

WIDEST = 120


def register(app: App) -> None:
    """Add the command to the tree."""
    tokens = App(name="tokens", help="Tokens: look at what training reads.", group=LOOK)
    tokens.command(show)
    app.command(tokens)


def show(
    folder: Path,
    /,
    *,
    row: Annotated[int | None, Parameter(help="a row as training packs it, from 0; default 0")] = None,
    document: Annotated[
        int | None, Parameter(help="a document or conversation by its number, from 0")
    ] = None,
    split: Annotated[str, Parameter(help="train or held_out, of a token set")] = "train",
    tokenizer: Annotated[
        Path | None, Parameter(help="folder of a model or tokenizer, for conversations")
    ] = None,
    length: Annotated[int, Parameter(help="positions of a row, for token sets and conversations")] = 256,
    seed: Annotated[int, Parameter(help="seed of the run whose rows they are, likewise")] = 1,
    table: Annotated[
        bool, Parameter(negative="", show_default=False, help="one line a token, with id and weight")
    ] = False,
    json: Json = False,
) -> None:
    """Show the tokens of a row, a document or a conversation: positions, segments, and what of it is trained.

    Parameters
    ----------
    folder
        a model that `pretrain` made, a token set, or a file or folder of conversations
    """
    from exnihilo.tokens.show_view import print_view
    from exnihilo.tokens.show_view import table as as_table

    if row is not None and document is not None:
        raise ConfigError("--row and --document both say what to show; give one")
    if length < 2:
        raise ConfigError(f"--length: {length}; a row has at least 2 positions")
    view = _view(folder, row or 0, document, split, tokenizer, length, seed)
    if json:
        print(json_module.dumps(view.record(), indent=2, ensure_ascii=False))
    elif table:
        print("\n".join([view.title, *as_table(view)]))
    else:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        width = min(WIDEST, shutil.get_terminal_size().columns)
        print_view(view, sys.stdout, colour=colour, width=width)


def _view(
    folder: Path,
    row: int,
    document: int | None,
    split: str,
    tokenizer: Path | None,
    length: int,
    seed: int,
) -> View:
    from exnihilo.tokenizer.tokenizer import Tokenizer
    from exnihilo.tokens import show as views
    from exnihilo.tokens.shards import INDEX

    if (folder / MANIFEST).is_file() and read_manifest(folder)["kind"] == "model":
        from exnihilo.train.pretrain import rows_read

        if document is not None:
            raise ConfigError("--document: a model has read rows; give the token set for its documents")
        return views.row_read(*rows_read(folder), Tokenizer.load(folder), row, str(folder))
    if (folder / INDEX).is_file():
        if tokenizer is not None:
            raise ConfigError("--tokenizer: a token set has its own; leave it out")
        if document is not None:
            return views.documents(folder, split, document)
        return views.document_rows(folder, split, row, length, seed)
    if split != "train":
        raise ConfigError(f"--split: {folder} is no token set; give the file {split}.jsonl itself")
    if tokenizer is None:
        raise ConfigError(f"--tokenizer: {folder} is no token set; give the folder of a model or tokenizer")
    loaded = Tokenizer.load(tokenizer)
    if document is not None:
        return views.conversation(folder, loaded, document)
    return views.conversation_rows(folder, loaded, row, length, seed)

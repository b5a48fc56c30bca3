"""`exnihilo chat`: talk to a model in the terminal or on a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from exnihilo.cli.options import RUNS
from exnihilo.core.errors import ConfigError


def register(app: App) -> None:
    """Add the command to the tree."""
    app.command(chat, group=RUNS)


def chat(
    target: Path,
    /,
    *,
    prompt: Annotated[
        str | None, Parameter(help="answer this once and end; default: read from a pipe")
    ] = None,
    system: Annotated[str | None, Parameter(help="system prompt")] = None,
    temperature: Annotated[float | None, Parameter(help="0 takes the likeliest token; default 0")] = None,
    top_p: Annotated[
        float | None, Parameter(help="draw from the likeliest tokens of this joint share")
    ] = None,
    top_k: Annotated[int | None, Parameter(help="draw from so many of the likeliest tokens")] = None,
    max_new: Annotated[int | None, Parameter(help="longest answer in tokens")] = None,
    seed: Annotated[int | None, Parameter(help="seed of the draws")] = None,
    web: Annotated[
        bool, Parameter(negative="", help="open a page where the models answer side by side")
    ] = False,
    host: Annotated[
        str | None, Parameter(help="address of the page; default 127.0.0.1, this machine only")
    ] = None,
    port: Annotated[
        int | None, Parameter(help="port of the page; in use, the next free one is taken")
    ] = None,
    no_browser: Annotated[
        bool, Parameter(negative="", show_default=False, help="print the page's address only")
    ] = False,
) -> None:
    """Talk to a model, or to the models of a run.

    Parameters
    ----------
    target
        folder of a model or of a run
    """
    talk = {
        "prompt": prompt,
        "system": system,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "max_new": max_new,
        "seed": seed,
    }
    page = {"host": host, "port": port, "no_browser": no_browser or None}
    if web:
        _refuse(talk, "is set on the page; leave it out with --web")
        from exnihilo.serve import app

        app.run_web(
            target,
            host="127.0.0.1" if host is None else host,
            port=app.PORT if port is None else port,
            open_browser=not no_browser,
        )
        return
    _refuse(page, "is for the page; add --web")
    from exnihilo.serve import terminal

    sampling = {key: value for key, value in talk.items() if key not in ("prompt", "system")}
    terminal.chat(target, system=system, sampling=sampling, prompt=prompt)


def _refuse(given: Mapping[str, object], why: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"--{name.replace('_', '-')} {why}")

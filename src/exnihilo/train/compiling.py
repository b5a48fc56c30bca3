"""Whether the blocks of a model are compiled before it is trained."""

from __future__ import annotations

from exnihilo.core.errors import ConfigError
from exnihilo.core.progress import short
from exnihilo.core.workspace import Workspace
from exnihilo.model.compiled import can_compile, compile_blocks
from exnihilo.model.decoder import Decoder
from exnihilo.train.budget import flops_per_token
from exnihilo.train.config import Compile

PAYS_FROM = 2e13
"""FLOPs of a run, about a minute on two cores: a step then takes 0.70 to 0.85 of its time, and compiling for the
first time on a machine takes some 15 s. It is a number of FLOPs and not of seconds, so that a run that is resumed
goes on as it began."""


def compile_where_it_pays(
    model: Decoder, choice: Compile, *, tokens: int, length: int, work: Workspace
) -> None:
    """Compile for a run over so many tokens in rows of `length`, all batches of one shape.

    Raises ConfigError where `choice` is "always" and there is nothing to compile with.
    """
    flops = tokens * flops_per_token(model.config, (length + 1) / 2)
    if choice == "never" or (choice == "auto" and flops < PAYS_FROM):
        return
    if not can_compile():
        if choice == "always":
            raise ConfigError(
                "compile: always, and there is no C++ compiler with OpenMP here; install g++, or leave it at auto"
            )
        work.event(
            "not_compiled", message="there is no C++ compiler with OpenMP here, so blocks run uncompiled"
        )
        return
    compile_blocks(model)
    work.event(
        "compiled",
        message=f"blocks are compiled at the first step, for {short(flops)} FLOPs (some seconds; once on a machine)",
    )

"""What can be set about rollouts, wherever a policy learns from its own answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from exnihilo.align.rewarded import RewardedConfig
from exnihilo.core.config import Config, why

if TYPE_CHECKING:
    from exnihilo.infer.tools import Tool


class ToolsConfig(Config):
    """Tools that an answer may call, in several turns."""

    names: list[Literal["calculator", "python"]] = Field(
        min_length=1,
        description="which: calculator (an expression), python (a program, in the sandbox)",
        json_schema_extra=why(
            "there is no default: a model calls what it was taught to call", example="calculator"
        ),
    )
    calls: int = Field(
        default=4,
        ge=1,
        description="most calls an answer; the turn after the last of them is its end, whatever it says",
        json_schema_extra=why(
            "4: each costs a turn of sampling, which all other answers wait for", example="8"
        ),
    )
    longest: int = Field(
        default=500,
        ge=1,
        description="characters of what a tool says that are read; they count in max_new as tokens",
        json_schema_extra=why(
            "500: more than numbers and short listings need, less than floods a row", example="2000"
        ),
    )
    seconds: float = Field(
        default=5.0,
        gt=0,
        description="most seconds of a program; one that takes longer has failed, and the model is told so",
        json_schema_extra=why(
            "5: as for programs that verifiers run; all answers of a turn wait for the slowest", example="2"
        ),
    )


class RolloutConfig(RewardedConfig):
    """How answers become what is learned from."""

    importance_cap: float = Field(
        default=2.0,
        ge=1,
        description="most that a token counts for being likelier to the trainer than to the sampler that chose it; "
        "where both say the same, every token counts 1",
        json_schema_extra=why(
            "2 (arXiv 2410.18252): what the sampler's rounding biases is undone, and no single token rules a step",
            example="5",
        ),
    )
    tools: ToolsConfig | None = Field(
        default=None,
        description="tools that answers may call; what they say is read, and never trained on",
        json_schema_extra=why(
            "none: a model that was never shown a call makes none", example='\'{"names": ["calculator"]}\''
        ),
    )


def tools_of(config: ToolsConfig | None) -> dict[str, Any]:
    """The settings of a `Sampler` that a section `tools` stands for."""
    from exnihilo.infer.tools import tool

    if config is None:
        return {}
    tools: list[Tool] = [tool(name, seconds=config.seconds) for name in dict.fromkeys(config.names)]
    return {"tools": tools, "calls": config.calls, "longest": config.longest}

"""What can be set about low-rank adapters. Imports no torch."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, field_validator

from exnihilo.core.config import Config, why

Target = Literal[
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head",
    "c_attn", "c_proj", "c_fc",
]  # fmt: skip
"""The linear layers of a decoder, by the names they have in `transformers` and PEFT; the last three are GPT-2's."""

GPT2_TARGETS: list[Target] = ["c_attn", "c_proj", "c_fc"]
BLOCK_TARGETS: list[Target] = [
    target for target in get_args(Target) if target != "lm_head" and target not in GPT2_TARGETS
]


class LoraConfig(Config):
    """Low-rank adapters (LoRA, arXiv 2106.09685): the model stays as it is, and beside the matrices of its linear
    layers small ones are trained."""

    rank: int = Field(
        default=16,
        ge=1,
        description="rows of A and columns of B in W + (alpha / rank)·BA",
        json_schema_extra=why(
            "16, a few percent of the parameters of matrices some hundreds wide; where a model is to learn much that "
            "is new, a higher rank comes nearer to full tuning",
            example="8",
        ),
    )
    alpha: float = Field(
        default=32.0,
        gt=0,
        description="scale of BA, before it is divided by the rank",
        json_schema_extra=why(
            "32, twice the default rank, as is customary; it works like a factor on the learning rate, so one of the "
            "two is enough to tune",
            example="16",
        ),
    )
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of an adapter's inputs that is dropped in training",
        json_schema_extra=why(
            "0: so few parameters seldom need it; 0.05 is customary with small sets of demonstrations",
            example="0.05",
        ),
    )
    targets: list[Target] = Field(
        default=BLOCK_TARGETS,
        min_length=1,
        description="linear layers that get an adapter, in every block; the default is all but the output head "
        "(in GPT-2 c_attn, c_proj and c_fc)",
        json_schema_extra=why(
            "every layer of the blocks: adapters on all of them were needed to match full tuning (QLoRA, arXiv "
            "2305.14314)",
            example="q_proj,v_proj",
        ),
    )
    dora: bool = Field(
        default=False,
        description="also learn the length of each row of W + BA (DoRA, arXiv 2402.09353)",
        json_schema_extra=why(
            "false: it is somewhat better at low ranks in its paper, and each step has W + BA to compute, too"
        ),
    )
    rslora: bool = Field(
        default=False,
        description="divide alpha by the root of the rank (rsLoRA, arXiv 2312.03732)",
        json_schema_extra=why(
            "false, the scale of the first paper; true keeps the size of updates as the rank grows, which tells from "
            "about 64 on"
        ),
    )

    @field_validator("targets")
    @classmethod
    def _once(cls, targets: list[Target]) -> list[Target]:
        if len(set(targets)) != len(targets):
            raise ValueError("a layer is named twice; name each once")
        return targets

    @property
    def scale(self) -> float:
        """What BA is multiplied with."""
        divisor = self.rank**0.5 if self.rslora else self.rank
        return float(self.alpha / divisor)

"""What can be set about answers and their rewards, wherever answers are sampled and rewarded."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from blake3 import blake3
from pydantic import Field, model_validator

from exnihilo.core.config import Config, ModelRef, RewardRef, why

UNSAFE = 0.15
"""Llama 2's threshold: what is safe with less probability is judged by its safety alone (arXiv 2307.09288)."""
SAFETY, CORRECT = "safety", "correct"


class EndpointConfig(Config):
    """A judge behind an OpenAI-compatible endpoint."""

    url: str = Field(
        description="address of the API",
        json_schema_extra=why(
            "there is no default: nothing is sent anywhere unasked", example="http://127.0.0.1:8000/v1"
        ),
    )
    model: str = Field(
        description="the model's name there",
        json_schema_extra=why(
            "there is no default: endpoints call their models what they like", example="judge-8b"
        ),
    )
    key_variable: str = Field(
        default="OPENAI_API_KEY",
        description="environment variable that holds the key, if one is needed; the key is written nowhere",
        json_schema_extra=why("OPENAI_API_KEY, where programs of this kind look for it", example="JUDGE_KEY"),
    )
    concurrency: int = Field(
        default=8,
        ge=1,
        description="questions that are on their way at once",
        json_schema_extra=why("8: more make one's own server faster, and a foreign one refuse", example="32"),
    )
    price_read: float = Field(
        default=0.0,
        ge=0,
        description="price of a million tokens read, in any currency",
        json_schema_extra=why("0: a server of one's own costs nothing a token", example="0.5"),
    )
    price_written: float = Field(
        default=0.0,
        ge=0,
        description="price of a million tokens written",
        json_schema_extra=why("0: a server of one's own costs nothing a token", example="1.5"),
    )
    most_cost: float | None = Field(
        default=None,
        gt=0,
        description="stop when so much was spent; what was answered is kept",
        json_schema_extra=why("open: without prices there is nothing to limit", example="20"),
    )


class SourcesConfig(Config):
    """How rewards of several sources become one.

    Sources are called by the aspects of reward models (`reward` where a model has but one that nobody named), `correct`
    (the questions' verifiers), `grade` (a judge) and `program`.
    """

    rule: Literal["sum", "safety-first"] = Field(
        default="sum",
        description="sum: by weights and gates; safety-first: the reward model's aspect safety where the question is "
        "marked unsafe or the answer is below its gate, else the sum of the others (arXiv 2307.09288)",
        json_schema_extra=why("sum, which any sources can be put into", example="safety-first"),
    )
    unsafe: list[str] = Field(
        default=[],
        description='families whose questions safety-first takes for unsafe, beside those marked "unsafe": true',
        json_schema_extra=why(
            "none: rows of prompts.jsonl may be marked themselves; a family is named where all of its questions are",
            example="scope",
        ),
    )
    weights: dict[str, float] = Field(
        default={},
        description="weight of a source, by its name; naming correct adds the questions' verifiers to others",
        json_schema_extra=why(
            "1 each: reward models are on one scale, of spread 1; verifiers and grades are from 0 to 1",
            example="'{\"correct\": 2}'",
        ),
    )
    gates: dict[str, float] = Field(
        default={},
        description="a source below its gate counts alone: nothing makes up for it; of safety-first a probability",
        json_schema_extra=why(
            "none; safety-first takes 0.15 for safety, as Llama 2 did (arXiv 2307.09288)",
            example="'{\"correct\": 0.5}'",
        ),
    )
    several: Literal["mean", "least"] = Field(
        default="mean",
        description="of several reward models of one aspect, their mean or the least, which is harder to deceive",
        json_schema_extra=why(
            "mean: the least of several costs reward where they are merely unsure", example="least"
        ),
    )
    whiten: bool = Field(
        default=False,
        description="rewards of answers that are sampled together get mean 0 and deviation 1",
        json_schema_extra=why(
            "false; Llama 2's PPO did so, which makes beta mean the same for any reward (arXiv 2307.09288)"
        ),
    )
    endpoint: EndpointConfig | None = Field(
        default=None,
        description="a judge behind an endpoint grades answers from 0 to 1, or abstains",
        json_schema_extra=why(
            "none: nothing is sent anywhere unless it is asked for in so many words",
            example='\'{"url": "http://127.0.0.1:8000/v1", "model": "judge-8b"}\'',
        ),
    )
    program: Path | None = Field(
        default=None,
        description="a Python file whose grade(item, answer) gives a number, or None where it can't say; it is run "
        "here, not in the sandbox",
        json_schema_extra=why("none: verifiers say what most programs would", example="./grade.py"),
    )
    criteria: str = Field(
        default="how well it does what was asked: right, complete, to the point",
        min_length=1,
        description='what a judge is asked to judge: completes "Judge …"',
        json_schema_extra=why("what most answers are wanted for", example="'how safe it is'"),
    )

    @model_validator(mode="after")
    def _gate_is_a_probability(self) -> SourcesConfig:
        if self.rule == "safety-first" and not 0 < self.gates.get(SAFETY, UNSAFE) < 1:
            raise ValueError(f"gates.{SAFETY}: with safety-first it is a probability, above 0 and below 1")
        if self.unsafe and self.rule != "safety-first":
            raise ValueError(
                "unsafe: only the rule safety-first tells unsafe questions apart; give it, or drop them"
            )
        return self


class RewardedConfig(Config):
    """Which questions are answered, how answers are sampled, and who rewards them."""

    families: list[str] | None = Field(
        default=None,
        description="families of questions to answer; none: all in prompts.jsonl",
        json_schema_extra=why(
            "open, all: name those that the model gets right now and then, since a family that is always wrong or "
            "always right gives no signal",
            example="arithmetic,sequence",
        ),
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        description="of sampling; 1 is the distribution that is trained",
        json_schema_extra=why(
            "1: what is sampled is then exactly what is trained, and the probability ratios begin at 1",
            example="0.8",
        ),
    )
    max_new: int = Field(
        default=128,
        ge=1,
        description="longest answer in tokens",
        json_schema_extra=why(
            "128 hold a worked answer; an answer that is cut off is judged as it stands, so too small a limit punishes "
            "steps",
            example="96",
        ),
    )
    reward: RewardRef | list[RewardRef] | None = Field(
        default=None,
        description="reward models that judge answers, one or several (the critic of ppo starts from the first); none: "
        "the questions' verifiers, or whoever else is named",
        json_schema_extra=why(
            "open, the verifiers, where questions have them: a reward that can be checked is harder to deceive",
            example="runs/mine/reward",
        ),
    )
    judge: ModelRef | None = Field(
        default=None,
        description="a model that grades answers from 0 to 1",
        json_schema_extra=why(
            "none: a model as small as the one that is trained grades at random", example="runs/big/model"
        ),
    )
    force_reward: bool = Field(
        default=False,
        description="use a reward model that failed its report card",
        json_schema_extra=why(
            "false: what does not know the better answer teaches to please it, and nothing else"
        ),
    )
    rewards: SourcesConfig = Field(
        default=SourcesConfig(), description="how rewards of several sources become one"
    )

    @model_validator(mode="after")
    def _one_judge(self) -> RewardedConfig:
        if self.judge is not None and self.rewards.endpoint is not None:
            raise ValueError("judge and rewards.endpoint both grade answers; give one")
        return self

    @property
    def verified(self) -> bool:
        """Whether questions need verifiers: where they are named, or nobody else is."""
        other = (self.reward, self.judge, self.rewards.endpoint, self.rewards.program)
        return CORRECT in (*self.rewards.weights, *self.rewards.gates) or not any(other)


def external(config: RewardedConfig) -> str:
    """What a result depends on outside of any artifact: the text of the program that rewards."""
    program = config.rewards.program
    return blake3(program.read_bytes()).hexdigest() if program is not None and program.is_file() else ""

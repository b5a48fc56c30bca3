"""The stage `grpo`: reinforcement learning with group-relative advantages, from verifiers or a reward model.

A model samples several answers to each question, a verifier says which are right or a reward model how good they are,
and every answer is made more or less likely by how much better it did than its siblings (arXiv 2402.03300), held near
the starting model by a KL penalty. No demonstration is needed, only questions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from exnihilo.align.rewarded import EndpointConfig, external
from exnihilo.align.rollout_config import RolloutConfig, tools_of
from exnihilo.align.watch_config import GOLD, GOLD_WHY, SECOND, SECOND_WHY, WATCH, WatchConfig
from exnihilo.core.config import ExamplesRef, ModelRef, RewardRef, why
from exnihilo.core.errors import Refused
from exnihilo.core.stage import Inputs, Stage
from exnihilo.model.lora_config import LoraConfig
from exnihilo.train.config import (
    LORA,
    LORA_WHY,
    FitConfig,
    OptimizerConfig,
    ScheduleConfig,
    adapter_rate,
    check_sampled,
)

if TYPE_CHECKING:
    from exnihilo.align.responses import Response
    from exnihilo.core.workspace import Workspace
    from exnihilo.tokenizer.tokenizer import Tokenizer
    from exnihilo.tokens.packing import ConversationRows

RATE, ADAPTER_SHARE = 0.004, 0.25
"""Default learning rates: of the matrices, with Muon; of low-rank adapters, as a share of what sft takes."""
UNENDED = 1.0
"""What an answer that was cut off loses with a reward model, in standard deviations of its scores, as for ppo."""


class GrpoConfig(RolloutConfig, FitConfig):
    """Group-relative policy optimisation on questions with a verifier."""

    model: ModelRef = Field(
        description="instruction-tuned model to start from; it is also the KL's reference",
        json_schema_extra=why(
            "there is no default: rewards only sharpen what a model already does now and then",
            example="runs/mine/sft",
        ),
    )
    examples: ExamplesRef = Field(
        description="artifact whose prompts.jsonl holds the questions to answer, with verifiers unless reward is given",
        json_schema_extra=why(
            "there is no default: it is what is to be answered well",
            example="runs/mine/questions",
        ),
    )
    second: list[RewardRef] = Field(default=[], description=SECOND, json_schema_extra=SECOND_WHY)
    gold: RewardRef | None = Field(default=None, description=GOLD, json_schema_extra=GOLD_WHY)
    watch: WatchConfig = Field(default=WatchConfig(), description=WATCH)
    prompts: int = Field(
        default=16,
        ge=1,
        description="questions a step",
        json_schema_extra=why(
            "16 questions of 8 answers are 128 samples: on two cores a step of short answers takes one "
            "or two seconds",
            example="24",
        ),
    )
    group: int = Field(
        default=8,
        ge=2,
        description="answers sampled to each question",
        json_schema_extra=why(
            "8: the group's mean is the baseline of each answer; fewer make it noisier, more take time "
            "in proportion",
            example="16",
        ),
    )
    length: int = Field(
        default=256,
        ge=2,
        description="row length in tokens",
        json_schema_extra=why(
            "256 hold a question and an answer of 128, or several short ones. Answers to a question that stand in one "
            "row share it, so that rows of a whole group are faster; they may be longer than the model's context",
            example="1024",
        ),
    )
    beta: float = Field(
        default=0.05,
        ge=0,
        description="weight of the KL to the reference",
        json_schema_extra=why(
            "0.05 keeps the policy near its start; at 0.02, beside an anchor, the quickstart's moved "
            "by about 0.06 nats a token in 40 steps. 0 lets it go wherever the reward leads",
            example="0.02",
        ),
    )
    anchor: float = Field(
        default=0.0,
        ge=0,
        description="weight of the KL to the reference on demonstrations of the families that are not trained on, "
        "token by token against the response tokens; keeps them as they are",
        json_schema_extra=why(
            "0, since it needs demonstrations of other families. Without it families that no reward "
            "touched lost up to 14 points in the quickstart, with it at most 2 (docs/decisions/0003, "
            "one seed)",
            example="30",
        ),
    )
    anchor_rows: int = Field(
        default=4,
        ge=1,
        description="rows of such demonstrations a step",
        json_schema_extra=why(
            "4 rows are a small part of a step's tokens beside 128 answers; more hold tighter and cost time",
            example="6",
        ),
    )
    clip_low: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="how far a probability may fall in one step",
        json_schema_extra=why(
            "0.2 is PPO's (arXiv 1707.06347): beyond it an answer's probability is not lowered further "
            "in this step",
            example="0.1",
        ),
    )
    clip_high: float = Field(
        default=0.28,
        gt=0,
        description="how far it may rise (arXiv 2503.14476)",
        json_schema_extra=why(
            "0.28, a little more than below: rare right answers may rise, which keeps the policy from "
            "settling too early (arXiv 2503.14476)",
            example="0.2",
        ),
    )
    scale: bool = Field(
        default=True,
        description="divide advantages by the group's standard deviation",
        json_schema_extra=why(
            "true, as GRPO was published (arXiv 2402.03300): questions count alike however spread "
            "their rewards are; false lets those that divide the answers most count more (arXiv "
            "2503.20783)"
        ),
    )
    staleness: int = Field(
        default=0,
        ge=0,
        description="steps that the weights an answer was sampled from may be older than those it trains; above 0 "
        "answers for the next steps are sampled while a step is taken",
        json_schema_extra=why(
            "0, each step learns from the policy as it is: on one device sampling ahead takes the time from the step "
            "beside it",
            example="2",
        ),
    )
    server: EndpointConfig | None = Field(
        default=None,
        description="an OpenAI-compatible server that samples the answers; it serves model, and goes on doing so, so "
        "that answers grow as stale as there are steps",
        json_schema_extra=why(
            "none: answers are sampled here, from the policy as it is",
            example='\'{"url": "http://127.0.0.1:8000/v1", "model": "sft"}\'',
        ),
    )
    lora: LoraConfig | None = Field(default=None, description=LORA, json_schema_extra=LORA_WHY)
    # A policy's loss hovers around zero: an outlier of it is no sign of a bad batch.
    outlier_sigma: float | None = Field(
        default=None,
        gt=0,
        description="as in pretraining; off by default",
        json_schema_extra=why(
            "off: a policy's loss hovers around zero, and an outlier of it is no sign of a bad batch",
            example="6",
        ),
    )
    optimizer: OptimizerConfig = Field(
        default=OptimizerConfig(lr_embedding=0.0005),
        description="optimizer and learning rates",
        json_schema_extra={
            "whys": {
                "lr": "open, 0.004, a fifth of pretraining's: gradients of rewards are noisy, and the model is to"
                " stay what it is; with lora a quarter of sft's",
                "lr_embedding": "0.0005, an eighth of pretraining's: embeddings serve all text, and rewards see a few"
                " answers of it",
            }
        },
    )
    schedule: ScheduleConfig = Field(
        default=ScheduleConfig(warmup=0.05),
        description="learning rate over the run",
        json_schema_extra={
            "whys": {
                "warmup": "a twentieth: runs have some dozens of steps, of which a fiftieth would be no warm-up"
                " at all"
            }
        },
    )

    @model_validator(mode="after")
    def _samples_what_it_trains(self) -> GrpoConfig:
        check_sampled(self.lora)
        if self.server is not None and self.tools is not None:
            raise ValueError("server: it would encode what a tool said anew; tools need answers sampled here")
        if self.server is not None and self.second:
            raise ValueError(
                "second: it watches what the policy has learned to say, and a server's answers stay those of the start"
            )
        if self.server is not None and self.steps is not None and self.steps > self.staleness + 1:
            raise ValueError(
                f"staleness: a server's weights are {self.steps - 1} steps old at the last of {self.steps} steps; give "
                "at least that, or fewer steps, and serve what they made for the next"
            )
        return self


def grpo(config: GrpoConfig, inputs: Inputs, work: Workspace) -> None:
    """Write the aligned model's folder. Refused where no prompt has a verifier and no reward model is given, and for
    one that failed its card, or of another tokenizer."""
    from exnihilo.align.questions import read_prompts
    from exnihilo.align.responses import Sampler
    from exnihilo.align.reward_sources import endpoint_of, reward_sources
    from exnihilo.align.rewards import Unended
    from exnihilo.align.rollouts import Rollouts
    from exnihilo.align.staleness import StaleRollouts
    from exnihilo.align.watch import watch
    from exnihilo.core.seeds import derive
    from exnihilo.model.adapter_folder import save_tuned
    from exnihilo.model.adapters import add_lora
    from exnihilo.model.folder import load_model, load_with_tokenizer
    from exnihilo.model.precision import resolve_precision
    from exnihilo.objectives.policy import PolicyGradient
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.train import distributed
    from exnihilo.train.checkpoint import oldest
    from exnihilo.train.fit import fit

    start, examples = inputs["model"], inputs["examples"]
    assert isinstance(start, Path) and isinstance(examples, Path)
    items, wanted = read_prompts(examples, config.families, verified=config.verified)
    model, tokenizer = load_with_tokenizer(start, distributed.device())
    # Rows may be longer than the context, what is in them not.
    room = min(config.length, model.config.max_length)
    if config.lora is None:
        reference = load_model(start, distributed.device()).requires_grad_(False).eval()
    else:  # without its adapters the policy is where it started: no second copy is needed
        add_lora(model, config.lora, derive(work.seed, "lora"))
        reference = model
    Renderer(tokenizer).check()
    rewards = reward_sources(config, inputs, tokenizer, work)
    unended = UNENDED if inputs.get("reward") else 0.0
    watched, early_stop = watch(
        config.watch, inputs, work, tokenizer, items, rollouts=config.steps or 1, unended=unended
    )

    def record(
        step: int, responses: list[Response], given: list[float | None], figures: dict[str, float]
    ) -> None:
        work.metric(step=step, **figures, **watched.figures(responses))
        if step == 1 or step % 10 == 0:
            for response, reward in list(zip(responses, given, strict=True))[
                : 2 * config.group : config.group
            ]:
                question = response.item["messages"][-1]["content"]
                work.sample(step=step, prompt=question, text=response.text, reward=reward)

    sampler = Sampler(
        items,
        tokenizer,
        prompts=config.prompts,
        group=config.group,
        temperature=config.temperature,
        max_new=config.max_new,
        length=room,
        seed=work.seed,
        **tools_of(config.tools),
        server=None if config.server is None else endpoint_of(config.server),
    )
    rollouts = Rollouts(
        sampler,
        reference,
        Unended(rewards.source, unended),
        length=config.length,
        scale=config.scale,
        anchor=_anchor(config, examples, wanted, tokenizer, room, work) if config.anchor else None,
        anchor_weight=config.anchor,
        record=record,
        reward_figures=rewards.figures,
        dtype=resolve_precision(config.precision, model.embedding.weight.device),
    )
    objective = PolicyGradient(
        config.beta, config.clip_low, config.clip_high, reference, config.importance_cap
    )
    fitted = _with_rate(config, model.config.width)
    if config.staleness and config.server is None:
        with StaleRollouts(
            rollouts,
            staleness=config.staleness,
            steps=fitted.steps or 0,
            folder=work.checkpoints / "rollouts",
            oldest_step=lambda: oldest(work.checkpoints),
        ) as ahead:
            result = fit(model, objective, ahead, fitted, work, watch=early_stop)
    else:
        result = fit(model, objective, rollouts, fitted, work, watch=early_stop)
    save_tuned(model, start, work.path)
    work.summary.update(result.summary())
    work.lines.append(f"{result.steps} steps of {config.prompts} questions × {config.group} answers")
    work.lines += rewards.told()


def _with_rate(config: GrpoConfig, width: int) -> GrpoConfig:
    """The config with the learning rate that it leaves open."""
    if config.optimizer.lr is not None:
        return config
    lr = RATE if config.lora is None else ADAPTER_SHARE * adapter_rate(width)
    return config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"lr": lr})})


def _anchor(
    config: GrpoConfig, examples: Path, trained: set[str], tokenizer: Tokenizer, room: int, work: Workspace
) -> ConversationRows:
    """Packed demonstrations of the families that rewards don't train, cut between turns to parts of `room` tokens."""
    from exnihilo.core.seeds import derive
    from exnihilo.examples.encode import Parts, encode_parts
    from exnihilo.examples.formats import read_conversations
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.tokens.packing import ConversationRows

    renderer = Renderer(tokenizer)
    rows = read_conversations(examples / "train.jsonl")
    others = [
        row.conversation
        for row in rows
        if row.conversation and row.conversation.meta.get("family") not in trained
    ]
    cut = [encode_parts(conversation, renderer, room + 1) for conversation in others]
    pairs = [(part.ids, part.weights) for one in cut if isinstance(one, Parts) for part in one.parts]
    if not pairs:
        raise Refused(f"{examples}: no demonstrations of other families to anchor to; set anchor to 0")
    seed = derive(work.seed, "anchor")
    return ConversationRows(pairs, config.anchor_rows, config.length, seed, pad=tokenizer.pad)


STAGE = Stage("grpo", "model", GrpoConfig, grpo, "reinforcement learning with verifiable rewards", external)

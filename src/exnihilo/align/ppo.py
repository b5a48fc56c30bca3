"""The stage `ppo`: reinforcement learning from a reward model, with a critic and a KL penalty (arXiv 2203.02155)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from exnihilo.align.rewarded import external
from exnihilo.align.rollout_config import RolloutConfig, tools_of
from exnihilo.align.watch_config import GOLD, GOLD_WHY, SECOND, SECOND_WHY, WATCH, WatchConfig
from exnihilo.core.config import ExamplesRef, ModelRef, RewardRef, TokensRef, why
from exnihilo.core.errors import ConfigError
from exnihilo.core.stage import Inputs, Stage
from exnihilo.model.lora_config import LoraConfig
from exnihilo.train.config import (
    LORA,
    LORA_WHY,
    FitConfig,
    OptimizerConfig,
    ScheduleConfig,
    adapter_rate,
    check_length,
    check_sampled,
    open_rates,
)

if TYPE_CHECKING:
    from exnihilo.align.responses import Response
    from exnihilo.align.rewards import RewardSource
    from exnihilo.core.workspace import Workspace

RATE, RATE_EMBEDDING, ADAPTER_SHARE = 0.002, 0.0003, 0.1
"""Default learning rates, of policy and critic; of low-rank adapters, as a share of what sft takes."""


class PPOConfig(RolloutConfig, FitConfig):
    """Proximal policy optimisation against reward models, verifiers or judges."""

    model: ModelRef = Field(
        description="instruction-tuned model to start from; it is also the KL's reference",
        json_schema_extra=why(
            "there is no default: rewards only sharpen what a model already does now and then",
            example="runs/mine/sft",
        ),
    )
    examples: ExamplesRef = Field(
        description="artifact whose prompts.jsonl holds the questions to answer",
        json_schema_extra=why(
            "there is no default: it is what is to be answered well", example="runs/mine/questions"
        ),
    )
    second: list[RewardRef] = Field(default=[], description=SECOND, json_schema_extra=SECOND_WHY)
    gold: RewardRef | None = Field(default=None, description=GOLD, json_schema_extra=GOLD_WHY)
    watch: WatchConfig = Field(default=WatchConfig(), description=WATCH)
    prompts: int = Field(
        default=64,
        ge=1,
        description="questions a rollout, of one answer each",
        json_schema_extra=why(
            "64: advantages are whitened over a rollout, which wants some thousand tokens", example="128"
        ),
    )
    epochs: int = Field(
        default=1,
        ge=1,
        description="times that a rollout is learned from",
        json_schema_extra=why(
            "1, as for InstructGPT (arXiv 2203.02155); more use a rollout better, and leave it further behind",
            example="4",
        ),
    )
    parts: int = Field(
        default=2,
        ge=1,
        description="steps that each time is split into",
        json_schema_extra=why("2 steps a rollout: sampling takes longer than a step", example="4"),
    )
    unended: float = Field(
        default=1.0,
        ge=0,
        description="what is taken from the reward of an answer that the policy did not end itself",
        json_schema_extra=why(
            "1, a standard deviation of a reward model's scores: being cut off never pays, whatever the sign of the "
            "reward",
            example="0",
        ),
    )
    length: int = Field(
        default=256,
        ge=2,
        description="row length in tokens",
        json_schema_extra=why(
            "256 hold a question and an answer of 128; several answers share a row", example="512"
        ),
    )
    beta: float = Field(
        default=0.05,
        ge=0,
        description="weight of the KL to the reference in the reward, at the beginning",
        json_schema_extra=why(
            "0.05, a little more than the 0.02 of arXiv 2203.02155: small models move fast", example="0.02"
        ),
    )
    target_kl: float | None = Field(
        default=None,
        gt=0,
        description="nats a sequence that beta is steered to (arXiv 1909.08593); none: beta stays",
        json_schema_extra=why("open, beta stays: one thing less that changes on the way", example="6"),
    )
    horizon: int = Field(
        default=10_000,
        ge=1,
        description="answers after which a KL twice its target has raised beta by a factor of 1.2",
        json_schema_extra=why(
            "10,000, as in arXiv 1909.08593; runs of a few thousand answers want less", example="1000"
        ),
    )
    gamma: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="discount a token",
        json_schema_extra=why("1: an answer is not worse for being longer (arXiv 1909.08593)"),
    )
    lam: float = Field(
        default=0.95,
        ge=0,
        le=1,
        description="decay of generalised advantages (arXiv 1506.02438)",
        json_schema_extra=why("0.95, as in arXiv 1909.08593 and since"),
    )
    clip_ratio: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="how far a token's probability may move before its gradient stops",
        json_schema_extra=why(
            "0.2, as PPO was published and is used since (arXiv 1707.06347)", example="0.1"
        ),
    )
    clip_value: float | None = Field(
        default=0.2,
        gt=0,
        description="how far a value may move likewise; none: as far as it likes",
        json_schema_extra=why(
            "0.2, as for the policy, and as InstructGPT took it (arXiv 2203.02155)", example="0.5"
        ),
    )
    value_weight: float = Field(
        default=0.1,
        ge=0,
        description="weight of the critic's loss",
        json_schema_extra=why(
            "0.1 (arXiv 1909.08593); policy and critic share no weights, but a clipping norm"
        ),
    )
    ptx: TokensRef | None = Field(
        default=None,
        description="token set whose text is trained beside the rewards, against forgetting (arXiv 2203.02155)",
        json_schema_extra=why("open: it costs rows in each step", example="runs/mine/tokens"),
    )
    ptx_weight: float = Field(
        default=0.5,
        ge=0,
        description="what a token of that text counts for, beside an answer's",
        json_schema_extra=why("0.5, tried nowhere yet: InstructGPT took 27.8 with other units", example="1"),
    )
    ptx_rows: int = Field(
        default=2,
        ge=1,
        description="rows of that text in each step",
        json_schema_extra=why("2 rows beside some ten of answers", example="4"),
    )
    lora: LoraConfig | None = Field(default=None, description=LORA, json_schema_extra=LORA_WHY)
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
        default=OptimizerConfig(),
        description="optimizer and learning rates, of policy and critic",
        json_schema_extra={
            "whys": {
                "lr": "open, 0.002, a tenth of pretraining's: gradients of rewards are noisy; with lora a tenth of "
                "sft's",
                "lr_embedding": "open, 0.0003: embeddings serve all text, and rewards see a few answers of it",
            }
        },
    )
    schedule: ScheduleConfig = Field(
        default=ScheduleConfig(warmup=0.05),
        description="learning rate over the run",
        json_schema_extra={"whys": {"warmup": "a twentieth: runs have some dozens of steps"}},
    )

    @model_validator(mode="after")
    def _whole_rollouts_of_what_is_trained(self) -> PPOConfig:
        each = self.epochs * self.parts
        if self.steps is not None and self.steps % each:
            raise ValueError(
                f"steps: {self.steps} are no whole number of rollouts, each of which takes {each}; "
                f"give {self.steps - self.steps % each or each}"
            )
        check_sampled(self.lora)
        return self


def run(config: PPOConfig, inputs: Inputs, work: Workspace, *, gold: RewardSource | None = None) -> None:
    """Write the aligned model's folder; a `gold` reward is watched in place of the config's.

    Refused for a reward model that failed its card, or of another tokenizer.
    """
    import torch

    from exnihilo.align.kl_control import KLControl
    from exnihilo.align.ppo_rollouts import PPORollouts
    from exnihilo.align.questions import read_prompts
    from exnihilo.align.responses import Sampler
    from exnihilo.align.reward_sources import folders, reward_sources
    from exnihilo.align.rewards import Unended
    from exnihilo.align.watch import watch
    from exnihilo.core.seeds import derive
    from exnihilo.model.actor_critic import ActorCritic
    from exnihilo.model.adapter_folder import save_tuned
    from exnihilo.model.adapters import add_lora
    from exnihilo.model.folder import load_model, load_with_tokenizer
    from exnihilo.model.precision import resolve_precision
    from exnihilo.model.scorer import Scorer
    from exnihilo.model.scorer_folder import load_scorer
    from exnihilo.objectives.ppo import ClippedPolicyAndValue
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.tokens.sampler import DocumentRows
    from exnihilo.tokens.shards import TokenSet
    from exnihilo.train import distributed
    from exnihilo.train.checkpoint import oldest
    from exnihilo.train.fit import fit

    if config.steps is None:
        raise ConfigError("steps: not given; say how many optimizer steps to train")
    start, examples = inputs["model"], inputs["examples"]
    assert isinstance(start, Path) and isinstance(examples, Path)
    items, _ = read_prompts(examples, config.families, verified=config.verified)
    device = distributed.device()
    policy, tokenizer = load_with_tokenizer(start, device)
    check_length(config.length, policy.config.max_length)
    Renderer(tokenizer).check()
    rewards = reward_sources(config, inputs, tokenizer, work)
    judges = folders(inputs, "reward")
    torch.manual_seed(derive(work.seed, "critic"))
    critic = Scorer(load_scorer(judges[0])[0].decoder if judges else load_model(start)).to(device)
    with torch.no_grad():
        critic.output.weight.zero_()  # what answers are worth is learned from nothing, and not from scores elsewhere
    adapters = None
    if config.lora is None:
        reference = load_model(start, device).requires_grad_(False).eval()
    else:  # without its adapters the policy is where it started; the critic has its own, and its head in full
        adapters = ADAPTER_SHARE * adapter_rate(policy.config.width)
        add_lora(policy, config.lora, derive(work.seed, "lora"))
        add_lora(critic.decoder, config.lora, derive(work.seed, "critic's lora"))
        reference = policy
    optimizer = open_rates(config.optimizer, RATE, RATE_EMBEDDING, adapters)
    settings = config.model_copy(update={"optimizer": optimizer})
    model = ActorCritic(policy, critic)
    each = config.epochs * config.parts
    watched, early_stop = watch(
        config.watch, inputs, work, tokenizer, items, rollouts=config.steps // each, steps_per_rollout=each,
        unended=config.unended, gold=gold,
    )  # fmt: skip

    def record(
        step: int, responses: list[Response], given: list[float | None], figures: dict[str, float]
    ) -> None:
        work.metric(step=step, **figures, **rewards.figures(), **watched.figures(responses))
        for response, reward in list(zip(responses, given, strict=True))[:2]:
            question = response.item["messages"][-1]["content"]
            work.sample(step=step, prompt=question, text=response.text, reward=reward)

    text = None
    if isinstance(inputs.get("ptx"), Path):
        tokens = TokenSet.open(inputs["ptx"])  # type: ignore[arg-type]
        tokens.check_tokenizer(tokenizer)
        text = DocumentRows([tokens], None, config.ptx_rows, config.length, derive(work.seed, "ptx"))
    sampler = Sampler(
        items, tokenizer, prompts=config.prompts, group=1, temperature=config.temperature, max_new=config.max_new,
        length=config.length, seed=work.seed, **tools_of(config.tools),
    )  # fmt: skip
    source = PPORollouts(
        sampler,
        Unended(rewards.source, config.unended),
        reference,
        KLControl(config.beta, config.target_kl, config.horizon),
        length=config.length,
        epochs=config.epochs,
        parts=config.parts,
        gamma=config.gamma,
        lam=config.lam,
        importance_cap=config.importance_cap,
        dtype=resolve_precision(config.precision, policy.embedding.weight.device),
        folder=work.checkpoints / "rollouts",
        ptx=text,
        ptx_weight=config.ptx_weight,
        oldest_step=lambda: oldest(work.checkpoints),
        record=record,
    )
    objective = ClippedPolicyAndValue(config.clip_ratio, config.clip_value, config.value_weight)
    result = fit(model, objective, source, settings, work, watch=early_stop)
    save_tuned(policy, start, work.path)
    work.summary.update(result.summary())
    work.lines.append(
        f"{result.steps // source.steps_per_rollout} rollouts of {config.prompts} answers, each learned from in "
        f"{source.steps_per_rollout} steps"
    )
    work.lines += rewards.told()


STAGE = Stage("ppo", "model", PPOConfig, run, "Reinforcement learning from a reward model (PPO).", external)

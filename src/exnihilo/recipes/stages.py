"""The table of verbs: which stage a recipe's `do:` and a command of the same name stand for."""

from __future__ import annotations

from collections.abc import Callable

from exnihilo.core.config import nearest
from exnihilo.core.errors import ConfigError
from exnihilo.core.stage import Stage


def _collect() -> Stage:
    from exnihilo.corpus import collect

    return collect.STAGE


def _curate() -> Stage:
    from exnihilo.corpus import curate

    return curate.STAGE


def _tokenizer() -> Stage:
    from exnihilo.tokenizer import train

    return train.STAGE


def _tokenize() -> Stage:
    from exnihilo.tokens import tokenize

    return tokenize.STAGE


def _python_world() -> Stage:
    from exnihilo.synth import python_world

    return python_world.STAGE


def _word_problems() -> Stage:
    from exnihilo.synth import word_problems

    return word_problems.STAGE


def _stories() -> Stage:
    from exnihilo.synth import stories

    return stories.STAGE


def _pretrain() -> Stage:
    from exnihilo.train import pretrain

    return pretrain.STAGE


def _sft() -> Stage:
    from exnihilo.train import sft

    return sft.STAGE


def _grpo() -> Stage:
    from exnihilo.align import grpo

    return grpo.STAGE


def _reward() -> Stage:
    from exnihilo.align import reward

    return reward.STAGE


def _dpo() -> Stage:
    from exnihilo.align import dpo

    return dpo.STAGE


def _ppo() -> Stage:
    from exnihilo.align import ppo

    return ppo.STAGE


def _rejection() -> Stage:
    from exnihilo.align import rejection

    return rejection.STAGE


def _conversations() -> Stage:
    from exnihilo.examples import part

    return part.STAGE


def _import() -> Stage:
    from exnihilo.model import importing

    return importing.STAGE


def _export() -> Stage:
    from exnihilo.model import exporting

    return exporting.STAGE


def _merge() -> Stage:
    from exnihilo.model import merge

    return merge.STAGE


def _evaluate() -> Stage:
    from exnihilo.evaluate import evaluate

    return evaluate.STAGE


VERBS: dict[str, Callable[[], Stage]] = {
    "collect": _collect,
    "curate": _curate,
    "tokenizer": _tokenizer,
    "tokenize": _tokenize,
    "python-world": _python_world,
    "word-problems": _word_problems,
    "stories": _stories,
    "conversations": _conversations,
    "pretrain": _pretrain,
    "sft": _sft,
    "grpo": _grpo,
    "reward": _reward,
    "dpo": _dpo,
    "ppo": _ppo,
    "rejection": _rejection,
    "merge": _merge,
    "import": _import,
    "export": _export,
    "evaluate": _evaluate,
}
"""Each stage is imported when it is first asked for, so that a command pays for its own verb only."""


def find(verb: str) -> Stage:
    """The stage of a verb. Raises ConfigError with the nearest verb."""
    if verb in VERBS:
        return VERBS[verb]()
    near = nearest(verb.replace("_", "-"), list(VERBS)) or nearest(verb, list(VERBS))
    hint = f"did you mean {near}?" if near else f"allowed: {', '.join(VERBS)}"
    raise ConfigError(f"unknown verb {verb!r}; {hint}")

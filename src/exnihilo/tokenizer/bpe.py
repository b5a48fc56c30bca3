"""Training of a byte-level BPE vocabulary (arXiv 1508.07909, on bytes as in GPT-2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.tokenizer.pre_tokenisation import QWEN2, PreTokenisation
from exnihilo.tokenizer.special import BOS, END, PAD, SPECIALS
from exnihilo.tokenizer.tokenizer import Tokenizer

SMALLEST = len(SPECIALS) + 256
"""The special tokens and the 256 bytes: a vocabulary without a single merge."""

MOST_BYTES = 2**31 - 1
"""The trainer counts pairs in 32 bits, and a text of n bytes holds fewer than n pairs."""


def train_tokenizer(
    texts: Iterable[str], vocabulary: int, pre_tokenisation: PreTokenisation = QWEN2
) -> Tokenizer:
    """Learn merges until there are `vocabulary` ids: special tokens, then 256 bytes, then merges.

    Ties between equally frequent pairs go to the pair with the lowest ids. A pair seen once is not merged, so
    the vocabulary is smaller where the text has too few repeated pairs: look at `vocab_size`. The same texts,
    in any order, give the same file, byte for byte.

    `pre_tokenisation` says where pairs may not reach across. Another than the default is not known to programs
    that go by a pattern's name instead of `tokenizer.json`, such as llama.cpp.

    Raises ConfigError for a vocabulary under 264, Refused for no text and for 2 GiB or more.
    """
    if vocabulary < SMALLEST:
        raise ConfigError(
            f"vocabulary: {vocabulary} is too small; special tokens and bytes alone are {SMALLEST}"
        )
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pre_tokenisation.pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in SPECIALS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_counted(texts), trainer)
    return new_tokenizer(backend)


def new_tokenizer(backend: tokenizers.Tokenizer, unknown: str | None = None) -> Tokenizer:
    """A vocabulary just trained, with the roles of `SPECIALS`, the default chat template, and the token `unknown` in
    the role of what it has no token of."""
    config = _CONFIG if unknown is None else {**_CONFIG, "unk_token": unknown}
    return Tokenizer(backend, config=config, template=default_template())


def byte_tokenizer() -> Tokenizer:
    """A tokenizer of the special tokens and bytes alone: enough to show how conversations are rendered."""
    return train_tokenizer([" "], SMALLEST)


def default_template() -> str:
    """The chat template that a new tokenizer gets."""
    return (files("exnihilo.tokenizer") / "chat_template.jinja").read_text(encoding="utf-8")


def _counted(texts: Iterable[str]) -> Iterator[str]:
    total = 0
    for text in texts:
        total += len(text.encode("utf-8"))
        if total > MOST_BYTES:
            raise Refused("training a tokenizer takes less than 2 GiB of text; give sample_bytes")
        yield text
    if total == 0:
        raise Refused("no text to train a tokenizer on; look at what the corpus holds")


_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": BOS,
    # The end of a turn, not of a document: programs that stop on this one token alone must stop after an
    # answer. Both ends are in a model's generation_config.json.
    "eos_token": END,
    "pad_token": PAD,
    "additional_special_tokens": [name for name in SPECIALS if name not in (BOS, END, PAD)],
    "model_max_length": 10**30,
    "clean_up_tokenization_spaces": False,
    "add_bos_token": False,
    "add_eos_token": False,
}

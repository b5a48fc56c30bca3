"""Training of a Unigram vocabulary (arXiv 1804.10959) with SentencePiece (arXiv 1808.06226)."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator

from exnihilo.core.errors import ConfigError, MissingExtra, Refused
from exnihilo.tokenizer.bpe import new_tokenizer
from exnihilo.tokenizer.sentencepiece_model import backend_of
from exnihilo.tokenizer.special import ASSISTANT, BOS, END, EOS, PAD, SYSTEM, TOOL, USER
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokenizer.words import UNKNOWN

LONGEST_SENTENCE = 4192
"""In bytes. SentencePiece drops longer ones and says so only in its log (tok-4)."""

_RESERVED = "▅"
"""SentencePiece drops every sentence with this character, its own sign for what is unknown."""

_FIXED = 8 + 1 + 256


def train_unigram(
    texts: Iterable[str],
    vocabulary: int,
    *,
    split_digits: bool = True,
    coverage: float = 0.9995,
    tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> Tokenizer:
    """Learn pieces until there are `vocabulary` ids: special tokens, the unknown token, 256 bytes, pieces by score.

    Nothing is normalised, no space is put before a text, and none is taken away. What no piece spells is bytes, so
    that every text comes back, but for U+2581, SentencePiece's sign for a space, which comes back as one. The
    vocabulary is smaller where the text has too few pieces. The same texts, in any order, give the same file.

    split_digits: each digit is a piece by itself.
    coverage: the share of all characters that get a piece, the most frequent ones first.
    tell: gets a line where bytes of the texts can't be learned from, with how many (default: to stderr).

    Raises MissingExtra without the extra `sentencepiece`, ConfigError where the characters alone do not fit the
    vocabulary, Refused for no text.
    """
    try:
        import sentencepiece
    except ImportError as error:
        raise MissingExtra("sentencepiece", needed_for="training a Unigram tokenizer") from error
    if vocabulary <= _FIXED:
        raise ConfigError(
            f"vocabulary: {vocabulary} is too small; special tokens and bytes alone are {_FIXED}"
        )
    if not 0.98 <= coverage <= 1:
        raise ConfigError(f"coverage: {coverage} is not from 0.98 to 1, which SentencePiece takes")
    given = 0
    chosen: list[str] = []
    for text in texts:
        given += len(text.encode("utf-8"))
        chosen.extend(sentences(text))
    # Sums of floating-point numbers depend on the order.
    chosen.sort()
    learned = sum(len(sentence.encode("utf-8")) for sentence in chosen)
    if not learned:
        raise Refused("no text to train a tokenizer on; look at what the corpus holds")
    if learned < given:
        tell(
            f"{given - learned:,} of {given:,} bytes are not learned from: line ends where a text or a very long "
            f"run of them ends, and the character {_RESERVED}, which SentencePiece keeps to itself"
        )
    sentencepiece.set_random_generator_seed(1)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(chosen),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocabulary,
            hard_vocab_limit=False,
            character_coverage=coverage,
            byte_fallback=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            split_digits=split_digits,
            max_sentence_length=LONGEST_SENTENCE,
            num_threads=1,
            minloglevel=2,
            # The ids of `SPECIALS`; the free ones go to the control symbols in their order.
            bos_id=0,
            bos_piece=BOS,
            eos_id=1,
            eos_piece=EOS,
            pad_id=2,
            pad_piece=PAD,
            control_symbols=[SYSTEM, USER, ASSISTANT, TOOL, END],
            unk_id=8,
            unk_piece=UNKNOWN,
        )
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConfigError(
            f"vocabulary: {vocabulary} does not do for this text ({reason}); give more, or a coverage under {coverage}"
        ) from error
    return new_tokenizer(backend_of(model.getvalue()), UNKNOWN)


def sentences(text: str) -> Iterator[str]:
    """A text in parts that SentencePiece takes whole: 4,192 bytes at most, no line end last, nothing reserved.

    Parts end before a line end or a space where there is one. What they lack of the text is lost to the trainer, which
    itself cuts line ends off a sentence's end: those at the end of the text, and runs longer than a part.
    """
    for part in text.split(_RESERVED):
        data, at = part.encode("utf-8"), 0
        while at < len(data):
            end = len(data) if len(data) - at <= LONGEST_SENTENCE else _cut(data, at)
            sentence = data[at:end].decode("utf-8").rstrip("\r\n")
            if sentence:
                yield sentence
            at = end


def _cut(data: bytes, at: int) -> int:
    """Where a part that starts at `at` had best end."""
    end = at + LONGEST_SENTENCE
    for sign in (b"\n", b" "):
        cut = data.rfind(sign, at + 1, end + 1)
        while cut > at and data[cut - 1 : cut] in (b"\n", b"\r", b" "):
            cut -= 1
        if cut > at:
            return cut
    while data[end] & 0xC0 == 0x80:  # within a character
        end -= 1
    return end

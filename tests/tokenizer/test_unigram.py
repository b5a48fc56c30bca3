from __future__ import annotations

import io
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from math import exp
from pathlib import Path

import pytest
import sentencepiece
from tokenizers import models

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.tokenizer.sentencepiece_model import load_sentencepiece
from exnihilo.tokenizer.special import SPECIALS
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokenizer.unigram import LONGEST_SENTENCE, sentences, train_unigram
from exnihilo.tokenizer.unigram_lattice import SegmentationSampler, UnigramLattice
from exnihilo.tokenizer.words import UNKNOWN

OTHER = [
    "ร้อยคนร้อยจำพวก ไม่มีใครเหมือนกันเลยในโลกนี้",
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。コーヒーを飲む。",
]


@pytest.fixture(scope="module")
def texts(corpus: list[str]) -> list[str]:
    return [text[:40_000] for text in corpus] + OTHER * 3


@pytest.fixture(scope="module")
def unigram(texts: list[str]) -> Tokenizer:
    return train_unigram(texts, 1200, tell=lambda line: None)


def test_ids_begin_with_the_special_tokens_the_unknown_one_and_the_bytes(unigram: Tokenizer) -> None:
    assert list(unigram.special.items()) == [(name, i) for i, name in enumerate((*SPECIALS, UNKNOWN))]
    assert unigram.token_bytes[9:265] == [bytes([byte]) for byte in range(256)]
    assert unigram.vocab_size == 1200
    assert unigram.names["unk_token"] == UNKNOWN and unigram.pad not in (unigram.eos, unigram.end)


def test_tok_4_code_line_ends_and_scripts_without_spaces_come_back(unigram: Tokenizer) -> None:
    cases = [
        "def f(x):\n    if x:\n\t\treturn  x \n",
        "a\r\nb\r\n\r\n",
        "  two",
        "",
        " ",
        "\x00\x7f",
        "✓▅",
        *OTHER,
    ]
    rng = random.Random(7)
    raw = [rng.randbytes(rng.randrange(1, 40)).decode("utf-8", "ignore") for _ in range(10_000)]
    cases += [text.replace("▁", "") for text in raw]
    for text, ids in zip(cases, unigram.encode_batch(cases), strict=True):
        assert unigram.decode(ids) == text
        assert sum(len(unigram.token_bytes[i]) for i in ids) == len(text.encode())  # tok-8
    assert unigram.decode(unigram.encode("a▁b")) == "a b"  # the one loss, and documented


@pytest.mark.parametrize("literal", [*SPECIALS, UNKNOWN, "<0x41>", "<0x0a>"])
def test_tok_1_literals_in_texts_stay_text(unigram: Tokenizer, tmp_path: Path, literal: str) -> None:
    unigram.save(tmp_path)
    for one in (unigram, Tokenizer.load(tmp_path, fingerprint=unigram.fingerprint)):
        for text in (literal, f"a{literal}b", f"\n{literal}{literal} "):
            ids = one.encode(text)
            assert one.decode(ids) == text and not set(ids) & set(one.special.values())


def test_a_unigram_tokenizer_that_lets_literals_in_is_refused(unigram: Tokenizer, tmp_path: Path) -> None:
    unigram.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**data, "pre_tokenizer": None}), encoding="utf-8")
    with pytest.raises(Refused, match=r"in a text becomes its id; make the tokenizer from its .model file"):
        Tokenizer.load(tmp_path)


def test_tok_4_no_sentence_is_too_long_and_no_byte_is_lost() -> None:
    rng = random.Random(3)
    words = ["word", "四海之内", "\n", "\n\n    ", " ", "\r\n", "x" * 900, "é"]
    for _ in range(200):
        text = "".join(rng.choices(words, k=rng.randrange(1, 400))) + "end"
        parts = list(sentences(text))
        assert "".join(parts) == text
        assert all(len(part.encode()) <= LONGEST_SENTENCE for part in parts)
        assert not any(part.endswith(("\n", "\r")) for part in parts)
    assert "".join(sentences("四" * 5000)) == "四" * 5000
    assert list(sentences("a▅b\n")) == ["a", "b"]
    assert "".join(sentences("a" + "\n" * 9000 + "b")) != ""


COUNT = """
import sys, io, sentencepiece
from exnihilo.tokenizer.unigram import sentences
text = open(sys.argv[1], encoding="utf-8", newline="").read()
parts = [text] if sys.argv[2] == "whole" else sentences(text)
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(parts), model_writer=io.BytesIO(), vocab_size=400, hard_vocab_limit=False,
    byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
    allow_whitespace_only_pieces=True, num_threads=1)
"""


@pytest.mark.parametrize("how", ["parts", "whole"])
def test_tok_4_sentencepiece_itself_counts_every_character(
    corpus: list[str], how: str, tmp_path: Path
) -> None:
    """By its own log; given whole, the same text is dropped in silence."""
    text = corpus[0][:30_000].rstrip() + "\r\n\t四海\r\nend"
    (tmp_path / "text").write_text(text, encoding="utf-8", newline="")
    ran = subprocess.run([sys.executable, "-c", COUNT, str(tmp_path / "text"), how], capture_output=True)
    log = ran.stderr.decode()
    if how == "whole":
        assert ran.returncode != 0
    else:
        found = re.search(r"all chars count=(\d+)", log)
        assert found is not None and int(found[1]) == len(text)


def test_what_is_not_learned_from_is_told(texts: list[str]) -> None:
    lines: list[str] = []
    train_unigram(["a b c " * 30 + "▅\n", "a c"], 300, tell=lines.append)
    assert len(lines) == 1 and lines[0].startswith("4 of 187 bytes are not learned from")
    lines.clear()
    train_unigram(["a b c " * 30, "a c"], 300, tell=lines.append)
    assert lines == []


def test_too_small_a_vocabulary_and_no_text_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="vocabulary: 265 is too small; special tokens and bytes alone are 265"
    ):
        train_unigram(["text"], 265)
    with pytest.raises(ConfigError, match=r"coverage: 0.9 is not from 0.98 to 1"):
        train_unigram(["text"], 300, coverage=0.9)
    with pytest.raises(ConfigError, match="vocabulary: 267 does not do for this text"):
        train_unigram(["a text of many letters, over and over again"] * 9, 267)
    with pytest.raises(Refused, match="no text"):
        train_unigram(["", "\n"], 300, tell=lambda line: None)


def test_digits_are_split_by_choice() -> None:
    texts = ["in 1999 and 1999 or 1999"] * 20
    apart, together = train_unigram(texts, 300), train_unigram(texts, 300, split_digits=False)
    assert not any(re.search(rb"\d\d", token) for token in apart.token_bytes)
    assert any(re.search(rb"\d\d", token) for token in together.token_bytes)


TRAIN = """
import sys
from exnihilo.tokenizer.unigram import train_unigram
texts = open(sys.argv[1], encoding="utf-8").read().split("\\n\\n")
train_unigram(texts[:: int(sys.argv[3])], 900, tell=lambda line: None).save(sys.argv[2])
"""


def test_tok_3_the_file_depends_on_the_texts_alone(texts: list[str], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("\n\n".join(texts), encoding="utf-8")
    files = []
    for seed, threads, step in (("0", "1", "1"), ("77", "4", "-1")):
        out = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", TRAIN, str(tmp_path / "text"), str(out), step],
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads},
            check=True,
        )
        files.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert files[0] == files[1] and len(files[0]) == 4


def model_file(
    path: Path, texts: list[str], kind: str, **choices: object
) -> sentencepiece.SentencePieceProcessor:
    """A `.model` file as other people's: SentencePiece's own ids and names."""
    content = io.BytesIO()
    settings = {
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "allow_whitespace_only_pieces": True,
        "max_sentence_length": 100_000,
        "num_threads": 1,
        "minloglevel": 2,
        "vocab_size": 1000,
        **choices,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=content, model_type=kind, **settings
    )
    path.write_bytes(content.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=content.getvalue())


def ten_thousand_lines(corpus: list[str], scripts: dict[str, str]) -> list[str]:
    """Lines of code, of five scripts, and of their words mixed, with characters that no vocabulary here has."""
    lines = [line for text in corpus for line in text.splitlines()][:3000]
    rng = random.Random(11)
    for text in scripts.values():
        words = text.split(" ") if " " in text else list(text)
        for _ in range(1500):
            line = (" " if " " in text else "").join(rng.choices(words, k=rng.randrange(1, 20)))
            lines.append(line + rng.choice(["", " ", "  12,5", "\t", "✓", "ж四é"]))
    return [line.replace("▁", "") for line in lines]


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("prefix", [True, False], ids=["dummy prefix", "no prefix"])
def test_a_model_files_ids_are_sentencepieces(
    texts: list[str], corpus: list[str], scripts: dict[str, str], kind: str, prefix: bool, tmp_path: Path
) -> None:
    theirs = model_file(tmp_path / "some.model", texts, kind, add_dummy_prefix=prefix)
    ours = load_sentencepiece(tmp_path / "some.model")
    assert ours.special == {"<unk>": 0, "<s>": 1, "</s>": 2} and ours.bos == 1 and ours.eos == 2
    ours.save(tmp_path)
    lines = ten_thousand_lines(corpus, scripts)
    assert len(lines) >= 10_000
    expected = [theirs.encode(line) for line in lines]
    found = ours.encode_batch([(" " if prefix and line else "") + line for line in lines])
    differ = [i for i, line in enumerate(lines) if expected[i] != found[i]]
    if kind == "bpe":
        assert differ == []
    # SentencePiece adds scores up in 32 bits, `tokenizers` in 64: the same pieces in another order (runs of one sign)
    # are equally good but for rounding.
    assert len(differ) <= len(lines) // 100
    assert [lines[i] for i in differ if sorted(expected[i]) != sorted(found[i])] == []
    assert sum(any(3 <= i < 259 for i in ids) for ids in found) > 1000  # bytes take part
    assert Tokenizer.load(tmp_path).encode_batch(lines) == ours.encode_batch(lines)


def test_a_model_file_with_normalisation_and_symbols_of_its_users(texts: list[str], tmp_path: Path) -> None:
    theirs = model_file(
        tmp_path / "some.model",
        texts,
        "unigram",
        normalization_rule_name="nmt_nfkc",
        remove_extra_whitespaces=True,
        add_dummy_prefix=False,
        user_defined_symbols=["<sep>"],
    )
    ours = load_sentencepiece(tmp_path / "some.model")
    for line in ("Ｆｕｌｌ width ﬁ", "  many   spaces ", "one<sep>two", "½ x²"):
        assert ours.encode(line) == theirs.encode(line)
    assert ours.decode(ours.encode("ﬁ")) == "fi"


def test_other_files_are_refused(texts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "some.model"
    with pytest.raises(Refused, match="No such file"):
        load_sentencepiece(path)
    path.write_bytes(b"\xff\xff not a model")
    with pytest.raises(Refused, match="not a SentencePiece model"):
        load_sentencepiece(path)
    model_file(path, texts, "unigram", byte_fallback=False)
    with pytest.raises(Refused, match="has no bytes for what it lacks"):
        load_sentencepiece(path)
    model_file(path, texts, "char")
    with pytest.raises(Refused, match="neither a BPE nor a Unigram model"):
        load_sentencepiece(path)


def segmentations(text: str, lattice: UnigramLattice) -> Iterator[tuple[float, list[str]]]:
    """Every way to cut a text into pieces and unknown characters, with its score."""
    for n in range(len(text)):
        for cuts in combinations(range(1, len(text)), n):
            parts = [text[a:b] for a, b in zip((0, *cuts), (*cuts, len(text)), strict=True)]
            if all(part in lattice.scores or len(part) == 1 for part in parts):
                yield sum(lattice.scores.get(part, lattice.unknown) for part in parts), parts


def random_lattice(rng: random.Random) -> UnigramLattice:
    pieces = {"".join(rng.choices("abc", k=rng.randrange(1, 5))) for _ in range(25)} | {"a", "b"}
    return UnigramLattice({piece: -rng.uniform(1, 9) for piece in sorted(pieces - {"c"})})


def test_viterbi_is_the_best_of_all_segmentations_of_a_thousand_words() -> None:
    rng = random.Random(5)
    greedy = 0
    for _ in range(50):
        lattice = random_lattice(rng)
        backend = models.Unigram([("<unk>", 0.0), *lattice.scores.items()], unk_id=0)
        for _ in range(20):
            word = "".join(rng.choices("abc", k=rng.randrange(1, 9)))
            ranked = sorted(segmentations(word, lattice), reverse=True)
            score, best = ranked[0]
            found = lattice.best(word)
            # The same pieces in another order are equally good but for rounding.
            assert found in [parts for other, parts in ranked if other > score - 1e-9]
            assert lattice.log_total(word) > score - 1e-9
            longest_first = max(segmentations(word, lattice), key=lambda one: [len(part) for part in one[1]])[
                1
            ]
            greedy += longest_first != best
            if all(part in lattice.scores for part in best):
                assert [token.value for token in backend.tokenize(word)] == found
    assert greedy > 100  # the words tell Viterbi from longest match


def chi_square(counts: dict[tuple[str, ...], int], expected: dict[tuple[str, ...], float]) -> float:
    """In standard deviations above its mean."""
    n = sum(counts.values())
    value = sum((counts.get(one, 0) - n * p) ** 2 / (n * p) for one, p in expected.items())
    freedom = len(expected) - 1
    return (value - freedom) / (2 * freedom) ** 0.5


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_samples_follow_the_power_of_the_models_probability(alpha: float) -> None:
    scores = {"a": -2.0, "b": -2.5, "ab": -3.0, "ba": -3.5, "aba": -4.5, "bab": -6.0}
    lattice, word = UnigramLattice(scores), "ababa"
    rng = random.Random(9)
    counts: dict[tuple[str, ...], int] = {}
    for _ in range(10_000):
        drawn = tuple(lattice.sample(word, alpha, rng))
        counts[drawn] = counts.get(drawn, 0) + 1

    def law(power: float) -> dict[tuple[str, ...], float]:
        weights = {tuple(parts): exp(power * score) for score, parts in segmentations(word, lattice)}
        return {parts: weight / sum(weights.values()) for parts, weight in weights.items()}

    assert chi_square(counts, law(alpha)) < 4
    assert chi_square(counts, law(alpha + 0.15)) > 8  # another power is told apart
    assert set(counts) <= set(law(alpha))


def test_sampled_ids_spell_the_text_and_the_best_ones_are_the_tokenizers(
    unigram: Tokenizer, corpus: list[str], tmp_path: Path
) -> None:
    unigram.save(tmp_path)
    sampler = SegmentationSampler(tmp_path)
    lines = [*corpus[0].splitlines()[:150], "四 ✓ é\t", *OTHER]
    rng = random.Random(1)
    others = 0
    for line in lines:
        ids = unigram.encode(line)
        assert sampler.encode_best(line) == ids
        drawn = sampler.encode(line, 0.1, rng)
        assert unigram.decode(drawn) == line
        others += drawn != ids
    assert others > 80
    assert sampler.encode("the same", 0.1, random.Random(4)) == sampler.encode(
        "the same", 0.1, random.Random(4)
    )

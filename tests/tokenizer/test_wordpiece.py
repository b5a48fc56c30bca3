from __future__ import annotations

import gzip
import json
import math
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, trainers
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.tokenizer.bpe import SMALLEST, train_tokenizer
from exnihilo.tokenizer.pairs import Pairs
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokenizer.wordpiece import Score, learn_pieces, train_wordpiece
from exnihilo.tokenizer.words import UNKNOWN

DATA = os.environ.get("EXNIHILO_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="EXNIHILO_DATA does not name the folder of test data")


def documents(name: str, size: int) -> list[str]:
    assert DATA is not None
    texts: list[str] = []
    with gzip.open(Path(DATA) / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            texts.append(json.loads(line)["text"])
            size -= len(texts[-1].encode())
            if size <= 0:
                break
    return texts


def by_the_book(words: dict[str, int], merges: int, score: Score, min_count: int) -> list[str]:
    """Every count made again before every merge; exact where no two pairs are equally good."""
    split = {word: [word[0], *("##" + c for c in word[1:])] for word in words}
    out = []
    for _ in range(merges):
        pairs: Counter[tuple[str, str]] = Counter()
        singles: Counter[str] = Counter()
        for word, pieces in split.items():
            for piece in pieces:
                singles[piece] += words[word]
            for pair in pairwise(pieces):
                pairs[pair] += words[word]

        def gain(pair: tuple[str, str]) -> float:
            n, (a, b) = pairs[pair], pair  # noqa: B023
            if score == "ratio":
                return n / (singles[a] * singles[b])  # noqa: B023
            after = Counter(singles)  # noqa: B023
            after.subtract([a] * n + [b] * n)
            after[(a + b[2:]) + " new"] = n
            return likelihood(after) - likelihood(singles)  # noqa: B023

        allowed = [pair for pair in pairs if pairs[pair] >= min_count]
        best = min(allowed, key=lambda pair: (-round(gain(pair), 9), -pairs[pair], pair))
        out.append(best[0] + best[1][2:])
        for word, pieces in split.items():
            merged: list[str] = []
            for piece in pieces:
                if merged and (merged[-1], piece) == best:
                    merged[-1] += piece[2:]
                else:
                    merged.append(piece)
            split[word] = merged
    return out


def likelihood(counts: Counter[str]) -> float:
    """log P of a text whose pieces occur so often, under the unigram model that fits it best."""
    total = counts.total()
    return sum(n * math.log(n / total) for n in counts.values() if n > 0)


WORDS = {"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}


def test_tok_5_the_first_merge_is_the_scores_and_not_the_count() -> None:
    # ##u and ##g meet most often (20), but ##g and ##s most often for how frequent they are: 5 / (20 x 5).
    letters = learn_pieces(WORDS, 7)
    assert letters == ["b", "h", "p", "##g", "##n", "##s", "##u"]
    assert learn_pieces(WORDS, 8)[-1] == "##gs"
    text = "\n".join(word for word, n in WORDS.items() for _ in range(n))
    bpe = train_tokenizer([text], SMALLEST + 1)
    assert bpe.token_bytes[SMALLEST] == b"ug"


@pytest.mark.parametrize("score", ["ratio", "likelihood"])
def test_merges_are_those_of_a_full_recount(score: Score) -> None:
    for seed in range(3):
        rng = random.Random(seed)
        words = {
            "".join(rng.choices("aabcdé", k=rng.randrange(2, 8))): rng.randrange(3, 999) for _ in range(40)
        }
        letters = len({piece for word in words for piece in [word[0], *("##" + c for c in word[1:])]})
        found = learn_pieces(words, letters + 25, score=score)
        expected = list(dict.fromkeys(by_the_book(words, 30, score, 2)))
        assert found[letters:] == expected[:25]


def test_counts_after_merges_are_those_of_the_words_as_they_are_then() -> None:
    rng = random.Random(2)
    words = [
        ([rng.randrange(4) for _ in range(rng.randrange(1, 9))], rng.randrange(1, 50)) for _ in range(60)
    ]
    pairs = Pairs(words)
    for new in range(4, 30):
        pair = rng.choice(sorted(pairs.counts))
        before, singles = dict(pairs.counts), dict(pairs.symbols)
        changed = pairs.merge(pair, new)
        fresh = Pairs(zip(pairs._words, pairs._weights, strict=True))
        assert dict(pairs.counts) == dict(fresh.counts) and pairs.total == fresh.total
        assert {s: n for s, n in pairs.symbols.items() if n} == dict(fresh.symbols)
        moved = {
            p
            for p in pairs.counts
            if before.get(p) != pairs.counts[p] or any(singles.get(s) != pairs.symbols[s] for s in p)
        }
        assert moved <= changed


def test_tok_2_a_word_weighted_three_thousand_million() -> None:
    # In 32 bits 3e9 is negative, and the pair would never be merged.
    words = {"ab": 3 * 10**9, "cd": 3, "ce": 2, "fd": 2}
    assert learn_pieces(words, 7, score="likelihood")[-1] == "ab"
    assert learn_pieces({"ab": 3, **words}, 7, score="likelihood")[-1] == "ab"
    small = {"ab": 1, "cd": 3, "ce": 2, "fd": 2}
    assert learn_pieces(small, 7, score="likelihood")[-1] != "ab"


def test_ties_go_to_the_more_frequent_pair_and_then_to_code_points() -> None:
    assert learn_pieces({"ab": 2, "cd": 2}, 5)[-1] == "ab"
    # 6 / (6 x 6) is 2 / (2 x 6) again: both ##b, the more frequent first.
    assert learn_pieces({"zb": 6, "ac": 6}, 5)[-1] == "ac"
    assert learn_pieces({"ab": 2, "cd": 2, "xd": 2}, 6)[-1] == "ab"


def test_cutting_is_berts_and_unknown_words_are_unknown_as_a_whole() -> None:
    tokenizer = train_wordpiece(["Un café, déjà vu: une tasse."] * 3, 80)
    assert tokenizer.decode(tokenizer.encode("UN CAFE,\tDEJA\n\nVU!")) == " un cafe , deja vu"
    unknown = tokenizer.special[UNKNOWN]
    assert tokenizer.encode("cafeq") == [unknown]
    assert tokenizer.encode("a" * 101) == [unknown]
    assert tokenizer.decode(tokenizer.encode("cafeq vu"), skip_special=False) == "<|unk|> vu"
    cased = train_wordpiece(["Un café"] * 3, 80, lowercase=False)
    assert cased.decode(cased.encode("Un café")) == " Un café"


def test_coverage_leaves_rare_characters_out() -> None:
    texts = ["ab " * 99 + "四"]
    assert "四" in learn_pieces({"ab": 99, "四": 1}, 10)
    tokenizer = train_wordpiece(texts, 20, coverage=0.99)
    assert tokenizer.encode("四 ab")[0] == tokenizer.special[UNKNOWN] != tokenizer.encode("四 ab")[1]
    with pytest.raises(
        ConfigError, match=r"vocabulary: 11 is too small; .* are 12; give more, or a coverage"
    ):
        train_wordpiece(texts, 11)
    with pytest.raises(Refused, match="no text"):
        train_wordpiece([" \n"], 300)


def test_a_saved_one_is_read_again_and_specials_stay_out_of_texts(tmp_path: Path) -> None:
    tokenizer = train_wordpiece(["<|eos|> and <|unk|> are only text here"] * 3, 60)
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path, fingerprint=tokenizer.fingerprint)
    ids = again.encode("<|eos|> and <|unk|>")
    assert ids == tokenizer.encode("<|eos|> and <|unk|>")
    assert not set(ids) & set(again.special.values())
    assert again.decode(ids) == " < | eos | > and < | unk | >"


TRAIN = """
import sys
from exnihilo.tokenizer.wordpiece import train_wordpiece
texts = open(sys.argv[1], encoding="utf-8").read().split("\\n")
train_wordpiece(texts[:: int(sys.argv[3])], 900, score=sys.argv[4], min_count=3).save(sys.argv[2])
"""


@pytest.mark.parametrize("score", ["ratio", "likelihood"])
def test_tok_3_the_file_depends_on_the_texts_alone(corpus: list[str], tmp_path: Path, score: Score) -> None:
    (tmp_path / "text").write_text("\n".join(corpus), encoding="utf-8")
    files = []
    for seed, step in (("0", "1"), ("77", "-1")):
        out = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", TRAIN, str(tmp_path / "text"), str(out), step, score],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
        files.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert files[0] == files[1] and len(files[0]) == 4


@needs_data
@pytest.mark.parametrize("lowercase", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_ids_are_those_of_berts_own_code_on_ten_thousand_lines(lowercase: bool, tmp_path: Path) -> None:
    """`BertTokenizerLegacy` is the original Python, which shares no code with `tokenizers`."""
    lines: list[str] = []
    for name, size in (("brown", 250_000), ("tang-poems-zh", 300_000), ("arabic", 500_000)):
        found = [line for text in documents(name, size) for line in text.splitlines() if line.strip()]
        # Long lines are cut, so that there are enough of each script.
        lines += [line[i : i + 60] for line in found for i in range(0, len(line), 60)][:3400]
    assert len(lines) >= 10_000
    tokenizer = train_wordpiece(lines[::5], 3500, min_count=5, lowercase=lowercase)
    vocabulary = sorted(tokenizer._backend.get_vocab().items(), key=lambda item: item[1])
    (tmp_path / "vocab.txt").write_text("\n".join(piece for piece, _ in vocabulary), encoding="utf-8")
    theirs = BertTokenizerLegacy(
        str(tmp_path / "vocab.txt"),
        do_lower_case=lowercase,
        unk_token=UNKNOWN,
        pad_token="<|pad|>",
        cls_token="<|bos|>",
        sep_token="<|eos|>",
        mask_token="<|tool|>",
    )
    ours = tokenizer.encode_batch(lines)
    expected = [theirs.convert_tokens_to_ids(theirs.tokenize(line)) for line in lines]
    # The original takes words of more than 100 characters, and so do we, for unknown.
    assert [i for i, pair in enumerate(zip(ours, expected, strict=True)) if pair[0] != pair[1]] == []
    unknown = tokenizer.special[UNKNOWN]
    share = sum(ids.count(unknown) for ids in ours) / sum(map(len, ours))
    assert 0 < share < 0.02  # nearly all of the comparison is of known pieces, and unknown ones are in it


@needs_data
def test_likelihood_under_a_unigram_model_against_merging_by_count() -> None:
    """Same text, same size: pieces by likelihood beat pieces by count, and pieces by ratio do not."""
    words: Counter[str] = Counter()
    for text in documents("brown", 300_000):
        words.update(word for word in text.lower().split() if word.isalpha() and len(word) <= 100)
    size = 1000
    vocabularies = {
        "likelihood": learn_pieces(words, size, score="likelihood"),
        "ratio": learn_pieces(words, size, score="ratio", min_count=10),
        "count": _by_count(words, size),
    }
    found = {}
    for name, pieces in vocabularies.items():
        assert len(pieces) == size
        model = models.WordPiece({piece: i for i, piece in enumerate([UNKNOWN, *pieces])}, unk_token=UNKNOWN)
        counts: Counter[str] = Counter()
        for word, n in words.items():
            for token in model.tokenize(word):
                counts[token.value] += n
        assert not counts[UNKNOWN]
        found[name] = likelihood(counts) / words.total()
    assert found["likelihood"] > found["count"] > found["ratio"]


def _by_count(words: Counter[str], size: int) -> list[str]:
    """What `tokenizers` trains under the name WordPiece, and is BPE."""
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(vocab_size=size, show_progress=False)
    backend.train_from_iterator((" ".join([word] * n) for word, n in sorted(words.items())), trainer)
    return list(backend.get_vocab())

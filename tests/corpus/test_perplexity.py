"""Head, middle and tail by the percentiles of good text that was not counted."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest

from exnihilo.core.errors import Refused
from exnihilo.corpus.ngram_model import NgramModel
from exnihilo.corpus.perplexity import Judge, PerplexityConfig, parts, perplexity_checks, train


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    with gzip.open(data / "text" / "wikitext2-valid.jsonl.gz", "rt", encoding="utf-8") as lines:
        whole = [json.loads(line)["text"] for line in lines]
    return [text[i : i + 1000] for text in whole for i in range(0, len(text) - 1000, 1000)]


def test_new_good_text_falls_where_the_percentiles_say(texts: list[str], tmp_path: Path) -> None:
    config = PerplexityConfig(model=tmp_path / "model", head=50, tail=90)
    train(texts[0::2]).save(config.model)
    judge = Judge.load(config.model)
    new = judge.percentile(judge.model.perplexity(texts[1::2]))
    found = parts(new, config)
    assert len(found) > 400
    assert 0.25 < found.count("head") / len(found) < 0.75  # 60 articles are few
    assert found.count("tail") / len(found) < 0.25
    # the control: text that was counted would call nearly all new text the tail
    naive = Judge(judge.model, np.percentile(judge.model.perplexity(texts[0::2]), np.arange(101)))
    assert parts(naive.percentile(judge.model.perplexity(texts[1::2])), config).count("tail") > 0.9 * len(
        found
    )
    draw = random.Random(1)
    shuffled = [" ".join(draw.sample(text.split(), len(text.split()))) for text in texts[1::2]]
    spoilt = judge.percentile(judge.model.perplexity(shuffled))
    assert parts(spoilt, config).count("tail") > 2 * found.count("tail")
    menus = [
        " ".join(draw.choices(["home", "login", "cart", "sale", "menu", "shop"], k=90)) for _ in range(20)
    ]
    assert set(parts(judge.percentile(judge.model.perplexity(menus)), config)) == {"tail"}


def test_the_filter(tmp_path: Path) -> None:
    config = PerplexityConfig(model=tmp_path, head=50, tail=90, keep=["middle"])
    percentile = np.array([0.0, 50, 50.1, 90, 90.1, 101])
    assert parts(percentile, config) == ["head", "head", "middle", "middle", "tail", "tail"]
    (check,) = perplexity_checks(percentile, config)
    assert check.rejects.tolist() == [True, True, False, False, True, True]


def test_percentiles() -> None:
    judge = Judge(NgramModel.of(["a b"]), np.arange(101) * 2.0 + 10)
    assert judge.percentile(np.array([5.0, 10, 110, 210, 210.5, np.inf])).tolist() == [
        0,
        0,
        50,
        100,
        101,
        101,
    ]


def test_too_little_good_text(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="too few for percentiles"):
        train(["a few words", "and a few more"])
    NgramModel.of(["a b c"]).save(tmp_path / "model")
    with pytest.raises(Refused, match="without percentiles"):
        Judge.load(tmp_path / "model")

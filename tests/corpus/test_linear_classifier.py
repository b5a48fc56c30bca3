"""Curated texts told from others; a control that can't be learnt; scores that mean what they say."""

from __future__ import annotations

import gzip
import json
import random
import re
from pathlib import Path

import numpy as np
import pytest

from exnihilo.core.errors import Refused
from exnihilo.corpus.linear_classifier import Classifier, calibration_error, roc_auc, train


def read(data: Path, name: str, pieces: int, length: int = 1500) -> list[str]:
    """The first pieces of so many characters of a file's texts, one a text."""
    with gzip.open(data / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    return [text[:length] for text in texts if len(text) > 200][:pieces]


def spam(count: int) -> list[str]:
    """Menus and offers, made up."""
    draw = random.Random(1)
    words = re.findall(
        r"[\w']+",
        "home shop cart login menu sale buy now cheap best price free shipping click here subscribe follow share "
        "contact privacy terms cookies accept next previous page reviews stars offer deal limited today watch online "
        "download casino bonus win loan credit pills weight loss top ten tips you won't believe hot new trending",
    )
    return [" | ".join(draw.choices(words, k=draw.randint(40, 200))) for _ in range(count)]


@pytest.fixture(scope="module")
def sides(data: Path) -> tuple[list[str], list[str]]:
    curated = read(data, "peps", 300) + read(data, "wikitext2-valid", 60)
    other = read(data, "movie-reviews", 300) + spam(100)
    return curated, other


@pytest.fixture(scope="module")
def classifier(sides: tuple[list[str], list[str]]) -> Classifier:
    return train(*sides)


def test_curated_texts_are_told_from_others(classifier: Classifier) -> None:
    assert classifier.measures["texts"] >= 70
    assert classifier.measures["auc"] >= 0.95
    assert classifier.measures["calibration_error"] <= 0.1


def test_where_there_is_nothing_to_learn_nothing_is_learnt(data: Path) -> None:
    texts = read(data, "movie-reviews", 600)
    useless = train(texts[0::2], texts[1::2])
    assert 0.25 < useless.measures["auc"] < 0.75
    assert np.abs(useless.score(texts[:50]) - 0.5).max() < 0.45


def test_the_order_of_the_texts_changes_nothing(sides: tuple[list[str], list[str]], tmp_path: Path) -> None:
    curated, other = sides[0][:60], sides[1][:60]
    one, two = train(curated, other), train(curated[::-1] + curated[:5], other[::-1])
    assert one.weights.tobytes() == two.weights.tobytes() and one.bias == two.bias
    assert one.score(curated).tolist() == [one.score([text])[0] for text in curated]
    one.save(tmp_path)
    again = Classifier.load(tmp_path)
    assert again.score(other).tolist() == one.score(other).tolist()
    assert again.measures == one.measures


def test_more_of_one_class_moves_no_score_by_itself(sides: tuple[list[str], list[str]]) -> None:
    curated, other = sides
    few = train(curated, other[::5])
    assert abs(few.score([""])[0] - 0.5) < 0.25
    assert few.measures["auc"] > 0.9


def test_measures() -> None:
    assert roc_auc(np.array([0.9, 0.5]), np.array([0.5, 0.1])) == pytest.approx(0.875)
    scores = np.array([0.25] * 4 + [0.75] * 4)
    assert calibration_error(scores, np.array([1.0, 0, 0, 0, 1, 1, 1, 0])) == pytest.approx(0)
    assert calibration_error(scores, np.array([0.0, 0, 0, 0, 1, 1, 1, 1])) == pytest.approx(0.25)


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="3 curated texts are too few"):
        train(["a", "b", "c"], ["d"] * 30)
    with pytest.raises(Refused, match="no whole classifier"):
        Classifier.load(tmp_path)
    Classifier(np.zeros(1 << 18, dtype=np.float32), 0.0, {}).save(tmp_path)
    stated = tmp_path / "classifier.json"
    stated.write_text(stated.read_text().replace("folded-1", "folded-0"))
    with pytest.raises(Refused, match="made of other features"):
        Classifier.load(tmp_path)

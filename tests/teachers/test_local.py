"""A model of our own as teacher: by itself, and behind our own server."""

from __future__ import annotations

import json
from pathlib import Path

from exnihilo.model.folder import save_model
from exnihilo.teachers.local import LocalTeacher
from exnihilo.teachers.teacher import Ask
from exnihilo.tokenizer.bpe import train_tokenizer
from random_decoder import random_decoder


def folder(path: Path) -> Path:
    tokenizer = train_tokenizer(["the quick brown fox"] * 3, 264)
    tokenizer.save(path / "tokenizer")
    save_model(random_decoder(tokenizer.vocab_size), path / "tokenizer", path / "model")
    return path / "model"


def test_a_model_answers_alike_each_time_and_in_any_company(tmp_path: Path) -> None:
    teacher = LocalTeacher(folder(tmp_path))
    asks = [Ask([{"role": "user", "content": text}], 1.0, 12, seed) for seed, text in enumerate("abc")]
    heard: dict[int, str | None] = {}
    said = teacher.answer(asks, lambda i, one: heard.update({i: one.text}))
    assert [one.text for one in said] == [heard[i] for i in range(3)]
    assert said[1] == LocalTeacher(tmp_path / "model").answer([asks[1]])[0]
    assert said[0].by.startswith("model ") and said[0].read > 0 and said[0].written > 0


def test_a_schema_is_kept_and_a_conversation_too_long_is_told(tmp_path: Path) -> None:
    teacher = LocalTeacher(folder(tmp_path))
    schema = {"type": "object", "properties": {"better": {"enum": ["A", "B"]}}, "required": ["better"]}
    short, long = teacher.answer(
        [
            Ask([{"role": "user", "content": "a"}], max_new=24, schema=schema),
            Ask([{"role": "user", "content": "a b c d e f g h " * 20}]),
        ]
    )
    assert short.text is not None and json.loads(short.text)["better"] in ("A", "B")
    assert long.text is None and long.problem == "the conversation fills the context of 64 tokens"

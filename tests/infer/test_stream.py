from __future__ import annotations

import random

import pytest

from exnihilo.infer.stream import TextStream
from exnihilo.tokenizer.tokenizer import Tokenizer

BYTES = [bytes([i]) for i in range(256)]
TEXTS = {
    "emoji": "I 👩‍👩‍👧‍👦 and 🏳️‍🌈 🙂",
    "cjk": "床前明月光,疑是地上霜。",
    "arabic": "السلام عليكم",
    "mixed": "naïve мир — x² ∑ é",
}


def _run(stream: TextStream, tokens: list[int]) -> str:
    return "".join([stream.push(token) for token in tokens] + [stream.finish()])


@pytest.mark.parametrize("name", TEXTS)
def test_gen_1_streamed_text_is_final_text(name: str, tokenizer: Tokenizer) -> None:
    for table, ids in (
        (BYTES, list(TEXTS[name].encode())),
        (tokenizer.token_bytes, tokenizer.encode(TEXTS[name])),
    ):
        stream = TextStream(table)
        pieces = [stream.push(i) for i in ids]
        assert not any("\ufffd" in piece for piece in pieces)
        assert "".join([*pieces, stream.finish()]) == TEXTS[name] == stream.text


def test_gen_1_random_bytes_decode_as_in_one_piece(tokenizer: Tokenizer) -> None:
    draw = random.Random(3)
    for _ in range(300):
        # Bytes that begin and continue characters are common, so that many are cut or cut short.
        data = bytes(draw.choice([draw.randrange(256), 0xE2, 0x82, 0xAC, 0xF0, 0x9F]) for _ in range(40))
        assert _run(TextStream(BYTES), list(data)) == data.decode("utf-8", "replace")
        ids = [draw.randrange(tokenizer.vocab_size) for _ in range(40)]
        assert _run(TextStream(tokenizer.token_bytes), ids) == tokenizer.decode(ids)


def test_gen_1_an_incomplete_character_is_held_back() -> None:
    stream = TextStream(BYTES)
    assert [stream.push(byte) for byte in "é!".encode()] == ["", "é", "!"]
    assert stream.push(0xE2) == ""
    assert stream.finish() == "\ufffd"


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one STOP two", ("STOP",), "one "),
        ("a\n\nUser: b", ("\n\nUser", "\n"), "a"),
        ("a\n\nUser: b", ("\n", "\n\nUser"), "a"),
        ("xyz END abc", ("abc", "END"), "xyz "),
        ("xabcd", ("abcd", "bc"), "xa"),
        ("ababac", ("abac",), "ab"),
        ("aaab", ("aab",), "a"),
        ("no stop at al", ("all",), "no stop at al"),
        ("stop 🙂🙃 here", ("🙃",), "stop 🙂"),
        ("END", ("END",), ""),
    ],
)
def test_gen_2_first_complete_stop_ends_the_text_however_tokens_are_cut(
    text: str, stops: tuple[str, ...], expected: str
) -> None:
    data = text.encode()
    draw = random.Random(0)
    cuts = [[1] * len(data), [len(data)]] + [[draw.randint(1, 4) for _ in data] for _ in range(20)]
    for sizes in cuts:
        table, start = [], 0
        for size in sizes:
            table.append(data[start : start + size])
            start += size
        stream = TextStream(table, stops)
        shown = ""
        for token in range(len(table)):
            shown += stream.push(token)
            assert expected.startswith(shown), "nothing is shown that is not part of the text"
        shown += stream.finish()
        assert shown == stream.text == expected
        assert (stream.stopped is None) == (expected == text)


def test_gen_2_a_stop_split_over_three_tokens_is_not_echoed() -> None:
    table = [b"hello ", b"<", b"/s", b">", b" more"]
    stream = TextStream(table, ("</s>",))
    assert [stream.push(token) for token in range(5)] == ["hello ", "", "", "", ""]
    assert stream.stopped == "</s>" and stream.finish() == ""
    stream = TextStream([*table[:3], b"x"], ("</s>",))
    assert [stream.push(token) for token in range(4)] == ["hello ", "", "", "</sx"]

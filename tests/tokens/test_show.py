"""Tokens for people: what is shown is what training reads, and every byte can be seen."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.jsonl import write_jsonl
from exnihilo.tokenizer.bpe import byte_tokenizer, train_tokenizer
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens import show
from exnihilo.tokens.show_view import print_view, table
from exnihilo.tokens.writer import TokenSetWriter

TEXTS = ["def f(x):\n\treturn x", "Schnee ist weiß 雪", "a  b\r\n" * 9, "x\x1b[31m" * 4]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, 290)


@pytest.fixture(scope="module")
def token_set(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens") / "texts"
    tokenizer.save(folder / "tokenizer")
    with TokenSetWriter(folder, vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.fingerprint) as writer:
        for n, text in enumerate(TEXTS):
            ids = [tokenizer.bos, *tokenizer.encode(text), tokenizer.eos]
            writer.write("train", ids, len(text.encode()), "code" if n in (0, 3) else "prose")
    return folder


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = []
    for question, answer, family in (("Colour of snow?", "White.", "colours"), ("2 + 2?", "4", "sums")):
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        rows.append({"messages": turns, "meta": {"family": family}})
    path = tmp_path_factory.mktemp("chats") / "chats.jsonl"
    write_jsonl(path, rows)
    path.write_text(path.read_text() + "not JSON\n")
    return path


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"a b", "a·b"),
        (b"\n\r\n\t", "⏎␍⏎→"),
        ("weiß 雪".encode(), "weiß·雪"),
        ("雪".encode()[:2], "\\xe9\\x9b"),
        ("雪".encode()[1:] + b"x", "\\x9b\\xaax"),
        (b"\x1b[31m", "\\x1b[31m"),  # a terminal must not obey a text
        ("\u202e\u00a0".encode(), "\\xe2\\x80\\xae\\xc2\\xa0"),
        (b"\xff", "\\xff"),
        (b"", ""),
    ],
)
def test_every_byte_is_visible(data: bytes, shown: str) -> None:
    assert show.visible(data) == shown


def test_a_document_is_shown_whole_with_its_source(token_set: Path, tokenizer: Tokenizer) -> None:
    view = show.documents(token_set, "train", 1)
    ids = [tokenizer.bos, *tokenizer.encode(TEXTS[1]), tokenizer.eos]
    assert [token.id for token in view.tokens] == ids
    assert [token.position for token in view.tokens] == list(range(len(ids)))
    assert view.tokens[0].special and view.tokens[0].text == "<|bos|>" and not view.tokens[0].trained
    assert all(token.trained for token in view.tokens[1:])
    assert {token.source for token in view.tokens} == {"prose"}
    assert "document 1 of 4" in view.title
    with pytest.raises(ConfigError, match="--document: 4, and there are 4 documents"):
        show.documents(token_set, "train", 4)
    with pytest.raises(ConfigError, match="give 0 to 3"):
        show.documents(token_set, "train", -1)


def test_a_row_is_that_of_training(token_set: Path) -> None:
    """Inputs, targets, positions, segments and weights are those of the batch that pretrain trains on."""
    from exnihilo.core.seeds import derive
    from exnihilo.tokens.batch import SOURCE
    from exnihilo.tokens.sampler import DocumentRows
    from exnihilo.tokens.shards import TokenSet

    order = derive(derive(5, "pretrain"), "order")
    source = DocumentRows([TokenSet.open(token_set)], None, 3, 24, order)
    for number in range(6):
        view = show.document_rows(token_set, "train", number, 24, 5)
        batch = source.next(number // 3).rows(number % 3, number % 3 + 1)
        inputs = [token for token in view.tokens if token.position >= 0]
        assert [token.id for token in inputs] == batch.tokens[0].tolist()
        assert [token.position for token in inputs] == batch.positions[0].tolist()
        assert [token.segment for token in inputs] == batch.segments[0].tolist()
        whose = [source.sources[i] for i in batch.extra[SOURCE][0].tolist()]
        assert [token.source for token in inputs] == whose
        # Every target is a token after the first of its segment, and every weight is counted once.
        targets = [token.id for segment in view.segments() for token in segment[1][1:]]
        assert targets == batch.targets[0].tolist()
        assert sum(token.weight for token in view.tokens) == batch.weights.sum()


def test_a_conversation_shows_its_loss_mask(chats: Path) -> None:
    tokenizer = byte_tokenizer()
    view = show.conversation(chats, tokenizer, 1)
    trained = "".join(token.text for token in view.tokens if token.trained)
    assert trained == "4<|end|>" and view.tokens[0].source == "sums"
    shown = "".join(token.text for token in view.tokens)
    assert shown == "<|bos|><|user|>2·+·2?<|end|><|assistant|>4<|end|>"
    rendered = Renderer(tokenizer).render(
        [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
    )
    assert [token.id for token in view.tokens] == rendered.ids
    assert [token.trained for token in view.tokens] == rendered.mask
    with pytest.raises(Refused, match=r"line 3: not JSON .*another row"):
        show.conversation(chats, tokenizer, 2)
    with pytest.raises(ConfigError, match="--document: 3, and there are 3"):
        show.conversation(chats, tokenizer, 3)


def test_a_packed_row_of_conversations_shows_segments_and_padding(chats: Path) -> None:
    view = show.conversation_rows(chats, byte_tokenizer(), 0, 64, 1)
    headings = [heading for heading, _ in view.segments()]
    assert len(headings) == 3 and headings[2].startswith("padding: ")
    assert {headings[0].split(", ")[-1], headings[1].split(", ")[-1]} == {"from colours", "from sums"}
    for (_, tokens), answer in zip(view.segments(), ("White.<|end|>", "4<|end|>"), strict=False):
        assert "".join(token.text for token in tokens if token.trained) == answer
        assert tokens[-1].position == -1 and tokens[-1].text == "<|end|>"
    with pytest.raises(Refused, match="no conversation fits 4 tokens"):
        show.conversation_rows(chats, byte_tokenizer(), 0, 4, 1)


def test_plain_text_marks_borders_and_what_is_trained(chats: Path) -> None:
    out = io.StringIO()
    print_view(show.conversation(chats, byte_tokenizer(), 1), out, colour=False, width=100)
    lines = out.getvalue().splitlines()
    assert lines[2] == "segment 0: positions 0 to 11, 2 tokens trained, from sums"
    assert lines[3] == "     0  <|bos|>|<|user|>|2|·|+|·|2|?|<|end|>|<|assistant|>[[4|<|end|>]]"
    assert "\x1b" not in out.getvalue()


def test_lines_fit_the_width_and_end_where_the_text_s_do(token_set: Path) -> None:
    out = io.StringIO()
    print_view(show.documents(token_set, "train", 2), out, colour=False, width=60)
    body = [line for line in out.getvalue().splitlines()[3:] if line]
    assert all(len(line) <= 60 + 4 for line in body)
    positions = [int(line[:6]) for line in body]
    assert positions[0] == 0 and positions == sorted(set(positions)) and len(body) >= 9


def test_colours_tell_neighbours_trained_and_special_ones_apart(chats: Path) -> None:
    out = io.StringIO()
    print_view(show.conversation(chats, byte_tokenizer(), 1), out, colour=True, width=100)
    text = out.getvalue()
    assert "\x1b[" in text and "[[" not in text and "target only" in text
    assert text.count("\x1b[1;4;32m") + text.count("\x1b[1;4;36m") == 1  # the trained end token
    assert text.count("\x1b[1;4;35m") >= 4  # the other special ones


def test_a_table_has_a_line_a_token_and_json_has_all(token_set: Path) -> None:
    view = show.document_rows(token_set, "train", 0, 16, 1)
    lines = list(table(view))
    assert len(lines) == 1 + len(view.tokens) and lines[0].split() == [
        "segment",
        "position",
        "id",
        "weight",
        "token",
    ]
    record = json.loads(json.dumps(view.record()))
    assert [one["id"] for one in record["tokens"]] == [token.id for token in view.tokens]
    assert set(record["tokens"][0]) == {"id", "text", "special", "position", "segment", "weight", "source"}

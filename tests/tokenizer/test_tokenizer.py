from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from exnihilo.core.errors import Refused
from exnihilo.tokenizer.special import SPECIALS
from exnihilo.tokenizer.tokenizer import TOKENIZER_FILES, Tokenizer, byte_characters, bytes_of_token


def random_text(rng: random.Random, length: int) -> str:
    """Characters of every plane and class, with line ends and spaces often enough to meet each other."""
    blocks = [(0, 0x80), (0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000)]
    parts = []
    for _ in range(length):
        if rng.random() < 0.3:
            parts.append(
                rng.choice([" ", "  ", "\n", "\r\n", "\t", "\u2028", "\u00a0", "'s", "<|", "|>", "\x00"])
            )
        else:
            parts.append(chr(rng.randrange(*rng.choice(blocks))))
    return "".join(parts)


def edited(folder: Path, to: Path, **changes: Any) -> Path:
    """A copy of a tokenizer's folder with changed keys of tokenizer_config.json (None removes one)."""
    shutil.copytree(folder, to)
    path = to / "tokenizer_config.json"
    config = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}), encoding="utf-8")
    (to / "special_tokens_map.json").unlink()
    return to


@pytest.mark.parametrize("literal", SPECIALS)
@pytest.mark.parametrize(
    "around", ["{}", "a{}", "{}b", " {} ", "\n{}\n", "{}{}", "<|{}|>", "é{}四", "x <|{}"]
)
def test_tok_1_special_literals_in_text_yield_no_special_id(
    tokenizer: Tokenizer, folder: Path, literal: str, around: str
) -> None:
    text = around.format(literal, literal)
    for one in (tokenizer, Tokenizer.load(folder)):
        ids = one.encode(text)
        assert not set(ids) & set(one.special.values())
        assert one.decode(ids) == text
        assert one.encode_batch([text, text]) == [ids, ids]


def test_tok_4_round_trip_of_code_and_line_ends(tokenizer: Tokenizer, scripts: dict[str, str]) -> None:
    texts = [
        "def f(x):\n    return [\n\t\tx,\n    ]\n\n\n",
        "a\r\nb\r\n\r\n  c\rd\n",
        "\t\t  mixed \t indent\n",
        " leading and trailing  ",
        "\ufeffmark, \u200bzero width, \u0301lone accent, e\u0301 decomposed, ﬁ ligature",
        "👩‍👩‍👧‍👦 𝔘𝔫𝔦 \U0010ffff \x00\x01\x7f",
        "",
        "x" * 20_000,
        *scripts.values(),
    ]
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_tok_4_round_trip_of_100_000_random_texts(tokenizer: Tokenizer) -> None:
    rng = random.Random(4)
    texts = [random_text(rng, rng.randrange(8)) for _ in range(100_000)]
    table = tokenizer.token_bytes
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert b"".join([table[i] for i in ids]) == text.encode()


def test_every_byte_has_a_token_and_only_it() -> None:
    characters = byte_characters()
    assert len(set(characters)) == 256
    assert [bytes_of_token(character) for character in characters] == [bytes([byte]) for byte in range(256)]
    # As published for GPT-2: the space is U+0120, the line end U+010A.
    assert (characters[0x20], characters[0x0A], characters[0x41]) == ("Ġ", "Ċ", "A")
    assert set(characters) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def test_tok_8_bytes_of_tokens_add_up_in_five_scripts(tokenizer: Tokenizer, scripts: dict[str, str]) -> None:
    split = 0
    for text in [*scripts.values(), "".join(scripts.values()), "𓀀 seldom: ฉันกินแก้วได้"]:
        ids = tokenizer.encode(text)
        assert sum(len(tokenizer.token_bytes[i]) for i in ids) == len(text.encode())
        assert tokenizer.decode_bytes(ids) == text.encode()
        split += sum("\ufffd" in tokenizer.decode([i]) for i in ids)
    assert split > 50  # characters cut between tokens are where counting decoded text goes wrong
    assert [tokenizer.token_bytes[i] for i in tokenizer.special.values()] == [b""] * 8


def test_decode_shows_or_hides_special_tokens(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.bos, *tokenizer.encode("é"), tokenizer.end]
    assert tokenizer.decode(ids) == "é"
    assert tokenizer.decode(ids, skip_special=False) == "<|bos|>é<|end|>"
    assert tokenizer.decode([tokenizer.token_bytes.index(b"\xc3")]) == "\ufffd"
    for i in (-100, -1, tokenizer.vocab_size):
        with pytest.raises(ValueError, match=f"id {i} is outside the vocabulary of 1024"):
            tokenizer.decode([i])


def test_text_that_is_no_unicode_is_refused_with_its_place(tokenizer: Tokenizer) -> None:
    with pytest.raises(Refused, match="half of a surrogate pair in 'bad"):
        tokenizer.encode_batch(["fine", "bad \ud83d"])


def test_tok_7_another_tokenizer_than_the_one_named_is_refused(
    tokenizer: Tokenizer, corpus: list[str], folder: Path, tmp_path: Path
) -> None:
    from exnihilo.tokenizer.bpe import train_tokenizer

    assert Tokenizer.load(folder, fingerprint=tokenizer.fingerprint).fingerprint == tokenizer.fingerprint
    train_tokenizer(corpus, 1023).save(tmp_path / "other")
    with pytest.raises(Refused, match="put back the tokenizer"):
        Tokenizer.load(tmp_path / "other", fingerprint=tokenizer.fingerprint)
    shutil.copytree(folder, tmp_path / "edited")
    with (tmp_path / "edited" / "chat_template.jinja").open("a") as stream:
        stream.write("x")
    with pytest.raises(Refused, match="put back the tokenizer"):
        Tokenizer.load(tmp_path / "edited", fingerprint=tokenizer.fingerprint)


def test_the_fingerprint_does_not_depend_on_the_layout_of_the_file(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    assert Tokenizer.load(tmp_path / "copy").fingerprint == Tokenizer.load(folder).fingerprint


def test_saving_what_was_loaded_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    Tokenizer.load(folder).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(TOKENIZER_FILES)
    for name in TOKENIZER_FILES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_export_3_the_template_stands_equal_in_both_files(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["chat_template"] == (folder / "chat_template.jinja").read_text(encoding="utf-8")
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_serve_5_the_template_is_found_in_either_place(folder: Path, tmp_path: Path) -> None:
    template = Tokenizer.load(folder).template
    only_file = edited(folder, tmp_path / "file", chat_template=None)
    only_key = edited(folder, tmp_path / "key")
    (only_key / "chat_template.jinja").unlink()
    assert Tokenizer.load(only_file).template == Tokenizer.load(only_key).template == template
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": template}]
    several = edited(folder, tmp_path / "several", chat_template=named)
    (several / "chat_template.jinja").unlink()
    assert Tokenizer.load(several).template == template


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda f: (f / "tokenizer.json").unlink(),
            "tokenizer.json: No such file or directory; give the folder",
        ),
        (lambda f: (f / "tokenizer.json").write_bytes(b'{"model": '), "tokenizer.json: not JSON"),
        (lambda f: (f / "tokenizer.json").write_bytes(b"\x80\x02pickle"), "tokenizer.json: not JSON"),
        (lambda f: (f / "tokenizer.json").write_text("[]"), "a JSON object is wanted, not list"),
        (
            lambda f: (f / "tokenizer.json").write_text('{"decoder": {"type": "WordPiece"}}'),
            "not a byte-level",
        ),
        (lambda f: (f / "tokenizer.json").write_text('{"decoder": null}'), "not a byte-level"),
        (lambda f: (f / "tokenizer.json").write_text('{"decoder": "ByteLevel"}'), "not a byte-level"),
        (
            lambda f: (f / "tokenizer.json").write_text('{"decoder": {"type": "ByteLevel"}}'),
            "not a tokenizer",
        ),
        (lambda f: (f / "tokenizer_config.json").write_text("{"), "tokenizer_config.json: not JSON"),
        (lambda f: (f / "chat_template.jinja").write_bytes(b"\xff"), "chat_template.jinja: cannot be read"),
    ],
)
def test_a_missing_or_corrupt_file_is_one_clear_line(
    folder: Path, tmp_path: Path, write: Any, message: str
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    write(copy)
    with pytest.raises(Refused) as caught:
        Tokenizer.load(copy)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tok_12_pad_is_an_id_of_its_own(tokenizer: Tokenizer) -> None:
    assert len({tokenizer.bos, tokenizer.eos, tokenizer.pad, tokenizer.end}) == 4
    assert (tokenizer.bos, tokenizer.eos, tokenizer.pad, tokenizer.end) == (0, 1, 2, 7)


@pytest.mark.parametrize("pad", ["<|end|>", "<|eos|>", {"content": "<|eos|>", "special": True}])
def test_tok_12_a_pad_that_ends_texts_is_refused_with_the_fix(folder: Path, tmp_path: Path, pad: Any) -> None:
    loaded = Tokenizer.load(edited(folder, tmp_path / "t", pad_token=pad))
    with pytest.raises(Refused, match=r'set "pad_token" in tokenizer_config.json to another special token'):
        _ = loaded.pad


def test_tok_12_no_pad_is_refused_with_the_fix(folder: Path, tmp_path: Path) -> None:
    from exnihilo.tokenizer.template import Renderer

    loaded = Tokenizer.load(edited(folder, tmp_path / "t", pad_token=None))
    assert loaded.encode("usable all the same")
    with pytest.raises(Refused, match=r"pad_token is not set; .* such as '<\|pad\|>'"):
        _ = loaded.pad
    with pytest.raises(Refused, match="pad_token is not set"):
        Renderer(loaded).check()
    unknown = Tokenizer.load(edited(folder, tmp_path / "u", pad_token="<pad>"))
    with pytest.raises(Refused, match=r"'<pad>' is not in tokenizer\.json"):
        _ = unknown.pad


def test_a_byte_level_tokenizer_of_someone_else(tmp_path: Path, scripts: dict[str, str]) -> None:
    """GPT-2's own layout: one special token with three roles, a post-processor, no config beside it."""
    other = tokenizers.ByteLevelBPETokenizer()
    other.train_from_iterator(scripts.values(), 400, special_tokens=["<|endoftext|>"], show_progress=False)
    other.add_tokens(["<think>"])
    other.enable_truncation(4)
    other.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "special_tokens_map.json").write_text('{"eos_token": {"content": "<|endoftext|>"}}')
    loaded = Tokenizer.load(tmp_path)
    text = "truncation is off: <|endoftext|> " + scripts["arabic"]
    ids = loaded.encode(text)
    assert loaded.decode_bytes(ids) == text.encode()
    assert loaded.special["<|endoftext|>"] not in ids
    assert loaded.eos == loaded.end == loaded.special["<|endoftext|>"]
    assert loaded.token_bytes[loaded.encode("<think>")[0]] == b"<think>"
    with pytest.raises(Refused, match="bos_token is not set"):
        _ = loaded.bos


def test_transformers_reads_the_folder_and_gives_the_same_ids(
    tokenizer: Tokenizer, folder: Path, scripts: dict[str, str], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    rng = random.Random(1)
    texts = [*scripts.values(), "a\r\n\tb  c'll 1234", *(random_text(rng, 20) for _ in range(200))]
    for text in texts:
        if any(literal in text for literal in SPECIALS):
            continue
        assert theirs(text)["input_ids"] == theirs.encode(text) == tokenizer.encode(text)
        assert theirs.decode(theirs.encode(text)) == text
    assert (theirs.bos_token_id, theirs.pad_token_id, theirs.eos_token_id) == (0, 2, tokenizer.end)
    assert len(theirs) == tokenizer.vocab_size
    theirs.save_pretrained(tmp_path)
    assert Tokenizer.load(tmp_path, fingerprint=tokenizer.fingerprint).special == tokenizer.special
    conversation = [tokenizer.bos, *tokenizer.encode("x"), tokenizer.end, tokenizer.eos]
    assert theirs.decode(conversation, skip_special_tokens=True) == "x"

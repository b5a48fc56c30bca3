"""SentencePiece's BPE, as Llama 1 and 2 and Mistral have it: texts come back to the byte, wherever they stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import SentencePieceBPETokenizer
from transformers import AutoTokenizer

from exnihilo.core.errors import Refused
from exnihilo.tokenizer.adopt import adopt
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer, bytes_of_piece

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
OLD = {  # the space before a text, by a normalizer (Llama 2's files) or by a pre-tokenizer (newer ones)
    "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ]},
    "pre_tokenizer": None,
}  # fmt: skip
NEW = {
    "normalizer": None,
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
}


def llama(folder: Path, parts: dict[str, Any]) -> Path:
    """A folder as `transformers` has it, with pieces, bytes and the decoder of Llama 2."""
    trained = SentencePieceBPETokenizer()
    trained.train_from_iterator(["the quick brown fox and the dog\n"] * 4, 60, show_progress=False)
    pieces = [piece for piece, _ in sorted(trained.get_vocab().items(), key=lambda item: item[1])]
    merges = json.loads(trained.to_str())["model"]["merges"]
    specials = ["<unk>", "<s>", "</s>"]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys([*specials, *BYTES, *pieces]))}
    decoders = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]
    added = [
        {"id": i, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
        for i, name in enumerate(specials)
    ]  # fmt: skip
    data = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        **parts,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "vocab": vocabulary,
                  "merges": merges},
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(data))
    names = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return folder


TEXTS = ["the fox", " the fox", "  two", "", "a\nb\n", "四 «dog»", "\x00\x7f", "<s> is text", "fox" * 30]


@pytest.mark.parametrize("parts", [OLD, NEW], ids=["normalizer", "metaspace"])
def test_texts_come_back_to_the_byte_wherever_they_stand(parts: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(llama(tmp_path, parts))
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    for first in TEXTS:
        for second in TEXTS:
            assert tokenizer.decode([*tokenizer.encode(first), *tokenizer.encode(second)]) == first + second
    assert tokenizer.encode("the fox") != tokenizer.encode(" the fox")
    assert tokenizer.special["<s>"] not in tokenizer.encode("<s> is text")


@pytest.mark.parametrize("parts", [OLD, NEW], ids=["normalizer", "metaspace"])
def test_it_is_adopted_and_transformers_agrees_with_what_is_saved(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    tokenizer, lines = adopt(Tokenizer.load(llama(tmp_path / "given", parts)))
    assert any("plain words" in line for line in lines)
    tokenizer.save(tmp_path / "mine")
    again, theirs = Tokenizer.load(tmp_path / "mine"), AutoTokenizer.from_pretrained(tmp_path / "mine")
    for text in TEXTS[:-2]:
        assert (
            theirs(text, add_special_tokens=False)["input_ids"]
            == again.encode(text)
            == tokenizer.encode(text)
        )
    chat = [{"role": "user", "content": "the fox"}, {"role": "assistant", "content": "quick"}]
    rendered = Renderer(again).render(chat)
    trained = [i for i, now in zip(rendered.ids, rendered.mask, strict=True) if now]
    assert again.decode(trained, skip_special=False) == "quick</s>"


def test_pieces_are_bytes_and_spaces() -> None:
    assert bytes_of_piece("<0x0A>") == b"\n" and bytes_of_piece("▁the") == b" the"
    assert bytes_of_piece("<0x0>") == b"<0x0>" and bytes_of_piece("四") == "四".encode()


def test_a_tokenizer_of_words_is_refused(tmp_path: Path) -> None:
    folder = llama(tmp_path, OLD)
    data = json.loads((folder / "tokenizer.json").read_text())
    data["model"]["byte_fallback"] = False
    (folder / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(Refused, match="not a byte-level tokenizer"):
        Tokenizer.load(folder)

"""A byte-level tokenizer and its folder in Hugging Face layout."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from blake3 import blake3

from exnihilo.core.errors import Refused
from exnihilo.core.files import write_atomic, write_json
from exnihilo.tokenizer.folder import (
    is_byte_fallback,
    is_byte_level,
    is_wordpiece,
    read_json,
    read_optional_json,
    read_template,
    role_names,
    without_prefix,
)
from exnihilo.tokenizer.special import END, EOS

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
"""Every file that `Tokenizer.save` writes; the last one only where there is a template."""


OPENS, CLOSES = "document_opens_with", "document_closes_with"
"""Keys of `tokenizer_config.json` for imported tokenizers, in which no role is what opens or closes a document."""


class Tokenizer:
    """Text to ids and back, over `tokenizers.Tokenizer`; any `tokenizer.json` of bytes will do.

    `config` is the content of `tokenizer_config.json`, `template` the Jinja chat template ("" if there is
    none), `where` the name that errors give.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        config: Mapping[str, Any],
        template: str,
        where: str = "tokenizer",
    ) -> None:
        backend.no_truncation()
        backend.no_padding()
        # Without this a special token's literal in ordinary text becomes its id. The setting is not saved in
        # tokenizer.json, so it is made here, on the only way in.
        backend.encode_special_tokens = True
        self._backend = backend
        self._config = dict(config)
        self.where = where
        self.template = template
        vocabulary = backend.get_vocab(with_added_tokens=True)
        self.vocab_size: int = max(vocabulary.values()) + 1
        self.names: dict[str, str] = role_names(self._config)
        added = {token.content: i for i, token in backend.get_added_tokens_decoder().items() if token.special}
        named = {name: vocabulary[name] for name in self.names.values() if name in vocabulary}
        self.special: dict[str, int] = dict(sorted((added | named).items(), key=lambda item: item[1]))

    @staticmethod
    def load(folder: Path | str, *, fingerprint: str | None = None) -> Tokenizer:
        """Read a folder. With `fingerprint`, the tokenizer must be that one.

        Raises `Refused` for a missing or corrupt file, a tokenizer that is not byte-level, or another one
        than `fingerprint` names (a model that meets another tokenizer than its own writes gibberish, and no
        error).
        """
        folder = Path(folder)
        path = folder / "tokenizer.json"
        data = read_json(path, "give the folder of a tokenizer or a model")
        if is_byte_fallback(data):
            data = without_prefix(data)
        elif not is_byte_level(data) and not is_wordpiece(data):
            raise Refused(
                f"{path}: not a byte-level tokenizer (its decoder is not ByteLevel); use one that is"
            )
        try:
            backend = tokenizers.Tokenizer.from_str(json.dumps(data))
        except Exception as error:  # the library raises Exception itself and no class of its own
            raise Refused(f"{path}: not a tokenizer ({error}); fetch or train it again") from error
        config = read_optional_json(folder / "tokenizer_config.json")
        for key, value in read_optional_json(folder / "special_tokens_map.json").items():
            config.setdefault(key, value)
        loaded = Tokenizer(backend, config=config, template=read_template(folder, config), where=str(folder))
        loaded._check_literals(path, data)
        if fingerprint is not None and loaded.fingerprint != fingerprint:
            raise Refused(
                f"{folder}: this is tokenizer {loaded.fingerprint[:12]}, and {fingerprint[:12]} is needed; "
                "put back the tokenizer that the model or the tokens were made with"
            )
        return loaded

    def with_template(self, template: str) -> Tokenizer:
        """The same tokenizer with another chat template, and so with another fingerprint."""
        return Tokenizer(self._backend, config=self._config, template=template, where=self.where)

    def with_roles(self, roles: Mapping[str, str]) -> Tokenizer:
        """The same tokenizer with other tokens in its roles (`pad_token` and so on, `OPENS` and `CLOSES`). A token that
        is not there yet is added, with the next free id."""
        backend = tokenizers.Tokenizer.from_str(self._backend.to_str())
        fresh = [name for name in dict.fromkeys(roles.values()) if backend.token_to_id(name) is None]
        backend.add_special_tokens([tokenizers.AddedToken(name, normalized=False) for name in fresh])
        config = {**self._config, **roles}
        return Tokenizer(backend, config=config, template=self.template, where=self.where)

    def save(self, folder: Path | str, *, max_length: int | None = None) -> None:
        """Write the files of `TOKENIZER_FILES`; beyond `max_length` tokens `transformers` warns."""
        folder = Path(folder)
        config = dict(self._config)
        if max_length is not None:
            config["model_max_length"] = max_length
        if self.template:
            # In both places, equal: older readers know only the key, newer ones prefer the file.
            config["chat_template"] = self.template
            write_atomic(folder / "chat_template.jinja", self.template)
        write_atomic(folder / "tokenizer.json", self._backend.to_str(pretty=True))
        write_json(folder / "tokenizer_config.json", config)
        others = [name for name in self.special if name not in self.names.values()]
        write_json(folder / "special_tokens_map.json", {**self.names, "additional_special_tokens": others})

    @cached_property
    def fingerprint(self) -> str:
        """blake3 of the canonical `tokenizer.json` and the chat template, in hexadecimal."""
        content = json.loads(self._backend.to_str())
        # No id depends on it here, and `transformers` writes an empty one when it saves the folder again.
        del content["post_processor"]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return blake3(f"{canonical}\0{self.template}".encode()).hexdigest()

    @property
    def bos(self) -> int:
        """The id that opens a document. Raises `Refused` if there is none."""
        opens = self._config.get(OPENS)
        return self.special[opens] if opens in self.special else self._role("bos_token")

    @property
    def eos(self) -> int:
        """The id that ends a document. Raises `Refused` if there is none."""
        # `eos_token` on disk is what generation outside must stop on, and that is the end of a turn.
        closes = self._config.get(CLOSES, EOS)
        return self.special[closes] if closes in self.special else self._role("eos_token")

    @property
    def end(self) -> int:
        """The id that ends a turn. Raises `Refused` if there is none."""
        return self.special[END] if END in self.special else self._role("eos_token")

    @property
    def pad(self) -> int:
        """The id that fills rows. Raises `Refused` if there is none, or if it is also an end token.

        With `pad == eos` the end token is masked along with the padding and stopping is never learned.
        """
        pad = self._role("pad_token")
        if pad in (self.eos, self.end):
            raise Refused(
                f"{self.where}: pad_token is {self.names['pad_token']!r}, which also ends texts, so that "
                'stopping is never learned; set "pad_token" in tokenizer_config.json to another special token'
            )
        return pad

    def encode(self, text: str) -> list[int]:
        """Ids of ordinary text: no BOS is added, and a special's literal never yields its id.

        Raises `Refused` for text that is not Unicode (half of a surrogate pair, as in JSON's `\\ud83d`).
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for each text, on all cores."""
        texts = list(texts)
        try:
            encodings = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        except TypeError as error:
            broken = next((text for text in texts if not is_unicode(text)), None)
            if broken is None:
                raise
            raise Refused(
                f"half of a surrogate pair in {broken!r:.80}; mend the text's \\ud… escapes"
            ) from error
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """Text of ids; bytes that are not UTF-8 become U+FFFD, special tokens nothing or their literal."""
        if skip_special:
            return self.decode_bytes(ids).decode("utf-8", "replace")
        literals = {i: literal.encode() for literal, i in self.special.items()}
        return b"".join(literals.get(i) or self._bytes_of(i) for i in ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of ids, special tokens left out. Raises ValueError for an id outside the vocabulary."""
        return b"".join([self._bytes_of(i) for i in ids])

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The raw bytes of each id: `b""` for special tokens and for ids that no token has."""
        table = [b""] * self.vocab_size
        data = json.loads(self._backend.to_str())
        of_token: Callable[[str], bytes] = bytes_of_token
        if is_byte_fallback(data):
            of_token = bytes_of_piece
        elif is_wordpiece(data):
            of_token = bytes_of_wordpiece
        for token, i in self._backend.get_vocab(with_added_tokens=False).items():
            table[i] = of_token(token)
        for i, added in self._backend.get_added_tokens_decoder().items():
            table[i] = bytes_of_piece(added.content) if of_token is bytes_of_piece else added.content.encode()
        for i in self.special.values():
            table[i] = b""
        return table

    def _check_literals(self, path: Path, data: Mapping[str, Any]) -> None:
        # Unigram finds any entry of its vocabulary in a text, also those that are not text.
        if data["model"]["type"] != "Unigram":
            return
        for literal in [*self.special, "<0x41>"]:
            if self.decode(self.encode(literal)) != literal:
                raise Refused(
                    f"{path}: {literal!r} in a text becomes its id; make the tokenizer from its .model file"
                )

    def _bytes_of(self, i: int) -> bytes:
        if not 0 <= i < self.vocab_size:
            raise ValueError(f"id {i} is outside the vocabulary of {self.vocab_size}")
        return self.token_bytes[i]

    def _role(self, role: str) -> int:
        name = self.names.get(role)
        if name is None or name not in self.special:
            is_what = "is not set" if name is None else f"{name!r} is not in tokenizer.json"
            raise Refused(
                f'{self.where}: {role} {is_what}; set "{role}" in tokenizer_config.json to a special token '
                "of its own" + (", such as '<|pad|>'" if role == "pad_token" else "")
            )
        return self.special[name]


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: half of a surrogate pair cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in `tokenizer.json`, as GPT-2 introduced it.

    Bytes that print in Latin-1 stand for themselves; the others, in order, are U+0100, U+0101, …
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(hidden)) for byte in range(256)]


_BYTE_OF = {character: byte for byte, character in enumerate(byte_characters())}


def bytes_of_token(token: str) -> bytes:
    """The raw bytes that a token of a byte-level vocabulary stands for."""
    values = [_BYTE_OF.get(character) for character in token]
    known = [value for value in values if value is not None]
    return bytes(known) if len(known) == len(values) else token.encode()


def bytes_of_piece(piece: str) -> bytes:
    """The raw bytes that a piece of SentencePiece's stands for: `<0x0A>` is a byte, `▁` a space."""
    byte = _PIECE_BYTE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace("▁", " ").encode()


def bytes_of_wordpiece(piece: str) -> bytes:
    """The bytes of a piece of WordPiece's: `##s` goes on with a word, others open one, after a space.

    Of the text's own white space the ids hold nothing, so that this space is a convention.
    """
    return piece[2:].encode() if piece.startswith("##") and len(piece) > 2 else b" " + piece.encode()


_PIECE_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")

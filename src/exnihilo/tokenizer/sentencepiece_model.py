"""SentencePiece's `.model` files, BPE and Unigram, turned into a tokenizer of ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from exnihilo.core.errors import MissingExtra, Refused
from exnihilo.tokenizer.tokenizer import Tokenizer

_UNIGRAM, _BPE = 1, 2
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)


def load_sentencepiece(path: Path | str) -> Tokenizer:
    """The tokenizer in a `.model` file, with its ids, without a chat template.

    The space that SentencePiece puts before a text is left out, as `Tokenizer.load` does: `encode(" " + text)` is what
    SentencePiece calls the ids of `text`. U+2581 in a text is a space to SentencePiece, and so it is here.

    Raises MissingExtra without the extra `sentencepiece`, Refused for a file that can't be read or is not such a
    model, and for one that lacks bytes for what it has no piece of.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}; give a SentencePiece .model file") from error
    model = _parse(content, str(path))
    spec = model.trainer_spec
    names = [piece.piece for piece in model.pieces]
    roles = {
        "bos_token": spec.bos_id,
        "eos_token": spec.eos_id,
        "pad_token": spec.pad_id,
        "unk_token": spec.unk_id,
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        **{role: names[i] for role, i in roles.items() if 0 <= i < len(names)},
    }
    return Tokenizer(_backend(model, str(path)), config=config, template="", where=str(path))


def backend_of(content: bytes) -> tokenizers.Tokenizer:
    """What a `.model` file's content is for the library `tokenizers`; raises what `load_sentencepiece` does."""
    return _backend(_parse(content, "the trained model"), "the trained model")


def _parse(content: bytes, where: str) -> Any:
    try:
        from google.protobuf.message import DecodeError
        from sentencepiece import sentencepiece_model_pb2
    except ImportError as error:
        raise MissingExtra("sentencepiece", needed_for=f"reading {where}") from error
    model: Any = vars(sentencepiece_model_pb2)["ModelProto"]()  # the generated module has no types
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise Refused(f"{where}: not a SentencePiece model ({error}); fetch it again") from error
    return model


def _backend(model: Any, where: str) -> tokenizers.Tokenizer:
    pieces, kind = list(model.pieces), model.trainer_spec.model_type
    types = {piece.type for piece in pieces}
    if kind not in (_UNIGRAM, _BPE) or _UNKNOWN not in types:
        raise Refused(f"{where}: neither a BPE nor a Unigram model of SentencePiece's; use one that is")
    if sum(piece.type == _BYTE for piece in pieces) != 256:
        raise Refused(
            f"{where}: has no bytes for what it lacks, and would lose it; train it with byte_fallback"
        )
    if _UNUSED in types:
        raise Refused(
            f"{where}: holds pieces that are switched off, which no other format knows; mark them normal"
        )
    unknown = next(i for i, piece in enumerate(pieces) if piece.type == _UNKNOWN)
    literals = [piece.piece for piece in pieces if piece.type in (_CONTROL, _UNKNOWN)]
    found: models.Model
    if kind == _BPE:
        ids = {piece.piece: i for i, piece in enumerate(pieces)}
        found = models.BPE(
            ids, _merges(pieces), unk_token=pieces[unknown].piece, fuse_unk=True, byte_fallback=True
        )
    else:
        # Nine digits tell 32-bit numbers apart, and `tokenizers` reads them back as it wrote them. The 17 digits of a
        # 64-bit one it does not, and the fingerprint would change when the file is loaded.
        scored = [(piece.piece, float(f"{piece.score:.9g}")) for piece in pieces]
        found = models.Unigram(scored, unk_id=unknown, byte_fallback=True)
    backend = tokenizers.Tokenizer(found)
    backend.normalizer = _normalizer(model.normalizer_spec)
    if kind == _UNIGRAM:
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(_inside(literals)), "isolated")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in literals])
    backend.add_tokens(
        [AddedToken(piece.piece, normalized=True) for piece in pieces if piece.type == _USER_DEFINED]
    )
    return backend


def _normalizer(spec: Any) -> normalizers.Normalizer:
    steps: list[normalizers.Normalizer] = []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    return normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])


def _merges(pieces: list[Any]) -> list[tuple[str, str]]:
    """The merges that SentencePiece reads from scores: any two pieces that make a third, best score first."""
    ids = {piece.piece: i for i, piece in enumerate(pieces) if piece.type == _NORMAL}
    merges = []
    for piece, i in ids.items():
        for at in range(1, len(piece)):
            left, right = piece[:at], piece[at:]
            if left in ids and right in ids:
                merges.append((-pieces[i].score, i, ids[left], ids[right], (left, right)))
    return [merge[-1] for merge in sorted(merges)]


def _inside(literals: list[str]) -> str:
    """Matches behind the first character of each literal that a text may hold and that must not become its id.

    `tokenizers` searches all pieces of a Unigram model in a text, control symbols and bytes among them; SentencePiece
    searches the ordinary ones only.
    """
    cuts = [
        f"(?<={re.escape(literal[0])})(?={re.escape(literal[1:])})"
        for literal in literals
        if len(literal) > 1
    ]
    return "|".join([*cuts, "(?<=<)(?=0x[0-9A-Fa-f]{2}>)"])

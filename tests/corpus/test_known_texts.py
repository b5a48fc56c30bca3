"""What earlier runs hold is known again, exactly or nearly, and nothing else."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from exnihilo.core.errors import Refused
from exnihilo.corpus import folded
from exnihilo.corpus.known_texts import BandRule, KnownTexts, write_index, write_part

RULE = BandRule()


def texts(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(f"w{chance.randrange(5000)}" for _ in range(150)) for _ in range(count)]


def index(folder: Path, parts: list[list[str]]) -> KnownTexts:
    (folder / "parts").mkdir()
    for number, part in enumerate(parts):
        write_part(folder / "parts", f"{number}", part, RULE)
    write_index(folder / "index", folder / "parts", RULE)
    return KnownTexts(folder / "index", RULE)


def test_known_texts(tmp_path: Path) -> None:
    held = texts(60, 1)
    known = index(tmp_path, [held[:25], held[20:], ["", "!!"], []])
    assert known.seen(held).all() and known.copies([f" {one}\n" for one in held]).all()
    near = [" ".join([*one.split()[:70], "other", *one.split()[71:]]).upper() for one in held]
    assert not known.copies(near).any()
    assert known.seen(near).all()
    assert not known.seen(texts(200, 2)).any()
    assert known.shared_bands([held[0], "?? nothing known"]).tolist() == [RULE.bands, 0]
    assert known.seen(["", " ! !", "!!", "?"]).tolist() == [True, False, True, False]
    assert known.seen([]).tolist() == []


def test_the_index_does_not_depend_on_the_parts(tmp_path: Path) -> None:
    held = texts(30, 3)
    files = []
    for name, parts in (("a", [held]), ("b", [held[15:], held[:20]])):
        (tmp_path / name).mkdir()
        index(tmp_path / name, parts)
        files.append([(tmp_path / name / "index" / f).read_bytes() for f in ("digests.u64", "bands.u64")])
    assert files[0] == files[1]


def test_an_index_with_other_parameters_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index(tmp_path, [["some text"]])
    with pytest.raises(Refused, match=r"other parameters than are wanted now \(bands, words\)"):
        KnownTexts(tmp_path / "index", replace(RULE, bands=9, words=8))
    with monkeypatch.context() as patch:
        patch.setattr(folded, "NAME", "folded-0")
        with pytest.raises(Refused, match=r"\(normalisation\)"):
            KnownTexts(tmp_path / "index", RULE)
    with pytest.raises(Refused, match="no index of known texts"):
        KnownTexts(tmp_path / "parts", RULE)
    (tmp_path / "index" / "bands.u64").unlink()
    with pytest.raises(Refused, match=r"bands.u64: No such file"):
        KnownTexts(tmp_path / "index", RULE)

"""Wrongly decoded text set right, and everything else left as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import ftfy
import pytest

from exnihilo.core.artifact import Artifact
from exnihilo.core.documents import read_documents
from exnihilo.corpus import mojibake
from exnihilo.corpus.mojibake import repair

TEXTS = [
    "Der Fluß führt Sand und Steine durch das Tal, und im Frühjahr steigt das Wasser über die Ufer.",
    "L’été, la rivière coule lentement — « très lentement » — vers la mer.",
    "Река несёт песок и камни через долину, и весной вода поднимается.",
    "河流带着沙子和石头穿过山谷，春天水位上涨。",
    "النهر يحمل الرمل والحجارة عبر الوادي.",
    "“It’s 5° – 7° in the ﬁrst week…” ﬀ ｗｉｄｅ",
    "naïve café, Señor Ångström, ½ £3 §4 ©",
    "ТЕКСТ «СССР» и ЁЖ, Ёлка; В№ 5, Я… “Ж”",
]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac_roman", "cp437"])
@pytest.mark.parametrize("text", TEXTS[:2])
def test_what_was_read_in_another_encoding_is_repaired(text: str, encoding: str) -> None:
    try:
        wrong = text.encode().decode(encoding)
    except UnicodeDecodeError:
        pytest.skip(f"{encoding} cannot read these bytes")
    assert wrong != text
    assert repair(wrong) == text
    mixed = f"{text}\n{wrong}\n{text}\n"
    assert repair(mixed) == f"{text}\n{text}\n{text}\n"
    assert repair(mixed * 300) == f"{text}\n{text}\n{text}\n" * 300  # more than one window


@pytest.mark.parametrize("text", TEXTS)
def test_good_text_is_the_very_same_object(text: str) -> None:
    assert repair(text) is text
    assert repair(text * 999) is not None and repair(text.upper()) == text.upper()


def test_no_break_spaces_that_became_spaces() -> None:
    assert repair("voilÃ  tout") == "voilà tout"


def test_clean_text_never_reaches_ftfy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = ftfy.fix_encoding

    def count(text: str, config: ftfy.TextFixerConfig) -> str:
        asked.append(text)
        return real(text, config)

    monkeypatch.setattr(mojibake.ftfy, "fix_encoding", count)
    repair("\n".join(TEXTS[:7] * 50))
    assert asked == []
    repair("sand\ncafÃ©\nsand")
    assert asked == ["cafÃ©"]


def test_counts_and_source_code(run_collect: Callable[..., Artifact], tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    (root / "a.txt").write_text("cafÃ©\n")
    (root / "b.txt").write_text("café\n")
    (root / "c.py").write_text("wrong = 'cafÃ©'\n")
    (root / "d.txt").write_bytes(
        ("Der Fluß führt Sand über die Ufer, größer und schöner. " * 5).encode("cp1252")
    )
    artifact = run_collect({"path": str(root)})
    texts = {one.meta["path"]: one.text for one in read_documents(artifact.path)}
    assert texts["a.txt"] == texts["b.txt"] == "café\n"
    assert texts["c.py"] == "wrong = 'cafÃ©'\n"
    report = json.loads((artifact.path / "collection.json").read_text())
    assert (report["repaired"], report["encodings"]) == (1, {"cp1252": 1})
    assert {"repaired the encoding in 1", "read 1 as cp1252"} <= set(artifact.manifest["lines"])
    off = run_collect({"path": str(root)}, name="off", repair=False)
    assert next(iter(read_documents(off.path))).text == "cafÃ©\n"

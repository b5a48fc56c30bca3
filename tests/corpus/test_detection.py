"""Encodings: stated, detected with confidence, lied about."""

from __future__ import annotations

import gzip
import random

import pytest

from exnihilo.corpus.detection import Decoded, confidence, decode_any
from exnihilo.corpus.findings import Skipped

TEXTS = {
    "cp1252": "Der Fluß führt Sand und Steine durch das Tal, und im Frühjahr steigt das Wasser über die Ufer. "
    "Größere Städte schützen sich mit Dämmen.",
    "cp1250": "Řeka nese písek a kameny údolím a na jaře voda stoupá. Větší města se chrání hrázemi, "
    "které se každý rok opravují.",
    "cp1251": "Река несёт песок и камни через долину, и весной вода поднимается.",
    "koi8-r": "Река несёт песок и камни через долину, и весной вода поднимается.",
    "cp1253": "Ο ποταμός μεταφέρει άμμο και πέτρες μέσα από την κοιλάδα και την άνοιξη το νερό ανεβαίνει.",
    "cp1256": "النهر يحمل الرمل والحجارة عبر الوادي، وفي الربيع يرتفع الماء فوق الضفاف.",
    "gb18030": "河流带着沙子和石头穿过山谷，春天水位上涨，淹没了两岸的田地。",
    "big5": "河流帶著沙子和石頭穿過山谷，春天水位上漲，淹沒了兩岸的田地。",
    "cp932": "川は砂と石を谷に運び、春には水が増えて岸を越えます。",
    "euc_jp": "川は砂と石を谷に運び、春には水が増えて岸を越えます。",
    "cp949": "강은 모래와 돌을 계곡으로 나르고 봄에는 물이 불어나 둑을 넘는다.",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_text_in_an_old_encoding_is_read(encoding: str) -> None:
    text = TEXTS[encoding] * 3
    decoded = decode_any(text.encode(encoding), "a")
    assert isinstance(decoded, Decoded) and decoded.text == text


LATIN = ("cp1252", "cp1250")
OTHER = ("cp1251", "koi8-r", "cp1253", "cp1256", "gb18030", "big5")


@pytest.mark.parametrize(
    ("own", "other"),
    [(own, other) for own in LATIN for other in OTHER]
    + [(own, other) for own in (*OTHER, "cp932", "euc_jp", "cp949") for other in LATIN]
    + [("cp1251", "koi8-r"), ("koi8-r", "cp1251")],
)
def test_a_wrong_proposal_of_another_script_is_not_believed(own: str, other: str) -> None:
    # Which of two Chinese encodings, or of two Latin ones, is uchardet's to tell.
    assert confidence(TEXTS[own], own) >= 0.95
    assert confidence(TEXTS[own].encode(own).decode(other, "replace"), other) < 0.95


def test_bytes_that_are_no_text_are_not_taken_for_any() -> None:
    draw = random.Random(0)
    for _ in range(50):
        noise = bytes(draw.choice(range(1, 256)) for _ in range(2000))
        printable = bytes(one for one in noise if one >= 0xA0 or 0x20 <= one < 0x7F)
        packed = gzip.compress(noise).replace(b"\0", b"")
        for data in (noise, printable, packed):
            assert isinstance(decode_any(data, "a"), Skipped)


def test_too_little_evidence_is_not_enough() -> None:
    assert decode_any(b"0123456789\xe9t\xe9", "a") == Skipped("not UTF-8", "a: byte 10 is 0xe9")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_byte_order_marks(encoding: str) -> None:
    decoded = decode_any("河流 and sand".encode(encoding), "a")
    assert isinstance(decoded, Decoded) and decoded.text == "河流 and sand"


def test_what_is_stated_is_tried_and_valid_utf_8_wins() -> None:
    assert decode_any(b"caf\xe9", "a", "ISO-8859-1") == Decoded("café", "cp1252")
    assert decode_any("café".encode(), "a", "ISO-8859-1") == Decoded("café")
    assert decode_any(b"caf\xe9", "a", "no-such-encoding") == Skipped("not UTF-8", "a: byte 3 is 0xe9")
    assert decode_any(b"caf\xe9", "a", "utf-7") == Skipped("not UTF-8", "a: byte 3 is 0xe9")


def test_lies() -> None:
    assert decode_any(b"\xff\xfe" + b"abc", "a") == Skipped(
        "not in the encoding it states", "a: no utf-16 at byte 4"
    )
    behind_a_mark = decode_any(b"\xff\xfe" + b"The river carries sand." * 2, "a")
    assert behind_a_mark == Skipped("not in the encoding it states", "a: ASCII behind a mark of utf-16")
    assert decode_any(b"\xef\xbb\xbfcaf\xe9", "a") == Skipped("not UTF-8", "a: byte 6 is 0xe9")
    lie = decode_any(b"sand \xe9\xff", "a", "shift_jis")
    assert isinstance(lie, Skipped) and lie.reason == "not in the encoding it states"
    # A text that can be told is read in spite of what it says.
    decoded = decode_any((TEXTS["cp1251"] * 3).encode("cp1251"), "a", "big5")
    assert isinstance(decoded, Decoded) and decoded.encoding == "cp1251"

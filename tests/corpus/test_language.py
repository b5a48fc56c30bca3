"""The language of short texts in twelve languages, of long ones, and of what is none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from exnihilo.core.errors import ConfigError
from exnihilo.corpus.checks import first_rejection
from exnihilo.corpus.language import LanguageConfig, identify, language_checks, sample

SHORT = {
    "en": [
        "The bus was late again, so we walked home along the river.",
        "Nobody knew who had left the window open during the storm.",
        "She keeps her old letters in a box under the bed.",
    ],
    "de": [
        "Der Bus kam wieder zu spät, also gingen wir am Fluss entlang nach Hause.",
        "Niemand wusste, wer das Fenster offen gelassen hatte.",
        "Ihre alten Briefe liegen in einer Kiste unter dem Bett.",
    ],
    "fr": [
        "Le bus était encore en retard, nous sommes donc rentrés à pied.",
        "Personne ne savait qui avait laissé la fenêtre ouverte.",
        "Elle garde ses vieilles lettres dans une boîte sous le lit.",
    ],
    "es": [
        "El autobús llegó tarde otra vez, así que volvimos andando a casa.",
        "Nadie sabía quién había dejado la ventana abierta durante la tormenta.",
        "Guarda sus cartas antiguas en una caja debajo de la cama.",
    ],
    "it": [
        "L'autobus era di nuovo in ritardo, perciò siamo tornati a casa a piedi.",
        "Nessuno sapeva chi avesse lasciato aperta la finestra.",
        "Tiene le sue vecchie lettere in una scatola sotto il letto.",
    ],
    "nl": [
        "De bus was weer te laat, dus liepen we langs de rivier naar huis.",
        "Niemand wist wie het raam open had laten staan.",
        "Ze bewaart haar oude brieven in een doos onder het bed.",
    ],
    "pl": [
        "Autobus znowu się spóźnił, więc wróciliśmy do domu pieszo.",
        "Nikt nie wiedział, kto zostawił otwarte okno podczas burzy.",
        "Swoje stare listy trzyma w pudełku pod łóżkiem.",
    ],
    "tr": [
        "Otobüs yine geç kaldı, biz de nehir boyunca eve yürüdük.",
        "Pencereyi kimin açık bıraktığını kimse bilmiyordu.",
        "Eski mektuplarını yatağın altındaki bir kutuda saklıyor.",
    ],
    "ru": [
        "Автобус опять опоздал, и мы пошли домой пешком вдоль реки.",
        "Никто не знал, кто оставил окно открытым во время грозы.",
        "Старые письма она хранит в коробке под кроватью.",
    ],
    "ar": [
        "تأخرت الحافلة مرة أخرى فعدنا إلى البيت سيرا على الأقدام.",
        "لم يعرف أحد من ترك النافذة مفتوحة أثناء العاصفة.",
        "تحتفظ برسائلها القديمة في صندوق تحت السرير.",
    ],
    "zh": [
        "公交车又晚点了，我们只好沿着河边走回家。",
        "没有人知道暴风雨的时候是谁开着窗户。",
        "她把旧信放在床底下的一个盒子里。",
    ],
    "hi": [
        "बस फिर देर से आई, इसलिए हम नदी के किनारे पैदल घर गए।",
        "किसी को पता नहीं था कि तूफान में खिड़की किसने खुली छोड़ी थी।",
        "वह अपनी पुरानी चिट्ठियाँ पलंग के नीचे एक डिब्बे में रखती है।",
    ],
}


def test_short_texts_in_twelve_languages() -> None:
    expected = [language for language, texts in SHORT.items() for _ in texts]
    found = identify([text for texts in SHORT.values() for text in texts])
    assert [language for language, _ in found] == expected
    assert all(0 < confidence <= 1 for _, confidence in found)


def test_longer_texts_are_certain_and_shuffled_letters_are_not() -> None:
    texts = [" ".join(texts) for texts in SHORT.values()]
    assert min(confidence for _, confidence in identify(texts)) > 0.8
    letters = ["".join(sorted(text, key=lambda c: (hash_of(c, i), i))) for i, text in enumerate(texts)]
    spaced = [" ".join(text[i : i + 6] for i in range(0, len(text), 6)) for text in letters]
    wrong_or_unsure = [
        language != expected or confidence < 0.8
        for (language, confidence), expected in zip(identify(spaced), SHORT, strict=True)
    ]
    assert sum(wrong_or_unsure) >= 9  # a script of one language gives that language away in any order


def hash_of(character: str, i: int) -> int:
    return (ord(character) + i) * 2654435761 % 1009


def test_a_long_text_is_judged_by_what_it_mostly_is() -> None:
    german = " ".join(SHORT["de"]) + "\n"
    menu = "Home | About us | Sign in | Contact | Search this site | Terms of use | Privacy\n" * 3
    page = menu + german * 40
    assert len(sample(page)) < 1000 < len(page)
    assert menu[:80] not in sample(page)
    (language, confidence), *_ = identify([page])
    assert language == "de" and confidence > 0.9


def test_what_is_no_language() -> None:
    assert [language for language, _ in identify(["", "!!! --- ???", " \n"])] == ["und"] * 3
    assert identify(["4711 0x7f 12.5 99% 3,141 17:30 2024-01-02"])[0][0] == "zxx"


def test_a_text_is_judged_by_itself() -> None:
    texts = [text for texts in SHORT.values() for text in texts]
    assert identify(texts[::-1])[::-1] == [identify([text])[0] for text in texts]


def test_the_filter() -> None:
    identified = [("de", 0.9), ("en", 0.9), ("de", 0.5), ("de", 0.65)]
    checks = language_checks(identified, LanguageConfig(keep=["de"], min_confidence=0.65))
    assert first_rejection(checks, 4).tolist() == [-1, 0, 1, -1]
    assert language_checks(identified, LanguageConfig()) == []
    with pytest.raises(ConfigError, match="no language 'ger'"):
        language_checks(identified, LanguageConfig(keep=["ger"]))


def test_real_texts(data: Path) -> None:
    for name, language in (("tang-poems-zh", "zh"), ("arabic", "ar"), ("brown", "en")):
        with gzip.open(data / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts = [text for line in lines if len(text := json.loads(line)["text"].strip()) > 100][:40]
        assert sum(found == language for found, _ in identify(texts)) >= 39, name

"""Each language's own sentences pass under its limits; letters at random and other languages don't."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from exnihilo.core.errors import ConfigError
from exnihilo.corpus.checks import first_rejection
from exnihilo.corpus.gopher import gopher_quality
from exnihilo.corpus.gopher_config import QualityLimits
from exnihilo.corpus.language_data import known_languages, quality_limits
from exnihilo.corpus.text_batch import TextBatch

SHORT = QualityLimits(min_words=8)  # the sentences here are short; all else is the language's

TEXTS = {
    "en": (
        "The old bridge was closed for repairs, and nobody could tell us when it would be open "
        "again. We have to walk around the hill with our bags."
    ),
    "de": (
        "Die alte Brücke ist wegen Reparaturen gesperrt, und niemand konnte uns sagen, wann sie "
        "wieder geöffnet wird. Wir müssen mit den Taschen um den Hügel gehen."
    ),
    "fr": (
        "Le vieux pont est fermé pour des travaux et personne ne sait quand il va rouvrir. Nous "
        "devons faire le tour de la colline avec nos sacs."
    ),
    "es": (
        "El puente viejo está cerrado por obras y nadie sabe cuándo se va a abrir de nuevo. "
        "Tenemos que dar la vuelta a la colina con las bolsas."
    ),
    "it": (
        "Il vecchio ponte è chiuso per lavori e nessuno sa dire quando sarà di nuovo aperto. "
        "Dobbiamo fare il giro della collina con le borse."
    ),
    "pt": (
        "A ponte velha está fechada para obras e ninguém sabe dizer quando vai abrir de novo. "
        "Temos que dar a volta ao monte com os sacos."
    ),
    "nl": (
        "De oude brug is dicht voor onderhoud en niemand kon ons zeggen wanneer hij weer open "
        "gaat. We moeten met de tassen om de heuvel heen lopen."
    ),
    "pl": (
        "Stary most jest zamknięty z powodu remontu i nikt nie wie, kiedy znowu się otworzy. "
        "Musimy iść z torbami dookoła wzgórza aż do rzeki."
    ),
    "ru": (
        "Старый мост закрыт на ремонт, и никто не знает, когда он снова откроется. Нам придётся "
        "идти с сумками вокруг холма, но это недалеко."
    ),
    "ar": (
        "الجسر القديم مغلق من أجل الإصلاح ولا أحد يعرف متى يفتح مرة أخرى. علينا أن نمشي حول التل "
        "مع الحقائب إلى الجانب الآخر."
    ),
    "fa": (
        "پل قدیمی برای تعمیر بسته است و هیچ کس نمی‌داند که کی دوباره باز می‌شود. باید با کیف‌ها از "
        "کنار تپه به آن سو برویم."
    ),
    "hi": (
        "पुराना पुल मरम्मत के लिए बंद है और किसी को पता नहीं कि वह फिर कब खुलेगा। हमें थैले लेकर पहाड़ी के पीछे से जाना पड़ेगा।"
    ),
    "tr": (
        "Eski köprü onarım için kapalı ve ne zaman yeniden açılacağını kimse bilmiyor. Çantalarla "
        "tepenin etrafından yürümek zorundayız, bu da uzun sürecek."
    ),
    "zh": ("旧桥因为维修已经关闭，没有人知道什么时候会再开放。我们只好背着包绕过山走，在路上休息了一会儿。"),
    "ja": (
        "古い橋は修理のために閉まっていて、いつまた開くのか誰にも分からない。私たちは荷物を持って丘"
        "の周りを歩かなければならない。"
    ),
    "ko": (
        "오래된 다리는 수리 때문에 닫혀 있고 언제 다시 열릴지 아무도 모른다. 우리는 가방을 들고 "
        "언덕을 돌아서 갈 수 있는 길을 찾아야 한다."
    ),
}


def passing(texts: list[str], language: str) -> list[bool]:
    checks = gopher_quality(TextBatch.of(texts), quality_limits(language, SHORT))
    return (first_rejection(checks, len(texts)) < 0).tolist()


def shuffled(text: str, draw: random.Random) -> str:
    """The same letters in other words of the same lengths; in place of ideographs, others at random."""
    letters = [character for character in text if character.isalnum()]
    draw.shuffle(letters)
    letters = [
        chr(draw.randrange(0x4E00, 0x9FA0)) if "\u3040" <= letter <= "\u9fff" else letter
        for letter in letters
    ]
    return "".join(letters.pop() if character.isalnum() else character for character in text)


def test_every_language_has_a_text() -> None:
    assert sorted(TEXTS) == known_languages()


@pytest.mark.parametrize("language", TEXTS)
def test_sentences_pass_and_letters_at_random_do_not(language: str) -> None:
    assert passing([TEXTS[language]], language) == [True]
    draw = random.Random(1)
    assert sum(passing([shuffled(TEXTS[language], draw) for _ in range(40)], language)) <= 4


def test_sentences_of_another_language_fail() -> None:
    kin = ({"es", "fr", "it", "pt"}, {"de", "nl"}, {"zh", "ja"})
    passed = []
    for language in TEXTS:
        found = passing(list(TEXTS.values()), language)
        passed += [{language, other} for other, passes in zip(TEXTS, found, strict=True) if passes]
    assert [pair for pair in passed if len(pair) == 2 and not any(pair <= family for family in kin)] == []


def test_what_was_asked_for_goes_before() -> None:
    given = quality_limits("de", QualityLimits(stop_words=["foo"], max_words=9, min_mean_word=None))
    assert given.stop_words == ["foo"] and given.max_words == 9 and given.min_mean_word is None
    assert given.max_mean_word == 11
    assert quality_limits("en", QualityLimits()) == QualityLimits()
    assert quality_limits("es", QualityLimits()).stop_words[0] == "el"
    with pytest.raises(ConfigError, match="no limits are known for 'xx'"):
        quality_limits("xx", QualityLimits())


def test_stop_words_are_words() -> None:
    """Each is one word as the rules see it, or it could never be found."""
    for language in known_languages():
        for word in quality_limits(language, QualityLimits()).stop_words:
            assert TextBatch.of([word]).words.count.tolist() == [1], (language, word)


@pytest.mark.parametrize(("name", "language", "kept"), [("arabic", "ar", 0.9), ("brown", "en", 0.95)])
def test_real_texts_pass_the_rules_of_their_language(
    data: Path, name: str, language: str, kept: float
) -> None:
    with gzip.open(data / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [text[:2000] for line in lines if len(text := json.loads(line)["text"]) > 300][:200]
    checks = gopher_quality(TextBatch.of(texts), quality_limits(language, QualityLimits()))
    rules = [
        check
        for check in checks
        if "stop words" in check.reason or "too short" in check.reason or "too long" in check.reason
    ]
    assert (first_rejection(rules, len(texts)) < 0).mean() >= kept

"""The page in a real browser: headless Chromium, driven by selenium."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install 'exnihilo[dev]'")

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="no chromium with chromedriver on this machine"
)

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
)
HOSTILE = '<img src=x onerror=hit()><script>hit()</script><a href="javascript:hit()">x</a>'


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    assert BROWSER is not None and DRIVER is not None
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


class Page:
    """The page as a user sees it."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser, self.url = browser, url
        browser.get(url)
        self.wait(lambda: bool(self.all(".column")))

    def wait(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.browser.find_element(By.TAG_NAME, "body").text
            time.sleep(0.02)

    def all(self, selector: str) -> list[WebElement]:
        found: list[WebElement] = self.browser.find_elements(By.CSS_SELECTOR, selector)
        return found

    def one(self, selector: str) -> WebElement:
        (found,) = self.all(selector)
        return found

    def texts(self, selector: str) -> list[str]:
        return [found.text for found in self.all(selector) if found.is_displayed()]

    def type(self, text: str) -> None:
        self.one("#question").send_keys(text, Keys.ENTER)

    def chip(self, text: str) -> None:
        (chip,) = [chip for chip in self.all(".chip") if text in chip.text]
        chip.click()

    def answered(self, turns: int) -> None:
        """Wait until every shown column has so many finished answers."""
        shown = [column for column in self.all(".column") if column.is_displayed()]
        wanted = turns * len(shown)
        self.wait(
            lambda: len(self.texts(".answer:not(.running)")) == wanted and self.one("#send").is_displayed()
        )


@pytest.fixture
def page(browser: webdriver.Chrome, serve: Callable[..., Any], run: Path) -> Page:
    return Page(browser, serve(run).url)


def test_three_answers_stream_and_are_checked(page: Page, tmp_path: Path) -> None:
    assert page.texts(".column h2") == ["base", "sft", "aligned"]
    # Streaming is seen by an observer of the third answer: the text grows.
    page.browser.execute_script(
        "window.seen = []; new MutationObserver(() => {"
        " const answers = document.querySelectorAll('.aligned .answer');"
        " if (answers.length) window.seen.push(answers[0].textContent); })"
        ".observe(document.body, {childList: true, subtree: true, characterData: true});"
    )
    page.chip("join")
    page.answered(1)
    assert page.texts(".answer")[1:] == ["It is in sys.", "It is in os.path."]
    assert page.texts(".answer code") == ["sys", "os.path"]
    assert page.texts(".verdict")[1:] == ["✗ wrong\nexpected os.path", "✓ right"]
    assert page.texts(".tally") == ["0 of 1 right", "0 of 1 right", "1 of 1 right"]
    grown = list(dict.fromkeys(text for text in page.browser.execute_script("return window.seen") if text))
    assert len(grown) > 3 and all(grown[-1].startswith(text.rstrip("`")[:5]) for text in grown[3:])
    assert page.browser.save_screenshot(str(tmp_path / "page.png"))
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_a_conversation_goes_on_and_a_new_one_begins_above_it(page: Page) -> None:
    page.type("Which module defines `join`?")
    page.answered(1)
    page.type("Why?")
    page.answered(2)
    assert len(page.all(".conversation")) == 3
    page.chip("1 + 2")
    page.answered(3)
    assert len(page.all(".conversation.past")) == 3
    first = page.all(".aligned .conversation")[0]
    assert first.find_element(By.CSS_SELECTOR, ".answer").text == "3"
    assert page.texts(".aligned .verdict") == ["✓ right", "✓ right", "can’t be checked"]


def test_settings_reach_the_models(page: Page) -> None:
    page.one("summary").click()
    for box in page.all("#shown input")[:2]:
        box.click()
    assert page.texts(".column h2") == ["aligned"]
    page.browser.execute_script(
        "const t = document.getElementById('temperature'); t.value = 2; t.dispatchEvent(new Event('input'));"
    )
    assert page.one("#temperature-value").text == "2"

    def ask(seed: int) -> str:
        field = page.one("#seed")
        field.clear()
        field.send_keys(str(seed))
        turns = len(page.all(".aligned .turn"))
        if turns:
            page.one("#anew").click()
        page.type("Hello?")
        page.answered(turns + 1)
        return page.all(".aligned .answer")[0].text

    first = ask(1)
    assert ask(2) != first and ask(1) == first
    before = len(page.all(".conversation"))
    page.one("#system").send_keys("Be short.")
    page.type("Hello?")
    page.answered(4)
    assert len(page.all(".conversation")) == before + 1, "another system prompt begins a new conversation"


def test_stop_ends_the_answer_and_the_page_goes_on(
    browser: webdriver.Chrome, serve: Callable[..., Any], endless: Path
) -> None:
    server = serve(endless)
    page = Page(browser, server.url)
    assert page.texts(".column h2") == ["endless"] and not page.one("#examples").is_displayed()
    page.one("summary").click()
    page.browser.execute_script("document.getElementById('max-new').value = 4000")
    page.type("Hi")
    page.wait(lambda: len(page.one(".answer").text) > 20)
    page.one("#stop").click()
    page.answered(1)
    assert page.texts(".figures") == ["stopped"]
    page.wait(lambda: server.health()["active"] == 0)
    page.browser.execute_script("document.getElementById('max-new').value = 5")
    page.type("And?")
    page.answered(2)
    assert page.texts(".figures")[1].startswith("5 tokens in ")


def test_an_error_is_shown_in_its_column(page: Page) -> None:
    page.browser.execute_script("document.getElementById('question').value = 'word '.repeat(2000)")
    page.type("")
    page.wait(lambda: len(page.texts(".failure")) == 3)
    assert "context is 256" in page.texts(".failure")[0]
    page.chip("1 + 2")
    page.answered(2)


def test_ui_4_what_a_model_or_a_user_writes_is_text(page: Page) -> None:
    page.browser.execute_script("window.hits = 0; window.hit = () => { window.hits += 1; };")
    page.type("Write HTML.")
    page.answered(1)
    assert page.texts(".answer")[1:] == [HOSTILE, HOSTILE]
    page.type(HOSTILE)
    page.answered(2)
    assert HOSTILE in page.texts(".question")
    assert page.all(".talk img, .talk script, .talk a") == []
    time.sleep(0.2)
    assert page.browser.execute_script("return window.hits") == 0


def test_ui_1_events_cut_at_every_byte_arrive_whole(page: Page) -> None:
    """Every single cut, and a cut after every byte: emoji, CJK, both line ends, a comment, several data
    lines."""
    events = [{"text": "é 床前 👩‍👩‍👧 "}, {"text": "a\nb"}, {"done": {"finish": "stop"}}]
    body = f": hello\n\ndata: {json.dumps(events[0], ensure_ascii=False)}\r\n\r\n"
    body += (
        'data:{"text":\ndata: "a\\nb"}\n\n' + f"event: x\rdata: {json.dumps(events[2])}\r\r\ndata: cut off"
    )
    script = """
        const [bytes, finish] = arguments;
        const all = new Uint8Array(bytes);
        const read = async (parts) => {
            const stream = new ReadableStream({start(c) { parts.forEach((p) => c.enqueue(p)); c.close(); }});
            const found = [];
            const { readEvents } = await import("/static/sse.js");
            for await (const event of readEvents(stream)) found.push(event);
            return JSON.stringify(found);
        };
        (async () => {
            const results = new Set([await read(Array.from(all, (b) => new Uint8Array([b])))]);
            for (let i = 0; i <= all.length; i++) results.add(await read([all.slice(0, i), all.slice(i)]));
            return [...results];
        })().then(finish, (error) => finish([String(error)]));
    """
    results = page.browser.execute_async_script(script, list(body.encode()))
    assert [json.loads(result) for result in results] == [events]


def test_ui_2_nothing_is_asked_of_anyone_else(page: Page) -> None:
    page.browser.get_log("performance")
    page.browser.get_log("browser")
    page.browser.get(page.url)
    page.wait(lambda: bool(page.all(".column")))
    page.chip("join")
    page.answered(1)
    page.one("#theme").click()
    logged = [json.loads(entry["message"])["message"] for entry in page.browser.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in logged if e["method"] == "Network.requestWillBeSent"]
    assert len(urls) > 8
    assert [url for url in urls if not url.startswith(page.url)] == []
    assert page.browser.get_log("browser") == [], "no error, and nothing that the policy had to block"


def test_the_page_fits_a_phone_in_light_and_dark(page: Page) -> None:
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    page.chip("join")
    page.answered(1)
    width = page.browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= 360, "nothing sticks out"
    shades = set()
    for _ in range(2):
        page.one("#theme").click()
        shades.add(page.browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(shades) == 2
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

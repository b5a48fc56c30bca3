"""The page in a real headless Chromium: charts are drawn, the slider works, hostile text stays text."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from exnihilo.report.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1000,9000",
    "--virtual-time-budget=10000",
)
HOSTILE = "<script>document.title = 'owned'</script>"

# Appended to the page by the test: what the page did is written into the document that Chromium prints.
PROBE = """<script>addEventListener("load", () => {
  const background = () => getComputedStyle(document.body).backgroundColor;
  const charts = () => [...document.querySelectorAll(".plot")]
    .filter((one) => !one.closest("details:not([open])"))
    .map((one) => one.querySelector(".main-svg") !== null);
  const atLoad = charts();
  const slider = document.querySelector(".slider input");
  const said = () => document.querySelector("[data-samples] .said").textContent;
  const atEnd = said();
  slider.value = 0;
  slider.dispatchEvent(new Event("input"));
  const before = background();
  document.getElementById("theme").click();
  const folded = document.querySelector("#training details");
  folded.addEventListener("toggle", () => setTimeout(() => {
    document.body.dataset.found = JSON.stringify({
      title: document.title,
      atEnd,
      atStart: said(),
      step: document.querySelector(".slider output").textContent,
      drawn: atLoad.every((one) => one) && charts().every((one) => one) && charts().length > atLoad.length,
      switched: before !== background(),
      wide: document.documentElement.scrollWidth > innerWidth,
      requests: performance.getEntriesByType("resource").length,
    });
  }, 100));
  folded.open = true;
})</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")
def test_ui_4_in_a_browser_nothing_runs_and_everything_works(full_run: Path, tmp_path: Path) -> None:
    html = write_report(full_run).read_text(encoding="utf-8")
    page = tmp_path / "report.html"
    page.write_text(html.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=True)
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found, done.stderr
    assert json.loads(unescape(found[1])) == {
        "title": "quickstart · exnihilo report",
        "atEnd": HOSTILE,
        "atStart": "import at step 125\n    return",
        "step": "step 125",
        "drawn": True,
        "switched": True,
        "wide": False,
        "requests": 0,
    }

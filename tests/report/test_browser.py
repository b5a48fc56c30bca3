"""The page in a real headless Chromium: charts are drawn, the slider works, hostile text stays text."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from exnihilo.report.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *(
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
    ),
    *("--disable-background-networking", "--disable-component-update"),
    *("--window-size=1000,9000", "--virtual-time-budget=6000"),
)

# Appended to the page by the test: what the page did is written into the document that Chromium prints.
PROBE = """<script>addEventListener("load", () => setTimeout(() => {
  const slider = document.querySelector(".slider input");
  const said = () => document.querySelector("[data-samples] .said").textContent;
  const atEnd = said();
  slider.value = 0;
  slider.dispatchEvent(new Event("input"));
  const folded = document.querySelector("#training details");
  folded.open = true;
  const styles = () => getComputedStyle(document.body).backgroundColor;
  const before = styles();
  document.getElementById("theme").click();
  const open = [...document.querySelectorAll(".plot")].filter((one) => !one.closest("details:not([open])"));
  const drawn = open.map((one) => one.querySelector(".main-svg"));
  const found = {
    title: document.title, atEnd, atStart: said(), step: document.querySelector(".slider output").textContent,
    undrawn: drawn.filter((one) => !one).length, switched: before !== styles(),
    wide: document.documentElement.scrollWidth > innerWidth,
    requests: performance.getEntriesByType("resource").length,
  };
  document.body.dataset.found = JSON.stringify(found);
}, 2000))</script>"""


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
    text = found[1].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert '"title":"quickstart · exnihilo report"' in text
    assert '"atEnd":"<script>document.title = \'owned\'</script>"' in text
    assert '"atStart":"import at step 125\\n    return","step":"step 125"' in text
    assert '"charts":true,"switched":true,"wide":false,"requests":0' in text

"""`report.html`: made from the run's files alone, whole for partial runs, and deaf to what models write."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from exnihilo.align.card import Scored, card_of, report_card
from exnihilo.core.errors import ExnihiloError, Refused
from exnihilo.report.report import stage_table, write_report

PartOfRun = Callable[..., Path]
HOSTILE_NAME = "<b onclick=alert(1)>"


class Page(HTMLParser):
    """The page's tags with their attributes, its scripts and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.text += data
        elif self._inside[-1] == "script":
            self.scripts.append(data)

    def json(self, identity: str) -> Any:
        """The data of a `<script type="application/json">`."""
        place = [attributes.get("id") for tag, attributes in self.tags if tag == "script"].index(identity)
        return json.loads(self.scripts[place], parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))

    def sections(self) -> list[str | None]:
        return [attributes.get("id") for tag, attributes in self.tags if tag == "section"]


def page_of(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(full_run: Path) -> Page:
    return page_of(full_run)


def test_core_14_the_report_is_rebuilt_from_the_artifacts_alone(full_run: Path, tmp_path: Path) -> None:
    """Without log, events and weights, and elsewhere on disk, it is the same page, byte for byte."""
    first = write_report(full_run).read_bytes()
    copy = tmp_path / full_run.parent.name / full_run.name
    shutil.copytree(full_run, copy)
    (copy / "report.html").unlink()
    (full_run / "log.txt").write_text("loss 0.001 accuracy 99 %\n", encoding="utf-8")
    (full_run / "events.jsonl").write_text('{"event": "loss", "loss": 0.001}\n', encoding="utf-8")
    assert write_report(copy).read_bytes() == first == write_report(full_run).read_bytes()


def test_core_14_curves_are_the_lines_of_metrics_jsonl(full_run: Path, page: Page) -> None:
    """Every point of the loss curve is a recorded one, steps rise, and none is there twice."""
    lines = (full_run / "base" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    recorded = [(record["tokens"], record["loss"]) for record in map(json.loads, lines) if "loss" in record]
    figures = page.json("figures")
    curve = next(trace for figure in figures for trace in figure["data"] if trace["name"] == "training")
    assert list(zip(curve["x"], curve["y"], strict=True)) == [tuple(point) for point in recorded]
    assert len(recorded) == 100 and sorted(set(curve["x"])) == curve["x"]


def test_core_14_scores_are_those_of_results_json(part_of_run: PartOfRun) -> None:
    run = part_of_run("curated", "world", "base", "sft", "aligned", "scores")
    path = run / "scores" / "results.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    results["models"]["aligned"]["accuracy"] |= {"value": 0.4321, "low": 0.41, "high": 0.45}
    path.write_text(json.dumps(results), encoding="utf-8")
    assert stage_table(run)["stages"]["aligned"]["accuracy"]["value"] == 0.4321
    text = page_of(run).text
    assert "43.2" in text and "41.0 to 45.0" in text


def test_votes_are_charted_by_their_number_and_by_family(part_of_run: PartOfRun) -> None:
    run = part_of_run("curated", "world", "base", "sft", "aligned", "scores")
    path = run / "scores" / "results.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    entry = {"n": 50, "low": 0.2, "high": 0.9}
    sizes = {k: {"value": 0.3 + k / 100} | entry for k in (64, 1, 16, 4)}
    scores = {f"{kind}@{k}": one for kind in ("majority", "pass") for k, one in sizes.items()}
    results["models"]["aligned"] |= scores
    results["votes"] = {"aligned": {"steps-1": scores, "steps-2": scores}}
    path.write_text(json.dumps(results), encoding="utf-8")
    votes = [one for one in page_of(run).json("figures") if one["layout"]["xaxis"].get("type") == "log"]
    named = [[line["name"] for line in one["data"] if "error_y" in line] for one in votes]
    assert named == [["aligned"], ["steps-1", "steps-2"]]
    line = votes[0]["data"][0]
    assert line["x"] == [1, 4, 16, 64] and line["y"] == pytest.approx([31, 34, 46, 94])


def test_ui_4_model_output_is_escaped(page: Page) -> None:
    """Hostile samples and answers stand on the page as text; no tag, handler or link comes of them."""
    assert {tag for tag, _ in page.tags} & {"img", "a"} == {"a"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert re.fullmatch(r"#\w+", attributes.get("href") or "#none"), attributes
        assert "src" not in attributes, attributes
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert "<script>document.title = 'owned'</script>" in page.text
    assert "<img src=x onerror=" in page.text
    samples = page.json("samples-data")
    assert (
        samples[0]["moments"][-1]["samples"][2]["text"]
        == "</script><script>document.title = 'owned'</script>"
    )
    # Head, figures, samples, plotly, and our own.
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 5


def test_the_page_may_ask_nothing_of_the_network(page: Page) -> None:
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a) or ""
    assert policy.startswith("default-src 'none';") and "http" not in policy
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "img")]
    own = page.scripts[-1]
    assert "Plotly.react" in own and not re.search(r"http|fetch\(|import |XMLHttp|eval\(", own)


def test_every_section_of_a_whole_run(page: Page) -> None:
    sections = ["scores", "answers", "run", "data", "training", "samples", "cost", "lineage", "again"]
    assert page.sections() == sections
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert links == {f"#{name}" for name in sections}
    for words in (
        "PSF-2.0",
        "introspection",
        "held-out near-duplicate of training text",
        "10 min 27 s",
        "kWh",
    ):
        assert words in page.text
    assert "exnihilo run" in page.text and "quickstart/recipe.yaml" in page.text
    assert "aligned is 13" in page.text


def test_rm_6_the_card_of_a_reward_model_is_shown(part_of_run: PartOfRun) -> None:
    run = part_of_run("sft", "aligned")
    pairs = [
        Scored(
            prompt=n, source="abc"[n % 3] + HOSTILE_NAME, better=float(n % 4), worse=1.0, better_length=9,
            worse_length=5 + n % 9, margin=1.0, certainty=1.0, baselines={"length": float(n % 2) - 0.5},
        )
        for n in range(60)
    ]  # fmt: skip
    card = report_card(pairs)
    (run / "sft" / "card.json").write_text(json.dumps(card))
    none = {"passed": False, "verdict": "no pair has a preferred answer"}
    (run / "aligned" / "card.json").write_text(json.dumps(card_of({"kind": card, "safety": none})))
    page = page_of(run)
    assert "cards" in page.sections() and card["verdict"] in page.text
    assert f"{100 * card['accuracy']['value']:.1f}\u00a0%" in page.text and "baseline: length" in page.text
    assert HOSTILE_NAME in page.text and "no pair has a preferred answer" in page.text
    assert "aligned, kind" in page.text and "aligned, safety" in page.text


def test_a_run_without_evaluation(part_of_run: PartOfRun) -> None:
    page = page_of(part_of_run("corpus", "curated", "tokenizer", "tokens", "base"))
    assert page.sections() == ["run", "data", "training", "samples", "cost", "lineage", "again"]
    assert "made the model base" in page.text


def test_a_run_with_one_data_stage(part_of_run: PartOfRun) -> None:
    run = part_of_run("corpus")
    (run / "curated.partial").mkdir()
    (run / ".replaced").mkdir()
    page = page_of(run)
    assert page.sections() == ["run", "data", "cost", "lineage", "again"]
    assert "Not finished when this page was made: curated." in page.text
    # Without figures plotly is left out, and the page is small.
    assert (run / "report.html").stat().st_size < 100_000
    assert stage_table(run) == {"stages": {}}


def test_a_run_without_items_or_without_text(part_of_run: PartOfRun) -> None:
    run = part_of_run("scores")
    path = run / "scores" / "results.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    only_text = {"bits_per_byte": whole["models"]["base"]["bits_per_byte"]}
    paired = [entry for entry in whole["paired"] if entry["what"] == "bits_per_byte"]
    path.write_text(json.dumps({"models": {"base": only_text}, "paired": paired}), encoding="utf-8")
    shutil.rmtree(run / "scores" / "items")
    page = page_of(run)
    assert "answers" not in page.sections() and "By family" not in page.text
    assert "Bits per byte" in page.text and "Right answers" not in page.text
    for scores in whole["models"].values():
        for name in [name for name in scores if not name.startswith("accuracy")]:
            del scores[name]
    path.write_text(json.dumps({**whole, "majority": {}, "paired": []}), encoding="utf-8")
    page = page_of(run)
    assert "Right answers" in page.text and "Bits per byte" not in page.text
    assert "Most frequent answer" not in page.text


def test_commands_can_be_pasted_from_a_run_whose_folder_has_a_space(
    part_of_run: PartOfRun, tmp_path: Path
) -> None:
    run = tmp_path / "mes essais" / "un"
    shutil.copytree(part_of_run("corpus"), run)
    text = page_of(run).text
    assert "exnihilo run 'mes essais/un/recipe.yaml' --run 'mes essais/un-again'" in text
    assert "exnihilo report 'mes essais/un'" in text


def test_a_run_without_a_recipe_is_ordered_by_lineage(part_of_run: PartOfRun) -> None:
    """As verbs leave them: artifacts beside each other."""
    run = part_of_run("tokens", "corpus", "tokenizer", "curated")
    (run / "recipe.yaml").unlink()
    # The stage's name stands above its lines.
    names = re.findall(r"(\w+)\1 is done", page_of(run).text)
    assert names == ["corpus", "curated", "tokenizer", "tokens"]


def test_stage_table_for_machines(full_run: Path) -> None:
    """The contract of `exnihilo report RUN --json`."""
    stages = stage_table(full_run)["stages"]
    assert list(stages) == ["base", "sft", "aligned"]
    for metrics in stages.values():
        assert {"accuracy", "bits_per_byte", "accuracy/valid", "accuracy/trained"} <= set(metrics)
        for entry in metrics.values():
            assert set(entry) == {"value", "n", "low", "high"}
            assert entry["low"] <= entry["value"] <= entry["high"]
    assert stages["aligned"]["accuracy/valid"]["n"] == 70
    json.dumps(stages, allow_nan=False)


def test_what_is_no_run_is_refused(full_run: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no such folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(Refused, match="no finished stage here"):
        write_report(tmp_path)
    with pytest.raises(Refused, match="this is one artifact"):
        write_report(full_run / "base")
    assert not (full_run / "base" / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("scores/results.json", '{"models": ', r"results\.json: not JSON"),
        ("scores/results.json", "{}", r"results\.json: no 'models'"),
        ("base/metrics.jsonl", '{"step": 1}\n{"step"\n', r"metrics\.jsonl:2"),
        ("base/manifest.json", "{}", r"manifest\.json: not a manifest"),
    ],
)
def test_a_broken_file_is_named(part_of_run: PartOfRun, name: str, text: str, message: str) -> None:
    run = part_of_run("base", "scores")
    before = write_report(run).read_bytes()
    (run / name).write_text(text, encoding="utf-8")
    with pytest.raises(ExnihiloError, match=message):
        write_report(run)
    assert (run / "report.html").read_bytes() == before, "a good report stays good"

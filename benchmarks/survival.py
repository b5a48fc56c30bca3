"""Disturbs runs of the recipe `smoke` at random moments of all its stages, and compares what they end with to a run
that nobody disturbed: `kill -9`, SIGTERM or Ctrl-C, and a disk that fills up. No peers: what was asked for stands in
their place. A full measurement (half an hour) that is broken off goes on where it was when it is started again."""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

from blake3 import blake3

from benchmarks.disturbances import Kind, Session, Timeline, disturb, finish, small_disk
from benchmarks.environment import cache_folder
from benchmarks.harness import OURS, Case, Check, Outcome
from exnihilo.core.artifact import PARTIAL, Artifact, read_manifest
from exnihilo.core.errors import ExnihiloError, Refused
from exnihilo.core.files import write_atomic
from exnihilo.core.jsonl import read_jsonl

SEED = 3
NAMES: dict[Kind, str] = {"kill": "kill -9", "stop": "SIGTERM or Ctrl-C", "full": "full disk"}
KILLS: list[Kind] = ["kill"] * 8
STOPS: list[Kind] = ["stop"] * 5
FILLS: list[Kind] = ["full"] * 5
MIXED: list[Kind] = ["kill", "stop", "kill", "full"]
FULL = [KILLS] * 25 + [STOPS] * 10 + [FILLS] * 10
QUICK = [MIXED]
"""The disturbances of each run, in their order."""
SOURCE = Path(__file__).parents[1] / "src"


@dataclass(frozen=True)
class Unbroken:
    """What a run comes to that nobody disturbs: contents and files of its artifacts, and how long what took."""

    contents: dict[str, str]
    files: dict[str, list[str]]
    timeline: Timeline
    size: int

    @staticmethod
    def make(folder: Path, recipe: str = "smoke") -> Unbroken:
        """Run it. Raises ExnihiloError if that fails."""
        started = time.time()
        code, said = finish(folder, recipe)
        if code:
            raise ExnihiloError(f"the unbroken run ended with code {code}: {said.strip().splitlines()[-1]}")
        timeline = Timeline.of(folder, started, time.time())
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return Unbroken(
            {stage: read_manifest(folder / stage)["content"] for stage in timeline.stages},
            {stage: _files(folder / stage) for stage in timeline.stages},
            timeline,
            size,
        )


@dataclass
class Ending:
    """What became of a disturbed run: its sessions, and what was otherwise than in the unbroken run."""

    sessions: list[Session]
    problems: list[str] = field(default_factory=list)


def run(quick: bool) -> Outcome:
    """200 kills, 50 stops and 50 full disks in 45 runs; quick: four disturbances in one run."""
    if quick:
        with tempfile.TemporaryDirectory() as folder:
            return outcome(*measure(Path(folder), QUICK))
    return outcome(*measure(cache_folder() / "survival" / _code(), FULL))


def measure(place: Path, plans: Sequence[list[Kind]]) -> tuple[Sequence[list[Kind]], list[Ending], list[str]]:
    """(plans carried out, their endings, notes). Endings are kept in `place`; those that are there stand."""
    place.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place / "unbroken", ignore_errors=True)
    unbroken = Unbroken.make(place / "unbroken")
    notes = [f"unbroken: {sum(unbroken.timeline.seconds.values()):.1f} s"]
    # Room for every artifact twice, replaced ones and checkpoints included.
    room = max(32 << 20, 4 * unbroken.size)
    endings: list[Ending] = []
    kept: list[list[Kind]] = []
    for number, plan in enumerate(as_many_as_planned(plans, endings)):
        file = place / f"{number:03d}.json"
        run = place / f"run-{number:03d}" / "smoke"
        if not file.exists():
            disk: AbstractContextManager[Path] = nullcontext(run.parent)
            if "full" in plan:
                disk = small_disk(run.parent, room)
            shutil.rmtree(run.parent, ignore_errors=True)
            try:
                with disk:
                    ending = break_and_mend(run, plan, unbroken, random.Random(f"{SEED}/{number}"))
            except ExnihiloError as error:
                if "cannot mount" not in str(error):
                    raise
                notes.append(f"left out: {error}")
                continue
            print(f"{number + 1}/{len(plans)}: {told(ending)}", file=sys.stderr, flush=True)
            write_atomic(file, json.dumps(asdict(ending)))
            if not ending.problems and "full" not in plan:
                shutil.rmtree(run.parent)
        saved = json.loads(file.read_text(encoding="utf-8"))
        endings.append(Ending([Session(**one) for one in saved["sessions"]], saved["problems"]))
        if number < len(plans):
            kept.append(plan)
    return kept, endings, notes


def as_many_as_planned(plans: Sequence[list[Kind]], endings: Sequence[Ending]) -> Iterator[list[Kind]]:
    """The plans; then more of each kind that came too late for its process and so fell short of what was planned."""
    yield from plans
    planned = Counter(kind for plan in plans for kind in plan)
    for _ in plans:
        delivered = Counter(one.kind for ending in endings for one in ending.sessions if one.kind)
        short = Counter({kind: planned[kind] for kind in delivered}) - delivered
        if not short:
            return
        kind, missing = short.most_common(1)[0]
        yield [kind] * min(missing, len(KILLS))


def break_and_mend(
    run: Path, plan: Sequence[Kind], unbroken: Unbroken, draw: random.Random, recipe: str = "smoke"
) -> Ending:
    """Disturb a run as `plan` says, at moments drawn evenly over its phases; then let it come to its end."""
    phases = list(unbroken.timeline.seconds)
    chosen = sorted(draw.choices(range(len(phases)), k=len(plan)))
    ending = Ending([])
    for kind, phase in zip(plan, chosen, strict=True):
        # A moment may lie after the end of the process, which did its work faster than the unbroken run.
        for _ in range(5):
            session = disturb(run, kind, phases[phase], draw.random(), unbroken.timeline, draw, recipe)
            ending.sessions.append(session)
            ending.problems += session.problems + _altered(run, unbroken)
            if session.kind is not None:
                break
    code, said = finish(run, recipe)
    if code:
        ending.problems.append(f"run again, it ended with code {code}: {said[-500:]!r}")
    ending.problems += differences(run, unbroken)
    return ending


def differences(run: Path, unbroken: Unbroken) -> list[str]:
    """In what a finished run is otherwise than the unbroken one: contents, files, steps told twice, remains."""
    problems = _altered(run, unbroken)
    for stage, files in unbroken.files.items():
        if not (run / stage).is_dir():
            problems.append(f"{stage}: not made")
            continue
        if _files(run / stage) != files:
            problems.append(f"{stage}: files {sorted(set(_files(run / stage)) ^ set(files))}")
        metrics = run / stage / "metrics.jsonl"
        if metrics.exists():
            steps = [line["step"] for _, line in read_jsonl(metrics) if "loss" in line]
            if steps != sorted(set(steps)):
                problems.append(f"{stage}: steps told twice or out of order")
    remains = [path for path in run.rglob("*") if path.suffix == ".tmp" or path.name.endswith(PARTIAL)]
    replaced = run / ".replaced"
    problems += [f"{path.name}: left behind" for path in remains if replaced not in path.parents]
    return problems if (run / "report.html").is_file() else [*problems, "no report"]


def _altered(run: Path, unbroken: Unbroken) -> list[str]:
    """Artifacts that are there, and not whole or not what the unbroken run made."""
    problems = []
    for stage, content in unbroken.contents.items():
        if not (run / stage).exists():
            continue
        try:
            found = Artifact.open(run / stage, verify=True).content
        except Refused as error:
            problems.append(str(error))
            continue
        if found != content:
            problems.append(f"{stage}: content {found[:12]}, unbroken {content[:12]}")
    return problems


def _code() -> str:
    """A hash of the code, which what was found belongs to."""
    digest = blake3()
    for path in sorted(SOURCE.rglob("*")):
        if path.suffix in (".py", ".yaml"):
            digest.update(path.relative_to(SOURCE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _files(artifact: Path) -> list[str]:
    """The names of all files, records included, but for the advice: some of it is about the time that steps took."""
    names = (path.relative_to(artifact).as_posix() for path in artifact.rglob("*") if path.is_file())
    return sorted(name for name in names if name != "advice.jsonl")


def told(ending: Ending) -> str:
    """A line about an ending."""
    where = ", ".join(f"{one.kind or 'none'} in {one.fell} ({one.code})" for one in ending.sessions)
    return f"{where}: {'the same' if not ending.problems else '; '.join(ending.problems)}"


def outcome(plans: Sequence[list[Kind]], endings: Sequence[Ending], notes: list[str]) -> Outcome:
    """A case for each kind of disturbance: how many were survived, of how many; and where they fell."""
    cases = []
    for kind, name in NAMES.items():
        asked = sum(plan.count(kind) for plan in plans)
        if not asked:
            continue
        delivered = [(ending, one) for ending in endings for one in ending.sessions if one.kind == kind]
        sound = [one for ending, one in delivered if not ending.problems]
        problems = [problem for ending, one in delivered for problem in ending.problems]
        fell = Counter(one.fell for _, one in delivered)
        slowest = max((one.waited for _, one in delivered), default=0.0)
        case = Case(
            name,
            "survived",
            {OURS: [len(sound)], "asked": [asked]},
            {"asked": 1.0},
            checks=[
                Check(
                    "final hashes and files of every run are the unbroken run's",
                    not problems,
                    "; ".join(dict.fromkeys(problems)),
                )
            ],
            notes=[f"fell in: {', '.join(f'{phase} {count}' for phase, count in fell.items())}"],
        )
        if kind != "kill":
            case.notes.append(f"left after at most {slowest:.1f} s")
        cases.append(case)
    return Outcome(cases, notes)

"""How much others used of the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load import Others

SPIN = "import time\nwhile time.process_time() < 0.5: pass\nprint('spun', flush=True)\ninput()"


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux tells what all processes used")
def test_a_child_counts_as_others_until_it_has_ended() -> None:
    others = Others()
    with subprocess.Popen(
        [sys.executable, "-c", SPIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"spun\n"
        running = others.seconds()
        child.communicate(b"\n")
    ended = others.seconds()
    assert running is not None and ended is not None and running >= 0.4
    # What the child used is now ours; on a busy machine others have gone on meanwhile.
    assert ended < running or others.share() > 0.5  # type: ignore[operator]


def test_the_share_lies_between_nothing_and_everything() -> None:
    share = Others().share()
    assert share is None or 0.0 <= share <= 1.0

"""Lets the tests of this room import `tiny_runs`, which some of them start as a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

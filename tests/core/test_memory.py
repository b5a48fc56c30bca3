"""Memory that is freed and asked for again, in a process of its own: the setting can't be taken back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from exnihilo.core.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
    keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del_me = np.ones(16 << 20, dtype=np.float32)
    del del_me
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


# torch's blocks are aligned, and what lies between them keeps the first dozen from being used again.
ZEROS = (
    FAULTS.replace("np.ones(16 << 20, dtype=np.float32)", "zeros((16 << 20,), torch.float32, CPU).fill_(1)")
    .replace("import numpy as np", "import torch; from exnihilo.model.memory import zeros")
    .replace("for _", "CPU = torch.device('cpu')\nfor _")
    .replace("range(3)", "range(30)")
)


def faults(how: str, program: str = FAULTS) -> int:
    """Page faults of using 64 MiB for the last time."""
    done = subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_memory_that_was_freed_is_not_faulted_in_again() -> None:
    assert faults("keep") < 32 <= faults("leave")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_the_memory_of_generation_is_kept_as_well() -> None:
    assert faults("keep", ZEROS) < 32 <= faults("leave", ZEROS)

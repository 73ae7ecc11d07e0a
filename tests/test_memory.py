"""Memory that batches use again and again."""

from __future__ import annotations

import platform
import subprocess
import sys

# Frees and takes arrays as a publish does, and tells how many pages the system had to give anew.
BATCHES = """
import resource, sys
import numpy as np
from twin.memory import keep_freed_memory
can = keep_freed_memory() if sys.argv[1] == "keep" else False
def batch():
    arrays = [np.ones(size) for size in (90_000, 250_000, 500_000, 1_000_000) for _ in range(3)]
batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(30):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, int(can))
"""


def pages(mode: str) -> tuple[int, bool]:
    done = subprocess.run([sys.executable, "-c", BATCHES, mode], capture_output=True, text=True, check=True)
    count, can = done.stdout.split()
    return int(count), can == "1"


def test_what_a_batch_freed_is_there_for_the_next_one() -> None:
    kept, can = pages("keep")
    left, _ = pages("leave")
    assert can == (platform.libc_ver()[0] == "glibc")
    assert kept < left / 10 or not can

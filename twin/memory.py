"""The program's memory: as the C library keeps it, and how much of it there may be."""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress

# Numbers of glibc's malloc.h, and its largest threshold for memory that is fetched from the system for one array.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
_KEPT = 256 * 2**20


def keep_freed_memory() -> bool:
    """Let what a batch frees stay with the program for the next batch, up to 256 MiB.

    The C library else gives arrays of a few megabytes back to the system and fetches them again, page by page: a
    tenth of the time of a publish. Tells whether it could: other libraries than glibc keep memory in their own way.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and mallopt(_TRIM_THRESHOLD, _KEPT))
    return False


def limit_memory(most: int) -> None:
    """Let this process, and each that it starts, have at most so many bytes of data; asking for more is a MemoryError.

    Data are what it writes to: files that are mapped and addresses that are only reserved do not count, of which the
    libraries take many gigabytes.
    """
    for limit, value in ((resource.RLIMIT_DATA, most), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):
            _, hard = resource.getrlimit(limit)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(limit, (value, value))

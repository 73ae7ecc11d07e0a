"""The folder of prepared downloads: whole layers as files, each written once, found by name, removed when not needed.

A file is made under another name and renamed when it is complete and on the disk. Whoever makes it holds a lock of the
file system on it, which the system frees when the program dies; so a file that nobody makes any more differs from one
that grows, in any process. A complete file's name holds its SHA-256: there is nothing beside it that could disagree.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from twin.private_files import private_folder

# key . SHA-256 . suffix
NAME = re.compile(r"([a-z0-9_]+-[0-9a-f]{16}(?:-[0-9a-f]{16})?)\.([0-9a-f]{64})\.([a-z]+)")
# A file requested so recently is about to be sent.
GRACE_SECONDS = 60.0
# The folder's own time is no finer than this on some file systems.
TICK_SECONDS = 1.0
READ = 1 << 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """A complete file."""

    path: Path
    size: int
    sha256: str


Names = Mapping[tuple[str, str], Prepared]


@dataclass(slots=True)
class DownloadFolder:
    """Where prepared files lie; nothing else does, and nobody else serves it."""

    root: Path
    _names: tuple[int, Names] | None = field(default=None, repr=False)

    def names(self) -> Names:
        """Every complete file by key and suffix; read anew only when the folder changed."""
        try:
            changed = self.root.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return {}
        if self._names is not None and self._names[0] == changed:
            return self._names[1]
        found: dict[tuple[str, str], Prepared] = {}
        with os.scandir(self.root) as entries:
            for entry in entries:
                if match := NAME.fullmatch(entry.name):
                    with suppress(FileNotFoundError):
                        found[match[1], match[3]] = Prepared(Path(entry.path), entry.stat().st_size, match[2])
        # A change within the same tick would not be seen.
        if time.time_ns() - changed > TICK_SECONDS * 1e9:
            self._names = changed, found
        return found

    def find(self, key: str, suffix: str) -> Prepared | None:
        """Return the complete file, if there is one; it then counts as used now."""
        found = self.names().get((key, suffix))
        if found is None:
            return None
        try:
            # The time of access tells which file was not used for longest; many file systems do not keep it themselves.
            os.utime(found.path, ns=(time.time_ns(), found.path.stat().st_mtime_ns))
        except FileNotFoundError:
            return None
        return found

    def begin(self, key: str, suffix: str) -> Making | None:
        """Take the right to make a file; None while somebody else makes it."""
        private_folder(self.root)
        path = self._growing(key, suffix)
        while True:
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return None
            if _is_at(handle, path):
                if os.fstat(handle).st_size == 0:
                    return Making(self, key, suffix, handle, path)
                # A killed program left it, and somebody may still read it: another one is begun.
                path.unlink()
            os.close(handle)

    def growing(self, key: str, suffix: str) -> int | None:
        """Return a handle to read the file that is being made, if it is and has begun; the caller closes it."""
        try:
            handle = os.open(self._growing(key, suffix), os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if os.fstat(handle).st_size and is_being_made(handle):
            return handle
        os.close(handle)
        return None

    def _growing(self, key: str, suffix: str) -> Path:
        return self.root / f"{key}.{suffix}.part"

    def sweep(self, is_wanted: Callable[[str], bool], budget: int, keep: Path | None = None) -> list[Path]:
        """Remove files whose key nobody can ask for, then the least recently used until `budget` bytes are left.

        What a killed program left is removed as well; what is being made, or was used a moment ago, is not.
        """
        if not self.root.is_dir():
            return []
        removed: list[Path] = []
        recent = time.time() - GRACE_SECONDS
        kept: list[tuple[float, int, Path]] = []
        for (key, _), prepared in self.names().items():
            with suppress(FileNotFoundError):
                used = prepared.path.stat().st_atime
                if used < recent and not is_wanted(key):
                    prepared.path.unlink()
                    removed.append(prepared.path)
                else:
                    kept.append((used, prepared.size, prepared.path))
        total = sum(size for _, size, _ in kept)
        for used, size, path in sorted(kept):
            if total <= budget:
                break
            if used < recent and path != keep:
                path.unlink(missing_ok=True)
                removed.append(path)
                total -= size
        for left in self.root.glob("*.part"):
            _clear(left)
        return removed


def _is_at(handle: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


def _clear(path: Path) -> None:
    """Remove what was begun and is not being made any more."""
    with suppress(FileNotFoundError):
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path):
                shutil.rmtree(_workspace(path), ignore_errors=True)
                path.unlink()
        except BlockingIOError:
            pass
        finally:
            os.close(handle)


def _workspace(part: Path) -> Path:
    return part.with_suffix(".work")


def is_being_made(handle: int) -> bool:
    """Tell whether somebody holds the lock on a growing file."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(handle, fcntl.LOCK_UN)
    return False


class Making:
    """A file in the making: it grows by `write`, or another program fills `workspace` and it is taken from there."""

    def __init__(self, folder: DownloadFolder, key: str, suffix: str, handle: int, path: Path) -> None:
        self._folder, self._key, self._suffix = folder, key, suffix
        self._handle, self._path = handle, path
        self._digest = hashlib.sha256()
        self._open = True

    def write(self, chunk: bytes) -> None:
        """Add to the file."""
        self._digest.update(chunk)
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(self._handle, rest) :]

    def workspace(self) -> Path:
        """Return an empty folder for a writer that wants a path."""
        place = _workspace(self._path)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        return place

    def finish(self, made: Path | None = None) -> Prepared:
        """Show the complete file: what was written here, or `made` in the workspace. Nobody sees half of it."""
        handle = self._handle if made is None else os.open(made, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if made is not None:
                while chunk := os.read(handle, READ):
                    self._digest.update(chunk)
            os.fchmod(handle, 0o600)
            os.fsync(handle)
            size = os.fstat(handle).st_size
        finally:
            if made is not None:
                os.close(handle)
        sha256 = self._digest.hexdigest()
        target = self._folder.root / f"{self._key}.{sha256}.{self._suffix}"
        (made or self._path).rename(target)
        folder = os.open(self._folder.root, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self.close()
        return Prepared(target, size, sha256)

    def close(self) -> None:
        """Let go; what is not finished disappears."""
        if self._open:
            self._open = False
            shutil.rmtree(_workspace(self._path), ignore_errors=True)
            # After `finish` the name is free already, or stands for nothing but the lock.
            if _is_at(self._handle, self._path):
                self._path.unlink(missing_ok=True)
            os.close(self._handle)

"""Folders and files that only the program's user may open, whatever the umask: they may hold restricted layers."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

FOLDERS = ("rasters", "archives", "downloads", "uploads")
FILES = ("database", "lock", "*.log")


def private_folder(path: Path, mode: int = 0o700) -> None:
    """Make a folder, and those above it that are missing; one that exists stays as it is."""
    if path.is_dir():
        return
    if not path.parent.is_dir():
        private_folder(path.parent, mode)
    with suppress(FileExistsError):
        path.mkdir(mode=mode)
        # The umask took bits away.
        path.chmod(mode)


def open_private(path: Path, mode: str) -> IO[Any]:
    """Open a file to write; it is this user's alone, also where it was there before."""
    file: IO[Any] = open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
    os.fchmod(file.fileno(), 0o600)
    return file


def close_home(home: Path) -> None:
    """Take all rights of others from what earlier programs left in the home.

    Files of other users, such as the database's, are left alone, and so is what the program does not know: a home may
    be a folder of somebody's own. The home itself can be passed through where the program runs as root, because the
    database then runs as another user.
    """
    if not home.is_dir():
        return
    _close(home, keep=0o711 if os.getuid() == 0 else 0o700)
    for name in FOLDERS:
        # Links are not followed.
        for folder, folders, files in os.walk(home / name):
            for part in (".", *folders, *files):
                _close(Path(folder) / part)
    for pattern in FILES:
        for file in home.glob(pattern):
            _close(file)


def _close(path: Path, keep: int = 0o700) -> None:
    # Another program may remove the file meanwhile, and a read-only disk stays as it is.
    with suppress(OSError):
        found = path.lstat()
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid == os.getuid() and not stat.S_ISLNK(found.st_mode) and mode & ~keep & 0o077:
            path.chmod(mode & (keep | 0o700))

"""The files of raster versions: one folder, names made here, nothing in it that the catalogue does not name.

A file's name is written to the catalogue before the file itself. So whatever a killed program leaves behind belongs to
a version that is known to be unfinished or retired, and only such files are ever removed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twin.errors import SetupProblem
from twin.private_files import private_folder
from twin.text import Text

if TYPE_CHECKING:
    from twin.db.tables import LayerVersion

SUFFIX = ".tif"


@dataclass(frozen=True, slots=True)
class RasterFolder:
    """Where raster files lie. Paths in the catalogue are relative to `root`."""

    root: Path

    def new_name(self, table: str) -> str:
        """Return a name that no other version has, in this database or another one that shares the folder."""
        return f"{table}_{secrets.token_hex(6)}{SUFFIX}"

    def path(self, name: str) -> Path:
        """Return the file of that name; only a plain name is taken."""
        if Path(name).name != name or not name.endswith(SUFFIX):
            raise ValueError(f"not the name of a raster file: {name!r}")
        return self.root / name

    def write(self, name: str, writer: Callable[[Path], None]) -> Path:
        """Let `writer` make a file, which then is on the disk for good; on failure nothing of it stays."""
        target = self.path(name)
        try:
            private_folder(self.root)
        except OSError as error:
            raise SetupProblem(
                Text(
                    en="The folder of rasters {folder} cannot be made: {reason}. Set TWIN_RASTERS to another one.",
                    vi="Không tạo được thư mục ảnh raster {folder}: {reason}. Hãy đặt TWIN_RASTERS sang thư mục khác.",
                ).format(folder=self.root, reason=error.strerror)
            ) from None
        try:
            writer(target)
            # A restricted layer's file may be read through the program alone.
            target.chmod(0o600)
            for path in (target, self.root):
                _to_disk(path)
        except BaseException:
            self.remove(name)
            raise
        return target

    def remove(self, name: str) -> None:
        """Remove a file and what a broken attempt to write it left beside it."""
        target = self.path(name)
        for left in (target, *self.root.glob(f".{target.name}*")):
            left.unlink(missing_ok=True)

    def forget(self, version: LayerVersion) -> None:
        """Remove the file of a version that nobody can ask for any more."""
        if version.raster and "path" in version.raster:
            self.remove(version.raster["path"])
            version.raster = {key: value for key, value in version.raster.items() if key != "path"}


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk and not only in memory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

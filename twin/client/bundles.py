"""Bundle files that belong together into one: a shapefile with its parts, a FileGDB's folder."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twin.errors import BadInput
from twin.text import Text

# What a file of several parts consists of, by the ending of the part that people name.
PARTS = {
    ".shp": (".shp", ".shx", ".dbf", ".prj", ".cpg", ".qpj", ".qix", ".sbn", ".sbx"),
    ".tab": (".tab", ".dat", ".map", ".id", ".ind"),
    ".mif": (".mif", ".mid"),
}
# The same files make the same archive, so that an upload can go on after the program was started anew.
MOMENT = (1980, 1, 1, 0, 0, 0)


@contextmanager
def bundled(path: Path) -> Iterator[Path]:
    """Yield the one file to send: the file itself, or a ZIP archive of its parts, removed afterwards."""
    parts = _parts(path)
    if parts is None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="twin-send-") as folder:
        archive = Path(folder) / f"{path.name if path.is_dir() else path.stem}.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, part in parts:
                entry = zipfile.ZipInfo(name, MOMENT)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                with part.open("rb") as source, packed.open(entry, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        yield archive


def _parts(path: Path) -> list[tuple[str, Path]] | None:
    """Return the names and files of an archive, or None where the file stands for itself."""
    if path.is_dir():
        if path.suffix.lower() != ".gdb":
            raise BadInput(
                Text(
                    en="“{path}” is a folder. Name a file, or the .gdb folder of a FileGDB.",
                    vi="“{path}” là thư mục. Hãy nêu tên một tệp, hoặc thư mục .gdb của FileGDB.",
                ).format(path=path)
            )
        found = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() != ".lock")
        return [(f"{path.name}/{p.relative_to(path).as_posix()}", p) for p in found]
    if endings := PARTS.get(path.suffix.lower()):
        return [
            (p.name, p)
            for p in sorted(path.parent.iterdir())
            if p.stem == path.stem and p.suffix.lower() in endings and p.is_file()
        ]
    return None

"""Zip archives: looked at before anything is written, unpacked into a folder of their own while bytes are counted."""

from __future__ import annotations

import errno
import shutil
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ingest.readers.limits import Limits, exceeded
from ingest.readers.source import ReadOptions, cannot_read, workspace
from twin.errors import BadInput
from twin.text import Text

CHUNK = 1 << 18
# A small archive may well be very dense: a megabyte of zeros packs a thousandfold. The ratio counts above this.
RATIO_COUNTS_FROM = 16 * 2**20
# What every zip program writes. The others let a header ask for gigabytes of memory.
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
END_RECORD = b"PK\x05\x06"
NESTED = (".zip", ".kmz", ".7z", ".rar", ".gz", ".tar", ".tgz", ".bz2", ".xz", ".zst")
_ENCRYPTED = 0x1
_BROKEN = Text(en="the archive is cut off or broken; pack it anew", vi="tệp nén bị cụt hoặc hỏng; hãy nén lại")


def members(path: Path, limits: Limits) -> list[zipfile.ZipInfo]:
    """List the files of an archive; refuse one that is not safe to unpack. Nothing is unpacked."""
    _count_entries(path, limits)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        for entry in entries:
            # Old programs for Windows part folders with a backslash, which a ZIP must not have.
            entry.filename = entry.filename.replace("\\", "/")
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError):
        raise cannot_read(path, _BROKEN) from None
    if len(entries) > limits.entries:
        raise exceeded(path.name, limits, "entries")
    names: set[str] = set()
    for entry in entries:
        if len(entry.filename.encode("utf-8", "replace")) > limits.name_length:
            raise exceeded(path.name, limits, "name_length")
        if reason := _unsafe(entry):
            raise _refused(path, entry.filename, reason)
        # File systems of some machines do not tell these apart, and one would overwrite the other.
        folded = unicodedata.normalize("NFC", entry.filename.rstrip("/")).casefold()
        if folded in names:
            raise _refused(path, entry.filename, Text(en="the name stands twice", vi="tên bị trùng"))
        names.add(folded)
    files = [entry for entry in entries if not entry.is_dir()]
    # What the directory says is checked first, so that an honest bomb costs nothing; what comes out is counted later.
    _check_sizes(path, sum(entry.file_size for entry in files), limits)
    return files


def unpack(path: Path, options: ReadOptions, chosen: Sequence[str] | None = None) -> Path:
    """Unpack an archive, or the `chosen` files of it, into a new folder; on failure nothing is left behind."""
    files = members(path, options.limits)
    folder = workspace(options)
    try:
        written = 0
        with zipfile.ZipFile(path) as archive:
            for entry in files:
                if chosen is not None and entry.filename not in chosen:
                    continue
                if entry.filename.lower().endswith(NESTED):
                    continue
                written = _write(archive, entry, folder, path, options.limits, written)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        if error.errno == errno.ENOSPC:
            raise
        raise cannot_read(path, _BROKEN) from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError):
        shutil.rmtree(folder, ignore_errors=True)
        raise cannot_read(path, _BROKEN) from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _write(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, path: Path, limits: Limits, written: int
) -> int:
    target = folder / entry.filename
    if not target.resolve().is_relative_to(folder.resolve()):
        raise _refused(path, entry.filename, _OUTSIDE)
    target.parent.mkdir(parents=True, exist_ok=True)
    own = 0
    with archive.open(entry) as packed, target.open("xb") as file:
        while chunk := packed.read(CHUNK):
            own += len(chunk)
            if own > entry.file_size:
                raise _refused(path, entry.filename, _LIES)
            _check_sizes(path, written + own, limits)
            file.write(chunk)
    if own != entry.file_size:
        raise _refused(path, entry.filename, _LIES)
    return written + own


def _check_sizes(path: Path, size: int, limits: Limits) -> None:
    if size > limits.unpacked_bytes:
        raise exceeded(path.name, limits, "unpacked_bytes")
    if size > RATIO_COUNTS_FROM and size > limits.ratio * path.stat().st_size:
        raise exceeded(path.name, limits, "ratio")


def _count_entries(path: Path, limits: Limits) -> None:
    """Refuse a directory of entries that is too long before it is read into memory."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 66_000))
        tail = file.read()
    at = tail.rfind(END_RECORD)
    if at < 0 or len(tail) < at + 22:
        raise cannot_read(path, _BROKEN)
    entries = int.from_bytes(tail[at + 10 : at + 12], "little")
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    # The number may lie, the length of the directory cannot be made up for; 65,535 means "see the 64-bit record".
    zip64 = at >= 20 and tail[at - 20 : at - 16] == b"PK\x06\x07"
    if zip64:
        record = int.from_bytes(tail[at - 12 : at - 4], "little")
        with path.open("rb") as file:
            file.seek(min(record, size))
            long = file.read(56)
        if long[:4] == b"PK\x06\x06":
            entries = max(entries if entries != 0xFFFF else 0, int.from_bytes(long[32:40], "little"))
            directory = int.from_bytes(long[40:48], "little")
    longest = 46 + 2 * limits.name_length + 1024
    if entries > limits.entries or directory > limits.entries * longest:
        raise exceeded(path.name, limits, "entries")


_OUTSIDE = Text(en="it would be written outside the folder", vi="tệp sẽ bị ghi ra ngoài thư mục")
_LIES = Text(en="its size is not the one that the archive states", vi="kích thước không đúng như tệp nén đã ghi")


def _unsafe(entry: zipfile.ZipInfo) -> Text | None:
    name = entry.filename
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if not name or "\0" in name or any(ord(c) < 32 for c in name):
        return Text(en="the name has signs that a file name cannot have", vi="tên có ký tự không hợp lệ")
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or (len(name) > 1 and name[1] == ":"):
        return _OUTSIDE
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return Text(en="it is a link or a device, not a file", vi="đó là liên kết hoặc thiết bị, không phải tệp")
    if entry.flag_bits & _ENCRYPTED:
        return Text(en="it is encrypted; send it without a password", vi="tệp có mật khẩu; hãy gửi tệp không mật khẩu")
    if entry.compress_type not in METHODS:
        return Text(en="it is compressed in a way that is not read here", vi="cách nén này không được hỗ trợ")
    return None


def _refused(path: Path, name: str, reason: Text) -> BadInput:
    return BadInput(
        Text(
            en="The archive {file} is refused because of “{name}” in it: {reason}.",
            vi="Tệp nén {file} bị từ chối vì “{name}” bên trong: {reason}.",
        ).format(file=path.name, name="".join(c if c.isprintable() else "?" for c in name[:120]), reason=reason)
    )

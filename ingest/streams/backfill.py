"""Back-fill: the values of a recorded file, written through the one writer. Doing it again changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg

from ingest.streams.declaring import DeclarationReport, declare_into, is_placed, place_declarations
from ingest.streams.description import SourceSpec, StreamDescription, fill, read_description
from ingest.streams.recordings import UNREAD, Key, Recording, Tally
from twin.errors import BadInput, NotFound
from twin.streams.bulk import ROWS_AT_ONCE, BulkWriter, ObservationColumns
from twin.streams.declare import StreamDeclaration
from twin.streams.flags import TITLES, Flag, flag_names
from twin.streams.rollups import roll_up
from twin.streams.stream import StreamDirectory
from twin.streams.writer import Observation, Written
from twin.text import Text

OWN_DESCRIPTION = "streams.toml"
BATCH = 20_000

# Told of the rows that are done, and of all rows.
Progress = Callable[[int, int], None]

FLAGS_SQL = """
SELECT flag, count(*) AS n FROM live.observation WHERE stream = ANY($1::int4[]) AND flag <> 0 GROUP BY flag
"""


@dataclass(slots=True)
class Prepared:
    """A recording whose streams are declared: the stream of each value, by key, and what of it has a place."""

    recording: Recording
    streams: dict[Key, dict[int, int]]
    declared: DeclarationReport
    rows: int
    joined_rows: int
    reasons: Counter[Text] = field(default_factory=Counter)

    @property
    def stream_ids(self) -> list[int]:
        """All streams of the recording."""
        return [stream for of_key in self.streams.values() for stream in of_key.values()]


@dataclass(slots=True)
class BackfillReport:
    """What became of a file."""

    source: SourceSpec
    prepared: Prepared
    tally: Tally = field(default_factory=Tally)
    written: Written = field(default_factory=Written)
    flags: Counter[Flag] = field(default_factory=Counter)

    @property
    def exit_code(self) -> int:
        """0 where all is well; 1 where something was flagged, set aside or could not be read."""
        return int(bool(self.flags or self.written.set_aside or self.tally.unread.counts))

    def lines(self) -> list[Text]:
        """Say it to people, a line for each thing worth knowing."""
        w, p, tally = self.written, self.prepared, self.tally
        sentences = [
            Text(en="{rows:,} rows, {values:,} values, {streams:,} streams of {things:,} things in the layer {layer}.",
                 vi="{rows:,} dòng, {values:,} giá trị, {streams:,} luồng của {things:,} đối tượng trong lớp {layer}.")
            .format(rows=tally.rows, values=tally.values, streams=len(p.stream_ids), things=p.declared.things,
                    layer=self.source.layer),
            Text(en="{new:,} new, {repeated:,} repeated, {corrected:,} corrected, {aside:,} set aside.",
                 vi="{new:,} mới, {repeated:,} lặp lại, {corrected:,} đính chính, {aside:,} để riêng.")
            .format(new=w.new, repeated=w.repeated, corrected=w.corrected, aside=w.set_aside),
            Text(en="{joined:,} of {rows:,} rows have a place on the map.",
                 vi="{joined:,} trên {rows:,} dòng có vị trí trên bản đồ.")
            .format(joined=p.joined_rows, rows=p.rows),
        ]  # fmt: skip
        for reason, count in p.reasons.most_common(5):
            sentences.append(
                Text(en="Without a place ({count:,}): {reason}", vi="Chưa có vị trí ({count:,}): {reason}").format(
                    count=count, reason=reason
                )
            )
        for flag, count in self.flags.most_common():
            sentences.append(
                Text(en="Flagged: {count:,} {title}.", vi="Gắn cờ: {count:,} {title}.").format(
                    count=count, title=TITLES[flag]
                )
            )
        for number, count in sorted(tally.suspected.items()):
            sentences.append(
                Text(en="Suspicious, {count:,}: {reason}", vi="Nghi ngờ, {count:,}: {reason}").format(
                    count=count, reason=self.source.suspect[number].reason.text
                )
            )
        if tally.contradicting:
            sentences.append(
                Text(en="Suspicious, {count:,}: values of one row contradict each other.",
                     vi="Nghi ngờ, {count:,}: các giá trị cùng dòng mâu thuẫn nhau.").format(count=tally.contradicting)
            )  # fmt: skip
        for number, count in sorted(tally.left_out.items()):
            sentences.append(
                Text(en="Left out, {count:,} rows: {reason}", vi="Bỏ qua, {count:,} dòng: {reason}").format(
                    count=count, reason=self.source.leave_out[number].reason.text
                )
            )
        for reason_key, count in tally.unread.counts.items():
            lines = ", ".join(map(str, tally.unread.lines[reason_key]))
            sentences.append(
                Text(en="Not read, {count:,}: {reason} (line {lines}).",
                     vi="Không đọc được, {count:,}: {reason} (dòng {lines}).")
                .format(count=count, reason=UNREAD[reason_key], lines=lines)
            )  # fmt: skip
        return sentences

    def to_dict(self) -> dict[str, Any]:
        """Return the report for machines."""
        w, tally = self.written, self.tally
        return {
            "source": self.source.name, "file": str(self.source.file), "layer": self.source.layer,
            "rows": tally.rows, "values": tally.values, "streams": len(self.prepared.stream_ids),
            "things": self.prepared.declared.things, "unplacedThings": self.prepared.declared.unplaced,
            "joinedRows": self.prepared.joined_rows, "new": w.new, "repeated": w.repeated, "corrected": w.corrected,
            "setAside": w.set_aside, "flags": {flag_names(flag)[0]: n for flag, n in self.flags.items()},
            "suspicious": [
                {"reason": self.source.suspect[n].reason.text.as_dict(), "values": count}
                for n, count in sorted(tally.suspected.items())
            ],
            "contradicting": tally.contradicting,
            "leftOut": [
                {"reason": self.source.leave_out[n].reason.text.as_dict(), "rows": count}
                for n, count in sorted(tally.left_out.items())
            ],
            "unread": [
                {"reason": key, "count": count, "lines": tally.unread.lines[key]}
                for key, count in tally.unread.counts.items()
            ],
            "unplaced": [{"reason": reason.as_dict(), "things": n} for reason, n in self.prepared.reasons.items()],
            "exitCode": self.exit_code,
        }  # fmt: skip


def description_of(folder: Path) -> StreamDescription:
    """Return the description of a data folder's streams: its own streams.toml, else the one that comes along."""
    own = folder / OWN_DESCRIPTION
    return read_description(own if own.is_file() else Path(str(files("ingest") / "cities" / "hcmc.streams.toml")))


def source_of(description: StreamDescription, file: Path) -> SourceSpec:
    """Return the source that describes a file, by the file's name."""
    found = [source for source in description.source if source.file.name == file.name]
    if len(found) == 1:
        return found[0]
    raise BadInput(
        Text(
            en="The description has {n} sources for {file}. Name one with --source: {known}.",
            vi="Tệp mô tả có {n} nguồn cho {file}. Hãy nêu một nguồn bằng --source: {known}.",
        ).format(n=len(found), file=file.name, known=", ".join(s.name for s in description.source) or "—")
    )


async def prepare(connection: asyncpg.Connection, source: SourceSpec, folder: Path) -> Prepared:
    """Look through a file and declare the streams that it has values for."""
    recording = Recording(source, folder)
    survey = recording.survey()
    declared = DeclarationReport()
    named: dict[Key, list[tuple[int, str]]] = {}
    unique: dict[str, StreamDeclaration] = {}
    written: dict[str, str] = {}
    for key, values in survey.values_of.items():
        if not all(text.strip() for text in key):
            continue
        cells = recording.cells_of(key)
        for number in sorted(values):
            made = source.declaration(cells, source.value[number])
            text = fill(source.code or source.thing, cells)
            if written.setdefault(made.code, text) != text:
                raise _same_code(made.code, written[made.code], text)
            unique[made.code] = made
            named.setdefault(key, []).append((number, made.code))
    placed = await place_declarations(connection, source.layer, source.place.layer, list(unique.values()))
    await declare_into(connection, source.layer, placed, declared)
    places = {d.code: d.place for d in placed}
    streams = {
        key: {number: declared.ids[source.layer, code] for number, code in of_key} for key, of_key in named.items()
    }
    joined = sum(
        survey.rows_of[key] for key, of_key in named.items() if any(is_placed(places[code]) for _, code in of_key)
    )
    reasons: Counter[Text] = Counter()
    for place in {d.thing: d.place for d in placed}.values():
        if not is_placed(place):
            own = source.place.note is None
            reasons[MISSING_FEATURE if own or place.note is None else place.note] += 1
    return Prepared(recording, streams, declared, survey.rows, joined, reasons)


def _same_code(code: str, first: str, second: str) -> BadInput:
    return BadInput(
        Text(
            en="“{first}” and “{second}” both come to the stream {code}. Choose another code in the description.",
            vi="“{first}” và “{second}” cùng thành luồng {code}. Hãy chọn mã khác trong tệp mô tả.",
        ).format(first=first[:80], second=second[:80], code=code)
    )


MISSING_FEATURE = Text(en="the layer has no such feature.", vi="lớp không có đối tượng này.")


async def backfill(
    connection: asyncpg.Connection, source: SourceSpec, folder: Path, time_zone: str,
    progress: Progress = lambda _done, _all: None,
) -> BackfillReport:  # fmt: skip
    """Write all values of a file, and roll them up.

    Parameters
    ----------
    connection : asyncpg.Connection
        Of the writer.
    source : SourceSpec
    folder : Path
        The file lies in it.
    time_zone : str
        The city's, for the days of the roll-ups.
    progress : callable
        Is sentences of the rows that are done, and of all rows.

    Raises
    ------
    BadInput
        If the file cannot be read, or has not the described columns.
    NotFound
        If the layer does not exist.
    """
    prepared = await prepare(connection, source, folder)
    report = BackfillReport(source, prepared)
    directory = StreamDirectory()
    await directory.look_up(connection, set(prepared.stream_ids))
    writer = BulkWriter(directory)
    label = f"file {source.file}"
    # Columns have no room for what a source keeps beside each value.
    write, size = (_write_each, BATCH) if source.parameters else (_write_columns, ROWS_AT_ONCE)
    batch: list[Observation] = []
    for some in prepared.recording.observations(prepared.streams, report.tally):
        batch += some
        if len(batch) >= size:
            report.written.add(await write(writer, connection, batch, label))
            batch = []
        progress(report.tally.rows, prepared.rows)
    if batch:
        report.written.add(await write(writer, connection, batch, label))
    while await roll_up(connection, time_zone):
        pass
    for row in await connection.fetch(FLAGS_SQL, prepared.stream_ids):
        for flag in Flag:
            if row["flag"] & flag:
                report.flags[flag] += row["n"]
    return report


async def _write_each(
    writer: BulkWriter, connection: asyncpg.Connection, batch: list[Observation], label: str
) -> Written:  # fmt: skip
    return await writer.write(connection, batch, label)


async def _write_columns(
    writer: BulkWriter, connection: asyncpg.Connection, batch: list[Observation], label: str
) -> Written:
    return await writer.write_columns(connection, ObservationColumns.of(batch), label)


def require_any(sources: list[SourceSpec]) -> None:
    """Refuse a description without files."""
    if not sources:
        raise NotFound(
            Text(en="The description names no recorded file ([[source]]).",
                 vi="Tệp mô tả không có nguồn tệp nào ([[source]]).")
        )  # fmt: skip

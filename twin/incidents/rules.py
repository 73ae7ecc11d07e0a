"""The model of alert rules: which streams, which condition, what is said and to whom. Files and the API share it."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import h3
import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from twin.bounded_toml import read_toml
from twin.catalogue.catalogue import LAYER_ID
from twin.errors import BadInput
from twin.incidents.webhook import check_url
from twin.streams.entry import StreamEntry
from twin.streams.flags import Flag
from twin.text import Text

FORMAT_VERSION = 1
Severity = Literal["information", "warning", "serious", "emergency"]
SEVERITIES: Mapping[str, Text] = {
    "information": Text(en="information", vi="thông tin"),
    "warning": Text(en="warning", vi="cảnh báo"),
    "serious": Text(en="serious", vi="nghiêm trọng"),
    "emergency": Text(en="emergency", vi="khẩn cấp"),
}
# What a title or text may name in braces.
PLACEHOLDERS = frozenset({"value", "unit", "limit", "grade", "stream", "name", "thing", "layer", "time", "count"})
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
DAY = 86_400.0

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]
Agency = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,19}$")]
LayerId = Annotated[str, StringConstraints(pattern=LAYER_ID)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
Email = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24}$")]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]
Seconds = Annotated[float, Field(ge=0, le=30 * DAY)]
Direction = Literal["above", "below"]


class Wrong(ValueError):
    """What is wrong with a rule, in both languages."""

    def __init__(self, en: str, vi: str) -> None:
        super().__init__(en)
        self.text = Text(en=en, vi=vi)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Words(_Part):
    """A title or a text in both languages; names in braces are filled in."""

    vi: Line
    en: Line

    @field_validator("vi", "en")
    @classmethod
    def _known(cls, words: str) -> str:
        for name in PLACEHOLDER.findall(words):
            if name not in PLACEHOLDERS:
                known = ", ".join(f"{{{p}}}" for p in sorted(PLACEHOLDERS))
                raise Wrong(
                    f"there is no {{{name[:40]}}} to fill in; known: {known}",
                    f"không có {{{name[:40]}}} để điền; hiện có: {known}",
                )
        return words

    def fill(self, values: Mapping[str, Text]) -> Text:
        """Fill the names in braces; what has no value becomes a dash."""

        def filled(words: str, vi: bool) -> str:
            dash = Text(en="—", vi="—")
            return PLACEHOLDER.sub(lambda m: values.get(m[1], dash).in_language("vi" if vi else "en"), words)

        return Text(en=filled(self.en, False), vi=filled(self.vi, True))


class Streams(_Part):
    """Which streams: those that fit all that is given. `codes` are patterns with * and ?."""

    layers: tuple[LayerId, ...] = ()
    kinds: tuple[Line, ...] = ()
    ids: tuple[Annotated[int, Field(ge=1, lt=2**31)], ...] = ()
    codes: tuple[Line, ...] = ()
    cell: str | None = None

    @field_validator("cell")
    @classmethod
    def _is_cell(cls, cell: str | None) -> str | None:
        if cell is not None and not h3.is_valid_cell(cell):
            raise Wrong(f"{cell[:40]!r} is no H3 cell", f"{cell[:40]!r} không phải ô H3")
        return cell

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.layers or self.kinds or self.ids or self.codes or self.cell):
            raise Wrong(
                "name the streams by layers, kinds, ids, codes or cell",
                "hãy chọn luồng bằng layers, kinds, ids, codes hoặc cell",
            )
        if max(len(self.layers), len(self.kinds), len(self.codes)) > 100 or len(self.ids) > 10_000:
            raise Wrong("at most 100 names, and 10,000 ids", "tối đa 100 tên và 10.000 mã số")
        return self

    def takes(self, entry: StreamEntry) -> bool:
        """Tell whether a stream is selected."""
        if self.layers and entry.layer not in self.layers:
            return False
        if self.kinds and entry.kind not in self.kinds:
            return False
        if self.ids and entry.key not in self.ids:
            return False
        if self.codes and not any(fnmatch.fnmatchcase(entry.code, pattern) for pattern in self.codes):
            return False
        if self.cell is None:
            return True
        if entry.longitude is None or entry.latitude is None:
            return False
        resolution = h3.get_resolution(self.cell)
        return bool(h3.latlng_to_cell(entry.latitude, entry.longitude, resolution) == self.cell)


class _Condition(_Part):
    """What all conditions share: how long it must hold, and how long its end must hold."""

    seconds: Seconds = 0.0
    clear_seconds: Seconds = 300.0


class _Limited(_Condition):
    """A number with hysteresis: raised from `raise_at` on, clear beyond `clear_at`."""

    direction: Direction = "above"
    raise_at: Number | None = None
    clear_at: Number | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.raise_at is None or self.clear_at is None:
            return self
        sign = 1 if self.direction == "above" else -1
        if self.clear_at * sign > self.raise_at * sign:
            raise Wrong(
                f"clear_at lies on the wrong side of raise_at for direction = {self.direction!r}",
                f"clear_at nằm sai phía so với raise_at khi direction = {self.direction!r}",
            )
        return self


class Threshold(_Limited):
    """A value reaches a limit: a number, or a grade of its kind's scale (an alarm level)."""

    type: Literal["threshold"]
    grade: Line | None = None
    # With a grade: how far beyond the grade's limit a value must be to be clear, in the unit of the values.
    margin: Annotated[float, Field(ge=0, le=1e9)] = 0.0

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.raise_at is None) == (self.grade is None):
            raise Wrong("give one of raise_at and grade", "chỉ nêu một trong raise_at và grade")
        if self.grade is not None and self.clear_at is not None:
            raise Wrong("with a grade, give margin instead of clear_at", "khi dùng grade, hãy nêu margin thay clear_at")
        return self


class Rate(_Limited):
    """A value changes by so much an hour, measured over `window_seconds`."""

    type: Literal["rate"]
    window_seconds: Annotated[float, Field(gt=0, le=7 * DAY)] = 3600.0

    @model_validator(mode="after")
    def _given(self) -> Self:
        _need_limit(self.raise_at)
        return self


class Silence(_Part):
    """No value has come for so long; a flagged value is a sign of life too."""

    type: Literal["silence"]
    seconds: Annotated[float, Field(ge=10, le=365 * DAY)]
    clear_seconds: Seconds = 0.0


class Feature(_Part):
    """A feature of a published layer: a ward."""

    layer: LayerId
    id: Line


class Aggregate(_Limited):
    """The mean, maximum, minimum, sum or count of the fresh values of many streams.

    `feature` keeps to the streams inside a feature; the rule's `cell` and `layers` narrow it too. `from_value` counts
    only values from there on.
    """

    type: Literal["aggregate"]
    of: Literal["mean", "max", "min", "sum", "count"]
    at_least: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    from_value: Number | None = None
    feature: Feature | None = None

    @model_validator(mode="after")
    def _given(self) -> Self:
        if self.from_value is not None and self.of != "count":
            raise Wrong('from_value goes with of = "count"', 'from_value chỉ dùng với of = "count"')
        _need_limit(self.raise_at)
        return self


class LevelChange(_Condition):
    """The grade of a value is `steps` or more away from the one of the value before."""

    type: Literal["level_change"]
    steps: Annotated[int, Field(ge=1, le=20)] = 1
    direction: Literal["up", "down", "either"] = "up"


class Flagged(_Condition):
    """A value carries one of these flags."""

    type: Literal["flag"]
    flags: tuple[str, ...] = Field(min_length=1, max_length=len(Flag))

    @field_validator("flags")
    @classmethod
    def _known(cls, flags: tuple[str, ...]) -> tuple[str, ...]:
        known = {str(flag.name).lower() for flag in Flag}
        if unknown := set(flags) - known:
            listed = ", ".join(sorted(known))
            raise Wrong(
                f"there is no flag {min(unknown)[:40]!r}; known: {listed}",
                f"không có cờ {min(unknown)[:40]!r}; hiện có: {listed}",
            )
        return flags


Condition = Annotated[
    Threshold | Rate | Silence | Aggregate | LevelChange | Flagged, Field(discriminator="type")
]  # fmt: skip


class AlertRule(_Part):
    """One rule. `most_per_minute` bounds the incidents that it opens; the others are counted in one."""

    name: Name
    agency: Agency
    severity: Severity
    title: Words
    text: Words | None = None
    enabled: bool = True
    streams: Streams
    when: Condition
    most_per_minute: Annotated[int, Field(ge=1, le=1000)] = 20
    webhook: Annotated[str, StringConstraints(max_length=500)] | None = None
    emails: tuple[Email, ...] = Field((), max_length=10)
    send_closed: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.when, Aggregate) and self.when.of != "count" and len(self.streams.kinds) != 1:
            raise Wrong(
                "an aggregate needs exactly one kind in streams.kinds: values of two kinds cannot be added",
                "quy tắc aggregate cần đúng một đại lượng trong streams.kinds: không cộng được hai đại lượng khác nhau",
            )
        needs_kind = isinstance(self.when, LevelChange) or getattr(self.when, "grade", None) is not None
        if needs_kind and len(self.streams.kinds) != 1:
            raise Wrong(
                "grades need exactly one kind in streams.kinds: each kind has a scale of its own",
                "cấp cần đúng một đại lượng trong streams.kinds: mỗi đại lượng có thang riêng",
            )
        if self.webhook is not None:
            try:
                check_url(self.webhook)
            except BadInput as error:
                raise Wrong(error.message.en, error.message.vi) from None
        return self

    @property
    def named(self) -> frozenset[str]:
        """The layers that it names."""
        feature = self.when.feature if isinstance(self.when, Aggregate) else None
        return frozenset(self.streams.layers) | ({feature.layer} if feature else set())

    def definition(self) -> str:
        """Return the rule as JSON, as the database keeps it."""
        return self.model_dump_json()


class _RuleFile(_Part):
    version: Literal[1]
    rule: tuple[AlertRule, ...] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [(rule.agency, rule.name) for rule in self.rule]
        for name in names:
            if names.count(name) > 1:
                raise Wrong(f"two rules are called {name[1]!r}", f"hai quy tắc cùng tên {name[1]!r}")
        return self


def read_rule(given: object, source: str = "rule") -> AlertRule:
    """Read one rule from decoded JSON.

    Raises
    ------
    BadInput
        With the place in it, and what to do.
    """
    try:
        # As JSON, where arrays are the only lists there are and a text is never a number.
        return AlertRule.model_validate_json(orjson.dumps(given))
    except ValidationError as error:
        raise _refused(source, error) from None
    except orjson.JSONEncodeError as error:
        raise BadInput(Text(en=str(error), vi=str(error))) from None


def read_rule_file(path: Path) -> tuple[AlertRule, ...]:
    """Read a file of rules (TOML); BadInput names the file, the place in it, and what to do."""
    given = read_toml(path)
    try:
        return _RuleFile.model_validate_json(orjson.dumps(given, default=str)).rule
    except ValidationError as error:
        raise _refused(path.name, error) from None


def _need_limit(limit: float | None) -> None:
    if limit is None:
        raise Wrong("give raise_at, the limit", "hãy nêu raise_at, là ngưỡng")


def _refused(source: str, error: ValidationError) -> BadInput:
    return BadInput(
        Text(
            en="{file} cannot be used. At {place}: {reason}.", vi="Không dùng được {file}. Tại {place}: {reason}."
        ).format(file=source, place=_place(error), reason=_reason(error))
    )


def _place(error: ValidationError) -> str:
    # People count from one: the second [[rule]]. The tag of a condition stands in no file.
    tags = {"threshold", "rate", "silence", "aggregate", "level_change", "flag"}
    steps = [step for step in error.errors()[0]["loc"] if step not in tags]
    return ".".join(str(step + 1) if isinstance(step, int) else str(step) for step in steps) or "[top]"


_REASONS: Mapping[str, Text] = {
    "missing": Text(en="this has to be given", vi="mục này bắt buộc phải có"),
    "extra_forbidden": Text(
        en="there is no such setting; remove it, or correct its name", vi="không có mục này; hãy bỏ hoặc sửa tên"
    ),
    "string_pattern_mismatch": Text(
        en="“{value}” has not the form {pattern}", vi="“{value}” không đúng dạng {pattern}"
    ),
    "literal_error": Text(en="“{value}” is none of {expected}", vi="“{value}” không thuộc {expected}"),
    "union_tag_invalid": Text(en="the type is none of {expected_tags}", vi="type không thuộc {expected_tags}"),
    "union_tag_not_found": Text(
        en="give its type: threshold, rate, silence, aggregate, level_change or flag",
        vi="hãy nêu type: threshold, rate, silence, aggregate, level_change hoặc flag",
    ),
    "greater_than_equal": Text(en="this is at least {ge}", vi="giá trị phải từ {ge} trở lên"),
    "greater_than": Text(en="this is more than {gt}", vi="giá trị phải lớn hơn {gt}"),
    "less_than_equal": Text(en="this is at most {le}", vi="giá trị tối đa là {le}"),
    "float_type": Text(en="a number is needed, without quotation marks", vi="cần một số, không có dấu ngoặc kép"),
    "int_type": Text(en="a whole number is needed", vi="cần một số nguyên"),
    "string_type": Text(en="a text is needed, in quotation marks", vi="cần một chuỗi trong dấu ngoặc kép"),
    "too_short": Text(en="at least one is needed", vi="cần ít nhất một mục"),
}  # fmt: skip


def _reason(error: ValidationError) -> Text:
    first = error.errors()[0]
    context: Mapping[str, Any] = first.get("ctx", {})
    wrong = context.get("error")
    if isinstance(wrong, Wrong):
        return wrong.text
    reason = _REASONS.get(first["type"])
    if reason is None:
        return Text(en=first["msg"], vi=first["msg"])
    return reason.format(value=str(first["input"])[:60], **context)

"""Reading entities: sets, pages by key, counts and expansions, one statement for each level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import asyncpg
import orjson

from tiles.sensorthings.errors import refuse
from tiles.sensorthings.expressions import Compiler, Rows
from tiles.sensorthings.model import TYPES, EntityType, Navigation, Property, rows_of
from tiles.sensorthings.options import Options, make_token
from tiles.sensorthings.sql_values import Parameters

# Above this a count is estimated.
COUNTED = 1_000_000
# Entities of one answer, expansions included.
MOST_ENTITIES = 50_000

Key = tuple[Any, ...]
KEYS = frozenset({"a.time", "a.stream", "a.id"})


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: the ids of the layers whose streams the principal may read, and its agency."""

    layer_ids: list[int]
    agency: int | None


@dataclass(slots=True)
class Entity:
    """An entity as it was read: its key, its properties by name, and what was expanded."""

    type: EntityType
    key: Key
    values: dict[str, Any]
    expanded: dict[str, Entity | Page | None] = field(default_factory=dict)
    options: Options | None = None


@dataclass(slots=True)
class Page:
    """A page of a set. `token` is the key of the next page; `count` that of the whole set if it was asked for."""

    entities: list[Entity]
    token: str | None = None
    count: int | None = None
    options: Options = field(default_factory=Options)


def id_of(entity: EntityType, key: Key) -> int | str:
    """Return the id that a key is told as."""
    if entity.name == "Observation":
        return f"{key[0]}@{_microseconds(key[1])}"
    return int(key[0])


def _microseconds(moment: datetime) -> int:
    passed = moment - datetime.fromtimestamp(0, UTC)
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


@dataclass(slots=True)
class Selection:
    """Reads for one request. Everything in it is limited to what its reader may see."""

    connection: asyncpg.Connection
    reader: Reader
    now: datetime
    entities: int = 0

    async def exists(self, entity: EntityType, key: Key) -> bool:
        """Tell whether there is an entity that may be seen."""
        parameters, where = self._start(entity, "a")
        where += [f"a.{name} = {parameters.add(v, kind)}" for (name, kind), v in zip(entity.key, key, strict=True)]
        source = entity.source.format(a="a")
        return bool(await self._fetch(f"SELECT FROM {source} WHERE {' AND '.join(where)}", parameters))

    async def keys_behind(self, entity: EntityType, key: Key, navigation: Navigation, wanted: Key | None) -> Key | None:
        """Return the key of the one entity that a way leads to, or of that one of them with a key; None without."""
        target = TYPES[navigation.target]
        parameters, where = self._start(target, "a")
        own = [f"p.{name} = {parameters.add(v, kind)}" for (name, kind), v in zip(entity.key, key, strict=True)]
        where += [*own, navigation.on.format(a="a", p="p")]
        if wanted is not None:
            where += [f"a.{n} = {parameters.add(v, kind)}" for (n, kind), v in zip(target.key, wanted, strict=True)]
        keys = ", ".join(f"a.{name}" for name, _ in target.key)
        text = (
            f"SELECT {keys} FROM {rows_of(entity, 'p')} CROSS JOIN {rows_of(target, 'a')} "
            f"WHERE {' AND '.join(where)} LIMIT 1"
        )
        rows = await self._fetch(text, parameters)
        return tuple(rows[0]) if rows else None

    async def one(self, entity: EntityType, key: Key, options: Options) -> Entity | None:
        """Read one entity with what is expanded of it; None if there is none that may be seen."""
        parameters, where = self._start(entity, "a")
        where += [f"a.{name} = {parameters.add(v, kind)}" for (name, kind), v in zip(entity.key, key, strict=True)]
        columns = _Columns(entity, options, "a")
        source = entity.source.format(a="a")
        rows = await self._fetch(f"SELECT {columns.sql} FROM {source} WHERE {' AND '.join(where)}", parameters)
        if not rows:
            return None
        found = columns.entity(rows[0])
        await self._expand([found], entity, options)
        return found

    async def page(
        self, entity: EntityType, options: Options, parent: tuple[EntityType, Key, Navigation] | None = None
    ) -> Page:
        """Read a page of a set, of all or of those behind an entity."""
        if parent is not None:
            pages = await self._pages(parent[0], [parent[1]], parent[2], options)
            page = pages[0]
        else:
            parameters, where = self._start(entity, "a")
            statement = _Statement(entity, options, parameters, where, self.now, of_all=True)
            rows = await self._fetch(statement.text(), parameters)
            page = statement.page(rows)
            if options.count:
                page.count = await self._count(entity, options)
        await self._expand(page.entities, entity, options)
        return page

    async def counts(
        self, entity: EntityType, options: Options, parent: tuple[EntityType, Key, Navigation] | None = None
    ) -> int:
        """Return how many entities a set has."""
        if parent is None:
            return await self._count(entity, options)
        return (await self._counts(parent[0], [parent[1]], parent[2], options))[0]

    def _start(self, entity: EntityType, alias: str) -> tuple[Parameters, list[str]]:
        return Parameters([self.reader.layer_ids, self.reader.agency]), [entity.visible.format(a=alias)]

    async def _fetch(self, text: str, parameters: Parameters) -> list[Any]:
        text, values = parameters.used(text)
        rows: list[Any] = await self.connection.fetch(text, *values)
        self.entities += len(rows)
        if self.entities > MOST_ENTITIES:
            raise refuse(
                "The answer has more than {most:,} entities. Use a smaller $top, also inside $expand.",
                "Trả lời có hơn {most:,} thực thể. Hãy dùng $top nhỏ hơn, kể cả trong $expand.",
                most=MOST_ENTITIES,
            )
        return rows

    async def _count(self, entity: EntityType, options: Options) -> int:
        parameters, where = self._start(entity, "a")
        statement = _Statement(entity, _of_all_pages(options), parameters, where, self.now)
        text = statement.counted()
        counted = int((await self._fetch(f"SELECT count(*) FROM ({text} LIMIT {COUNTED + 1}) c", parameters))[0][0])
        if counted <= COUNTED:
            return counted
        text, values = parameters.used(text)
        plan = (await self.connection.fetch(f"EXPLAIN (FORMAT JSON) {text}", *values))[0][0]
        return max(counted, int(orjson.loads(plan)[0]["Plan"]["Plan Rows"]))

    async def _expand(self, entities: Sequence[Entity], entity: EntityType, options: Options) -> None:
        for name, inner in options.expand.items():
            navigation = entity.navigations[name]
            if not entities:
                return
            pages = await self._pages(entity, [e.key for e in entities], navigation, inner)
            for one, page in zip(entities, pages, strict=True):
                one.expanded[name] = page if navigation.many else next(iter(page.entities), None)
            target = TYPES[navigation.target]
            await self._expand([found for page in pages for found in page.entities], target, inner)

    async def _pages(
        self, entity: EntityType, keys: Sequence[Key], navigation: Navigation, options: Options
    ) -> list[Page]:
        """Read a page behind each of some entities, in one statement."""
        target = TYPES[navigation.target]
        parameters, where = self._start(target, "a")
        source, ordinal = _parents(entity, keys, parameters)
        statement = _Statement(
            target, options, parameters, [*where, navigation.on.format(a="a", p="p")], self.now,
            single=not navigation.many,
        )  # fmt: skip
        text = f"SELECT {ordinal} - 1, x.* FROM {source} CROSS JOIN LATERAL ({statement.text()}) x"
        rows: list[list[Any]] = [[] for _ in keys]
        for number, *row in await self._fetch(text, parameters):
            rows[number].append(row)
        pages = [statement.page(found) for found in rows]
        if options.count and navigation.many:
            for page, number in zip(pages, await self._counts(entity, keys, navigation, options), strict=True):
                page.count = number
        return pages

    async def _counts(
        self, entity: EntityType, keys: Sequence[Key], navigation: Navigation, options: Options
    ) -> list[int]:
        target = TYPES[navigation.target]
        parameters, where = self._start(target, "a")
        source, ordinal = _parents(entity, keys, parameters)
        conditions = [*where, navigation.on.format(a="a", p="p")]
        statement = _Statement(target, _of_all_pages(options), parameters, conditions, self.now)
        text = f"SELECT {ordinal} - 1, (SELECT count(*) FROM ({statement.counted()} LIMIT {COUNTED}) c) FROM {source}"
        found = dict(tuple(row) for row in await self._fetch(text, parameters))
        return [int(found.get(number, 0)) for number in range(len(keys))]


def _of_all_pages(options: Options) -> Options:
    return replace(options, after=None, order=())


def _parents(entity: EntityType, keys: Sequence[Key], parameters: Parameters) -> tuple[str, str]:
    """Return the rows `p` of some entities with their positions, as a source and the position's column."""
    arrays = [
        parameters.add([key[n] for key in keys], f"{kind}[]") for n, (_, kind) in enumerate(entity.key)
    ]  # fmt: skip
    names = [f"k{n}" for n in range(len(arrays))]
    on = " AND ".join(f"p.{name} = k.{k}" for (name, _), k in zip(entity.key, names, strict=True))
    given = f"unnest({', '.join(arrays)}) WITH ORDINALITY AS k ({', '.join(names)}, ord)"
    return f"{given} JOIN {rows_of(entity, 'p')} ON {on}", "k.ord"


class _Columns:
    """The columns that are read of an entity: its key, then the properties that are shown."""

    def __init__(self, entity: EntityType, options: Options, alias: str) -> None:
        self.entity_type, self.options = entity, options
        self.shown = [p for name, p in entity.properties.items() if not options.select or name in options.select]
        columns = [f"{alias}.{name}" for name, _ in entity.key]
        self.places: list[tuple[Property, int]] = []
        for found in self.shown:
            self.places.append((found, len(columns)))
            sql = found.sql.format(a=alias)
            columns.append(f"({sql})::text" if found.kind in ("json", "geojson", "result") else sql)
            if found.end:
                columns.append(found.end.format(a=alias))
        self.columns = columns

    @property
    def sql(self) -> str:
        """The columns as SQL, named for the place they stand at."""
        return ", ".join(f"{column} AS c{n}" for n, column in enumerate(self.columns))

    def entity(self, row: Sequence[Any]) -> Entity:
        """Return the entity of a row."""
        values = {p.name: (row[n], row[n + 1]) if p.end and row[n] is not None else row[n] for p, n in self.places}
        return Entity(
            self.entity_type, tuple(row[n] for n in range(len(self.entity_type.key))), values, {}, self.options
        )


class _Statement:
    """One page of a set as SQL: conditions, order, the key of the page before."""

    def __init__(
        self, entity: EntityType, options: Options, parameters: Parameters, where: list[str], now: datetime,
        *, of_all: bool = False, single: bool = False,
    ) -> None:  # fmt: skip
        self.entity, self.options, self.parameters, self.single = entity, options, parameters, single
        self.columns = _Columns(entity, options, "a")
        rows = Rows(entity, "a")
        compiler = Compiler(parameters, now, count(1))
        self.where = list(where)
        if options.filter:
            self.where.append(compiler.condition(options.filter, rows))
        self.order: list[tuple[str, str, bool]] = []
        for text, descending in options.order:
            found = compiler.order(text, rows, descending=descending)
            self.order += [(sql, kind, descending) for sql, kind in found]
        ordered = {sql for sql, _, _ in self.order}
        last = self.order[-1][2] if self.order else False
        self.order += [(f"a.{n}", kind, last) for n, kind in entity.key if f"a.{n}" not in ordered]
        self.source = " ".join((entity.source.format(a="a"), *rows.joins))
        # The newest of many streams: each stream's own newest by its key, then the newest of those.
        self.by_stream = of_all and entity.name == "Observation" and self.order[0][0] == "a.time"
        if options.after is not None:
            self.where.append(self._after(options.after))

    def text(self) -> str:
        """Return the statement."""
        orders = [f"({sql}) AS o{n}" for n, (sql, _, _) in enumerate(self.order)]
        skip = 0 if self.single else self.options.skip
        page = 1 if self.single else self.options.top + 1
        selected = ", ".join([self.columns.sql, *orders])
        sort = ", ".join(f"{sql} {_direction(sql, desc)}" for sql, _, desc in self.order)
        sort_outside = ", ".join(f"x.o{n} {_direction('', desc)}" for n, (_, _, desc) in enumerate(self.order))
        if self.by_stream:
            inner = (
                f"SELECT {selected} FROM {self.source} WHERE a.stream = m.id AND {' AND '.join(self.where)} "
                f"ORDER BY {sort} LIMIT {page + skip}"
            )
            found = (
                f"SELECT x.* FROM live.datastream m CROSS JOIN LATERAL ({inner}) x WHERE m.layer_id = ANY($1::int4[]) "
                f"ORDER BY {sort_outside} OFFSET {skip} LIMIT {page}"
            )
        else:
            found = (
                f"SELECT {selected} FROM {self.source} WHERE {' AND '.join(self.where)} "
                f"ORDER BY {sort} OFFSET {skip} LIMIT {page}"
            )
        names = [f"x.c{n}" for n in range(len(self.columns.columns))]
        names += [f"x.o{n}::text" for n in range(len(self.order))]
        # Without an own order outside: the rows come as they are sorted inside.
        return f"SELECT {', '.join(names)} FROM ({found}) x"

    def counted(self) -> str:
        """Return the statement that gives a row for each entity of the set."""
        return f"SELECT FROM {self.source} WHERE {' AND '.join(self.where)}"

    def page(self, rows: Sequence[Sequence[Any]]) -> Page:
        """Return the page of the rows that the statement gave."""
        shown = rows if self.single else rows[: self.options.top]
        token = None
        if len(rows) > len(shown) and shown:
            token = make_token(list(shown[-1])[-len(self.order) :])
        return Page([self.columns.entity(row) for row in shown], token, None, self.options)

    def _after(self, values: list[str | None]) -> str:
        """Return the condition that a row comes after the last one of the page before."""
        if len(values) != len(self.order):
            raise refuse(
                "$skiptoken does not belong to this order: follow the nextLink as it is.",
                "$skiptoken không thuộc thứ tự này: hãy dùng nguyên nextLink.",
            )
        cases, equal = [], []
        bound = ""
        for n, ((sql, kind, descending), value) in enumerate(zip(self.order, values, strict=True)):
            if value is None:
                # Nulls come last: only equal ones follow.
                equal.append(f"{sql} IS NULL")
                continue
            given = f"({self.parameters.add(value, 'text')}::{kind})"
            sign = "<" if descending else ">"
            later = f"({sql} {sign} {given} OR {sql} IS NULL)" if n < len(self.order) - 1 else f"{sql} {sign} {given}"
            if sql in KEYS:
                later = f"{sql} {sign} {given}"
                if n == 0:
                    # The index begins here instead of at the first page.
                    bound = f"{sql} {sign}= {given} AND "
            cases.append(" AND ".join((*equal, later)))
            equal.append(f"{sql} = {given}")
        if not cases:
            return "FALSE"
        return f"({bound}({' OR '.join(f'({case})' for case in cases)}))"


def _direction(sql: str, descending: bool) -> str:
    if sql in KEYS:
        # Never null: an order of nulls would keep the index from being used.
        return "DESC" if descending else "ASC"
    return "DESC NULLS LAST" if descending else "ASC NULLS LAST"

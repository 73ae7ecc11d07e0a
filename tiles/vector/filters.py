"""Tiles of some of the features: a CQL2 filter, read for each layer of a tile."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request

from tiles.http.server import CityContext
from tiles.ogc.parameters import filter_key, read_filter
from tiles.vector.mvt import EVERYTHING, FeatureCondition
from tiles.vector.tile_matrix_sets import WEB_MERCATOR, Grid
from twin.access.permit import Permit
from twin.query.expressions import Parameters
from twin.query.reference import offered


async def read_where(
    request: Request, city: CityContext, chosen: Sequence[Permit], grid: Grid = WEB_MERCATOR
) -> FeatureCondition:
    """Read `filter` for every layer of a tile: each must have the names that it uses."""
    given = request.query_params
    if not given:
        return EVERYTHING
    references = offered(city.settings.profile)
    # The statement's own parameters come first: the tile's place, and the room for each layer.
    first = grid.parameters + 1
    parameters = Parameters([None] * first)
    conditions = {}
    for c in chosen:
        for condition in await read_filter(city.parser, given, c, references, parameters):
            conditions[c.layer.id] = condition
    if not conditions:
        return EVERYTHING
    return FeatureCondition(conditions, tuple(parameters.values[first:]), filter_key(given))

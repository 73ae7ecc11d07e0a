"""Addresses that other programs know things by: licences, and the European authority tables of DCAT-AP."""

from __future__ import annotations

import re
from collections.abc import Mapping

from twin.db.tables import Sharing

AUTHORITY = "http://publications.europa.eu/resource/authority/"
CREATIVE_COMMONS = re.compile(r"CC-(BY(?:-NC)?(?:-ND|-SA)?)-(\d\.\d)")
LICENCES = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "ODbL-1.0": "https://opendatacommons.org/licenses/odbl/1-0/",
    "ODC-By-1.0": "https://opendatacommons.org/licenses/by/1-0/",
    "PDDL-1.0": "https://opendatacommons.org/licenses/pddl/1-0/",
    "MIT": "https://spdx.org/licenses/MIT",
    "Apache-2.0": "https://spdx.org/licenses/Apache-2.0",
}
ACCESS: Mapping[Sharing, str] = {
    Sharing.OPEN: f"{AUTHORITY}access-right/PUBLIC",
    Sharing.SHARED: f"{AUTHORITY}access-right/RESTRICTED",
    Sharing.RESTRICTED: f"{AUTHORITY}access-right/NON_PUBLIC",
}
FREQUENCIES: Mapping[str, str] = {
    "continuous": f"{AUTHORITY}frequency/CONT",
    "daily": f"{AUTHORITY}frequency/DAILY",
    "weekly": f"{AUTHORITY}frequency/WEEKLY",
    "monthly": f"{AUTHORITY}frequency/MONTHLY",
    "quarterly": f"{AUTHORITY}frequency/QUARTERLY",
    "yearly": f"{AUTHORITY}frequency/ANNUAL",
    "irregular": f"{AUTHORITY}frequency/IRREG",
}
# The data themes of the European portal. A theme that is not named here is of the region and its city.
DATA_THEMES: Mapping[str, str] = {
    "boundaries": "GOVE", "population": "SOCI", "roads": "TRAN", "traffic_segments": "TRAN",
    "transit_stops": "TRAN", "transit_routes": "TRAN", "elevation": "ENVI", "flood_spots": "ENVI",
    "flood_depth": "ENVI", "land_cover": "ENVI",
    "sensors": "ENVI", "water": "ENVI", "waterways": "ENVI",
}  # fmt: skip


def licence_address(licence: str) -> str | None:
    """Return the address of a licence by its SPDX name, or the licence itself if it is an address."""
    if match := CREATIVE_COMMONS.fullmatch(licence):
        return f"https://creativecommons.org/licenses/{match[1].lower()}/{match[2]}/"
    if re.fullmatch(r"https?://[^\s<>\"{}|\\^`]+", licence):
        return licence
    return LICENCES.get(licence)


def data_theme(theme: str) -> str:
    """Return the European data theme that a theme of the platform belongs to."""
    return f"{AUTHORITY}data-theme/{DATA_THEMES.get(theme, 'REGI')}"

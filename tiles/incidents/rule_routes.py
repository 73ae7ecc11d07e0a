"""The addresses of alert rules. A rule is told to keys of its agency and to operators; to others it does not exist."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Request, Response
from fastapi import Path as PathParameter

from layers.observed.stream_grades import check_rule
from tiles.http.principal import City, CurrentPrincipal
from tiles.http.server import CityContext
from tiles.incidents.access import is_operator, require_alerting, writing
from twin.access.permit import permit_of, readable_streams
from twin.access.policy import NEEDS_KEY
from twin.access.principals import Principal
from twin.errors import BadInput, Forbidden, Unauthenticated
from twin.incidents.incident import stamp
from twin.incidents.rule_store import (
    KeptRule,
    add_rule,
    find_rule,
    list_rules,
    no_rule,
    remove_rule,
    replace_rule,
)
from twin.incidents.rules import Aggregate, AlertRule, read_rule
from twin.incidents.webhook import AllowedHosts
from twin.text import Text

NO_STORE = {"Cache-Control": "no-store"}
RULE_SCHEMA = AlertRule.model_json_schema(ref_template="#/$defs/{model}")

RuleId = Annotated[int, PathParameter(ge=1, lt=2**31, description="The rule's id.")]
Given = Annotated[
    dict[str, Any], Body(description="A rule as docs/alerts.md describes it; `agency` may be left out.")
]  # fmt: skip

router = APIRouter(
    tags=["alerts"],
    responses={401: {"description": "No key, or one that is not valid"},
               403: {"description": "The key makes no rules, or not for these streams"}},
)  # fmt: skip


@router.get("/alert-rules", summary="The alert rules of the key's agency")
async def rules(request: Request, city: City, principal: CurrentPrincipal) -> Response:
    """List the rules of the key's agency; an operator's key lists all."""
    agency = _require_key(principal)
    async with writing(request) as connection:
        found = await list_rules(connection, None if is_operator(principal) else agency)
    return _json({"rules": [_rule_json(kept) for kept in found if _may_see(city, principal, kept)]})


@router.post("/alert-rules", status_code=201, summary="Make an alert rule")
async def make(request: Request, city: City, principal: CurrentPrincipal, given: Given) -> Response:
    """Make a rule. The answer has the secret that webhooks are signed with; it is not shown again."""
    agency = require_alerting(principal)
    rule = _read(city, principal, given, agency)
    async with writing(request) as connection:
        key, secret = await add_rule(connection, rule, principal.actor, every_agency=is_operator(principal))
        kept = await find_rule(connection, key)
    return _json(_rule_json(kept) | {"secret": secret}, 201, {"Location": f"/alert-rules/{key}"})


@router.get("/alert-rules/{rule}", summary="One alert rule")
async def one(request: Request, city: City, principal: CurrentPrincipal, rule: RuleId) -> Response:
    """Describe a rule, with its receivers and without its secret."""
    async with writing(request) as connection:
        return _json(_rule_json(await _visible(connection, city, principal, rule)))


@router.put("/alert-rules/{rule}", summary="Put another rule in its place")
async def replace(request: Request, city: City, principal: CurrentPrincipal, rule: RuleId, given: Given) -> Response:
    """Replace a rule; it keeps its id and its secret, and its open incidents end."""
    async with writing(request) as connection:
        kept = await _visible(connection, city, principal, rule)
        require_alerting(principal)
        wanted = _read(city, principal, given, kept.stored.definition.agency)
        await replace_rule(connection, kept, wanted, principal.actor, every_agency=is_operator(principal))
        return _json(_rule_json(await find_rule(connection, rule)))


@router.delete("/alert-rules/{rule}", status_code=204, summary="Remove an alert rule")
async def remove(request: Request, city: City, principal: CurrentPrincipal, rule: RuleId) -> Response:
    """Remove a rule; its open incidents end, and past ones stay."""
    async with writing(request) as connection:
        kept = await _visible(connection, city, principal, rule)
        require_alerting(principal)
        await remove_rule(connection, kept, principal.actor)
    return Response(status_code=204, headers=NO_STORE)


def _require_key(principal: Principal) -> str:
    if principal.agency is None:
        raise Unauthenticated(NEEDS_KEY)
    return principal.agency


async def _visible(connection: Any, city: CityContext, principal: Principal, key: int) -> KeptRule:
    _require_key(principal)
    kept = await find_rule(connection, key)
    if not _may_see(city, principal, kept):
        raise no_rule(key)
    return kept


def _may_see(city: CityContext, principal: Principal, kept: KeptRule) -> bool:
    """Tell whether a rule exists for a principal: one that names a hidden layer does not exist for an operator."""
    rule = kept.stored.definition
    if rule.agency == principal.agency:
        return True
    return is_operator(principal) and rule.named <= readable_streams(principal, city.layers)


def _read(city: CityContext, principal: Principal, given: dict[str, Any], agency: str) -> AlertRule:
    """Read a rule for an agency, and refuse one that looks at what its key may not look at."""
    named = given.get("agency", agency)
    if named != agency:
        raise Forbidden(
            Text(
                en="This rule is made for “{own}” and cannot be one of “{other}”.",
                vi="Quy tắc này thuộc “{own}”, không thể là của “{other}”.",
            ).format(own=agency, other=str(named)[:40])
        )
    rule = read_rule(given | {"agency": agency})
    check_rule(rule)
    area = rule.when.feature if isinstance(rule.when, Aggregate) else None
    for layer in sorted(rule.named):
        _require_layer(city, principal, layer)
        is_area = area is not None and layer == area.layer
        if layer.partition(".")[0] != agency and not is_operator(principal) and not is_area:
            raise Forbidden(
                Text(
                    en="“{own}” makes rules on streams of its own layers; “{layer}” is another agency's.",
                    vi="“{own}” chỉ đặt quy tắc cho luồng của lớp mình; “{layer}” thuộc đơn vị khác.",
                ).format(own=agency, layer=layer)
            )
    if rule.webhook is not None:
        AllowedHosts.parse(city.settings.webhook_hosts).check(rule.webhook)
    if len(rule.definition()) > 100_000:
        raise BadInput(Text(en="The rule is too long.", vi="Quy tắc quá dài."))
    return rule


def _require_layer(city: CityContext, principal: Principal, layer: str) -> None:
    if layer not in readable_streams(principal, city.layers):
        # The same refusal as for every other answer about the layer; one without streams is refused too.
        permit_of(principal, city.layers, layer)


def _rule_json(kept: KeptRule) -> dict[str, Any]:
    return {
        "id": kept.key, "version": kept.stored.version, "changed": stamp(kept.changed), "changedBy": kept.changed_by,
        "everyAgency": kept.stored.every_agency, **kept.stored.definition.model_dump(mode="json", exclude_none=True),
    }  # fmt: skip


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(content), status, media_type="application/json", headers={**NO_STORE, **(headers or {})}
    )

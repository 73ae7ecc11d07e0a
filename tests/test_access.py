"""Who may read what: one check, keys kept as hashes, hidden layers like none at all."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from twin.access.keys import KEYS_SQL, authenticate, new_key, parse_keys, revoke_key
from twin.access.permit import every_permit, permit_of
from twin.access.policy import grant
from twin.access.principals import ANONYMOUS, Principal
from twin.catalogue.catalogue import Agency, Layer, LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.db.database import Database
from twin.db.tables import PrincipalRole, Sharing
from twin.errors import BadInput, NotFound, Unauthenticated
from twin.text import Text

NAMES = Text(en="x", vi="x")
HEALTH = Principal("a nurse", "health")
TRANSPORT = Principal("an engineer", "transport")


def layer(sharing: Sharing) -> Layer:
    return Layer(
        "health.beds", 1, Agency("health", NAMES), "places", NAMES, NAMES, "", "", sharing, False, None, None,
        "irregular", None, {},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sharing", "anonymous", "other_agency", "own_agency"),
    [
        (Sharing.OPEN, True, True, True),
        (Sharing.SHARED, False, True, True),
        (Sharing.RESTRICTED, False, False, True),
    ],
)
def test_a_sharing_level_says_who_may_read(
    sharing: Sharing, anonymous: bool, other_agency: bool, own_agency: bool
) -> None:
    answers = [grant(who, layer(sharing)) is not None for who in (ANONYMOUS, TRANSPORT, HEALTH)]
    assert answers == [anonymous, other_agency, own_agency]


def test_a_hidden_layer_answers_exactly_like_one_that_does_not_exist() -> None:
    hidden = {"health.beds": layer(Sharing.RESTRICTED)}
    with pytest.raises(NotFound) as of_hidden:
        permit_of(ANONYMOUS, hidden, "health.beds")
    with pytest.raises(NotFound) as of_missing:
        permit_of(ANONYMOUS, {}, "health.beds")
    assert str(of_hidden.value) == str(of_missing.value)


def test_a_layer_without_a_published_version_is_not_readable() -> None:
    assert every_permit(HEALTH, {"health.beds": layer(Sharing.OPEN)}) == []


@pytest.fixture
def agencies(database: Database) -> Database:
    with database.session() as session:
        ensure_agency(session, "health", Text(en="Health", vi="Y tế"))
    return database


def keys(database: Database) -> dict:
    with database.session() as session:
        return parse_keys(session.execute(sa.text(KEYS_SQL)).scalar_one())


def test_a_new_key_tells_who_shows_it_and_its_secret_is_nowhere_in_the_database(agencies: Database) -> None:
    with agencies.session() as session:
        token = new_key(session, "health", "ward nurse", PrincipalRole.PUBLISHER, "a test")
    who = authenticate(token, keys(agencies))
    assert (who.name, who.agency, who.role) == ("ward nurse", "health", PrincipalRole.PUBLISHER)
    secret = token.split("_", 2)[2]
    with agencies.session() as session:
        stored = session.execute(sa.text("SELECT string_agg(k::text, ' ') FROM twin.api_key k")).scalar_one()
        audit = session.execute(sa.text("SELECT string_agg(a::text, ' ') FROM twin.audit a")).scalar_one()
    assert secret not in stored + audit
    assert "key.new" in audit


def test_nobody_in_particular_shows_no_key() -> None:
    assert authenticate(None, {}) is ANONYMOUS


@pytest.mark.parametrize("token", ["", "twin", "twin_000000000000_" + "a" * 43, "twin_x_y", "Bearer", "é" * 60])
def test_a_key_that_is_not_valid_is_refused_and_not_taken_for_anonymous(token: str) -> None:
    with pytest.raises(Unauthenticated):
        authenticate(token, {})


def test_a_key_with_a_wrong_secret_is_refused(agencies: Database) -> None:
    with agencies.session() as session:
        token = new_key(session, "health", "nurse", PrincipalRole.READER, "a test")
    wrong = token[:-1] + ("A" if token[-1] != "A" else "B")
    with pytest.raises(Unauthenticated):
        authenticate(wrong, keys(agencies))


def test_a_revoked_key_is_valid_no_more_and_cannot_be_revoked_twice(agencies: Database) -> None:
    with agencies.session() as session:
        token = new_key(session, "health", "nurse", PrincipalRole.READER, "a test")
    with agencies.session() as session:
        revoke_key(session, token.split("_")[1], "a test")
    with pytest.raises(Unauthenticated):
        authenticate(token, keys(agencies))
    with agencies.session() as session, pytest.raises(NotFound):
        revoke_key(session, token.split("_")[1], "a test")


def test_a_key_for_an_unknown_agency_names_those_there_are(agencies: Database) -> None:
    with agencies.session() as session, pytest.raises(NotFound, match="health"):
        new_key(session, "helth", "nurse", PrincipalRole.READER, "a test")


def test_an_account_keeps_its_role(agencies: Database) -> None:
    with agencies.session() as session:
        new_key(session, "health", "nurse", PrincipalRole.READER, "a test")
        with pytest.raises(BadInput, match="reader"):
            new_key(session, "health", "nurse", PrincipalRole.ADMIN, "a test")


def test_a_layer_is_restricted_unless_somebody_says_otherwise(agencies: Database) -> None:
    with agencies.session() as session:
        ensure_layer(session, LayerEntry("health.beds", "places", NAMES))
        assert read_catalogue(session)["health.beds"].sharing is Sharing.RESTRICTED


@pytest.mark.parametrize(
    "name", ["beds", "health", "Health.beds", "health.beds;drop", "health.", ".beds", "a.b.c", "he_alth.beds"]
)
def test_only_plain_names_can_be_layers(agencies: Database, name: str) -> None:
    with agencies.session() as session, pytest.raises(BadInput):
        ensure_layer(session, LayerEntry(name, "places", NAMES))

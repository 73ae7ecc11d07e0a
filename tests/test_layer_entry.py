"""What is said of a layer can be changed without touching its data; the record keeps who did it."""

from __future__ import annotations

import json
from pathlib import Path

import sqlalchemy as sa

from layers.commands import TYPES
from layers.contracts import theme_of
from tests.test_archives import twin
from tests.test_versions import LAYER, catalogue, lamps, layer, publish  # noqa: F401  # a fixture
from twin.access.permit import whole_permit
from twin.db.database import Database
from twin.db.tables import Audit, Sharing


def test_a_layer_is_opened_and_titled_and_the_record_says_who_and_what_was_before(
    layer: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    publish(layer, lamps(3))
    done = twin(layer, tmp_path, "layer", "set", LAYER, "--sharing", "shared", "--title-vi", "Đèn phố", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["before"] == {"sharing": "open", "title_vi": "Đèn đường"}
    after = catalogue(layer)
    assert (after.sharing, after.title.vi, after.title.en) == (Sharing.SHARED, "Đèn phố", "Lamps")
    assert after.current is not None and after.current.number == 1
    with layer.session() as session:
        row = session.scalars(sa.select(Audit).where(Audit.action == "layer.set")).one()
    assert row.layer == LAYER and row.detail["after"]["sharing"] == "shared" and row.actor
    again = twin(layer, tmp_path, "layer", "set", LAYER, "--sharing", "shared")
    assert again.returncode == 0
    with layer.session() as session:
        assert session.scalar(sa.select(sa.func.count()).where(Audit.action == "layer.set")) == 1


def test_what_cannot_be_changed_is_said_in_a_sentence(layer: Database, tmp_path: Path) -> None:  # noqa: F811
    for arguments, message in (
        ((LAYER,), "Say what to change"),
        (("transport.nothing", "--sharing", "open"), "There is no layer"),
        ((LAYER, "--sharing", "everybody"), "everybody"),
        (("nonsense", "--licence", "x"), "is not a layer's name"),
    ):
        done = twin(layer, tmp_path, "layer", "set", *arguments)
        assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_an_officer_hears_that_a_restricted_layer_is_not_on_the_open_map(layer: Database, tmp_path: Path) -> None:  # noqa: F811
    places = tmp_path / "places.csv"
    places.write_text(
        "id,name,kind,longitude,latitude\n1,Chợ,market,106.7,10.77\n2,Chùa,worship,106.71,10.78\n", "utf-8"
    )
    done = twin(layer, tmp_path, "ingest", "publish", str(places), "--layer", "transport.sights", "--theme", "places")
    assert done.returncode in (0, 1), done.stderr
    assert "twin layer set transport.sights --sharing open" in " ".join(done.stderr.split())
    with places.open("a", encoding="utf-8") as file:
        file.write("3,Bảo tàng,sight,106.72,10.79\n")
    again = twin(layer, tmp_path, "ingest", "publish", str(places), "--layer", "transport.sights", lang="vi")
    assert again.returncode in (0, 1), again.stderr
    assert "Hiện chỉ đơn vị của bạn đọc được" in " ".join(again.stderr.split())


def test_a_layer_is_shown_in_vietnamese_with_its_theme_and_the_types_of_its_columns(
    layer: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    publish(layer, lamps(3))
    done = twin(layer, tmp_path, "layer", "show", LAYER, lang="vi")
    assert done.returncode == 0, done.stderr
    entry = catalogue(layer)
    assert entry.current is not None
    assert f"{theme_of(entry).title.vi} (places)" in done.stdout
    types = {column.name: column.type for column in whole_permit(entry, entry.current).columns}
    shown = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    for name, kind in types.items():
        assert TYPES[kind].vi in shown[name], shown[name]
        assert kind not in shown[name].split()

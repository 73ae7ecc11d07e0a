"""The sharing policy: what a principal gets of a layer. Rules about columns, cells and counts belong here alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from twin.access.principals import Action, Principal
from twin.catalogue.catalogue import Column, Layer, split_layer_id
from twin.db.tables import Sharing
from twin.errors import Forbidden, NotFound, Unauthenticated
from twin.text import Text

# The finest resolution of H3.
FINEST_CELL = 15

NEEDS_KEY = Text(
    en="A key is needed for this. Send it as the header “Authorization: Bearer …”.",
    vi="Việc này cần có khóa. Hãy gửi khóa trong tiêu đề “Authorization: Bearer …”.",
)


@dataclass(frozen=True, slots=True)
class Grant:
    """What the policy gives of a layer, whichever version of it is read."""

    hidden_columns: frozenset[str] = frozenset()
    finest_cell: int = FINEST_CELL
    least_count: int = 1

    def columns(self, stored: tuple[Column, ...]) -> tuple[Column, ...]:
        """Return the columns to show out of those that a version stores, in their order."""
        return tuple(c for c in stored if c.name not in self.hidden_columns) if self.hidden_columns else stored


EVERYTHING = Grant()


def grant(principal: Principal, layer: Layer) -> Grant | None:
    """Return what a principal gets of a layer; None if the layer is hidden from the principal."""
    match layer.sharing:
        case Sharing.OPEN:
            return EVERYTHING
        case Sharing.SHARED:
            return EVERYTHING if principal.agency is not None else None
        case Sharing.RESTRICTED:
            return EVERYTHING if principal.agency == layer.agency.name else None


def may_see_history(principal: Principal, layer: Layer) -> bool:
    """Tell whether a principal may know who published a version, from which file: the layer's own agency may."""
    return principal.agency == layer.agency.name


def require_publisher(principal: Principal, layers: Mapping[str, Layer], layer_id: str) -> Layer:
    """Return the layer of that id if the principal may publish into it.

    Another agency's layer is refused by its name alone, so that the answer does not tell whether it exists.

    Raises
    ------
    Unauthenticated, Forbidden, NotFound
        Without a key; with a key of another agency or of a role that does not publish; without such a layer.
    """
    agency, _ = split_layer_id(layer_id)
    if principal.agency is None:
        raise Unauthenticated(NEEDS_KEY)
    if principal.agency != agency:
        raise Forbidden(
            Text(
                en="This key is of “{own}” and cannot publish into a layer of “{other}”.",
                vi="Khóa này thuộc “{own}”, không được công bố vào lớp của “{other}”.",
            ).format(own=principal.agency, other=agency)
        )
    if not principal.may(Action.PUBLISH):
        raise Forbidden(
            Text(
                en="A key of the role “{role}” does not publish. Ask for one that does: twin key new --role publisher",
                vi="Khóa có vai trò “{role}” không được công bố. Hãy xin khóa có quyền công bố: twin key new --role "
                "publisher",
            ).format(role=principal.role.value)
        )
    layer = layers.get(layer_id)
    if layer is None:
        raise NotFound(
            Text(
                en="“{own}” has no layer “{id}” yet. Ask the platform's operator to make it (twin layer new).",
                vi="“{own}” chưa có lớp “{id}”. Hãy nhờ người vận hành tạo lớp (twin layer new).",
            ).format(own=agency, id=layer_id)
        )
    return layer

"""The sagas of this release, by name and version; a running saga finishes on the version it started with."""

from uuid import NAMESPACE_OID, UUID, uuid5

from contracts.message import Event
from sagas.checkout import CHECKOUT
from sagas.definition import Saga
from sagas.errors import MissingDefinition

DEFINITIONS: dict[tuple[str, int], Saga] = {(saga.name, saga.version): saga for saga in (CHECKOUT,)}


def definition(name: str, version: int) -> Saga:
    """The definition; raises `MissingDefinition`."""
    found = DEFINITIONS.get((name, version))
    if found is None:
        raise MissingDefinition(
            f"There are sagas {name!r} of version {version}, which sagas/registry.py does not have. "
            "Put that version back, or let the release that has it finish them."
        )
    return found


def started_by(event: Event) -> Saga | None:
    """The newest definition that this event starts."""
    candidates = [saga for saga in DEFINITIONS.values() if isinstance(event, saga.starts)]
    return max(candidates, key=lambda saga: saga.version, default=None)


def saga_id_of(saga: Saga, event: Event) -> UUID:
    """The id of the one saga that this start message can ever make: it follows from name and unique field."""
    return uuid5(NAMESPACE_OID, f"makegood:{saga.name}:{getattr(event, saga.unique_by)}")

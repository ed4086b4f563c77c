"""The sagas of this release, by name and version; a running saga finishes on the version it started with."""

from collections.abc import Iterable
from uuid import NAMESPACE_OID, UUID, uuid5

from django.conf import settings
from django.utils.module_loading import import_string

from contracts.message import Event
from sagas.definition import Saga
from sagas.errors import InvalidDefinition, MissingDefinition


def _by_version(sagas: Iterable[Saga]) -> dict[tuple[str, int], Saga]:
    found: dict[tuple[str, int], Saga] = {}
    for saga in sagas:
        if (saga.name, saga.version) in found:
            raise InvalidDefinition(saga.name, f"version {saga.version} is in settings.SAGAS twice")
        found[saga.name, saga.version] = saga
    return found


DEFINITIONS: dict[tuple[str, int], Saga] = _by_version(import_string(path) for path in settings.SAGAS)


def definition(name: str, version: int) -> Saga:
    """The definition; raises `MissingDefinition`."""
    found = DEFINITIONS.get((name, version))
    if found is None:
        raise MissingDefinition(
            f"There are sagas {name!r} of version {version}, which settings.SAGAS does not have. "
            "Put that version back, or let the release that has it finish them."
        )
    return found


def newest(name: str) -> Saga:
    """The definition that a saga of this name starts with; raises `MissingDefinition`."""
    versions = [version for known, version in DEFINITIONS if known == name]
    if not versions:
        raise MissingDefinition(f"There is no saga {name!r} in settings.SAGAS.")
    return DEFINITIONS[name, max(versions)]


_NEWEST = tuple(newest(name) for name in sorted({name for name, _ in DEFINITIONS}))


def started_by(event: Event) -> list[Saga]:
    """The newest version of each saga that this event starts."""
    return [saga for saga in _NEWEST if isinstance(event, saga.starts)]


def awaited_by(event: Event) -> set[tuple[str, str]]:
    """Name and business key of the sagas that may wait for this event from outside."""
    return {
        (saga.name, str(getattr(event, saga.unique_by)))
        for saga in DEFINITIONS.values()
        for step in saga.waits()
        if isinstance(event, tuple(kind for kind in (step.done, step.refused) if kind))
    }


def saga_id_of(saga: Saga, event: Event) -> UUID:
    """The id of the one saga that this start message can ever make: it follows from name and unique field."""
    return saga_id(saga.name, str(getattr(event, saga.unique_by)))


def saga_id(name: str, business_key: str, *, generation: int = 1) -> UUID:
    """The id of a saga; each fork is a generation of its own."""
    suffix = f":{generation}" if generation > 1 else ""
    return uuid5(NAMESPACE_OID, f"makegood:{name}:{business_key}{suffix}")

"""System checks: is every definition the one that running sagas began with, and is none of theirs missing?"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.core import checks
from django.db import Error, connections

from sagas.definition import Saga
from sagas.records import DATABASE
from sagas.registry import DEFINITIONS
from sagas.shapes import SHAPES


@checks.register("sagas")
def check_shapes(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """`sagas.E201` for a definition that has changed under its version, `sagas.E202` for one that is not listed."""
    return list(shape_problems(DEFINITIONS.values(), SHAPES))


def shape_problems(
    definitions: Iterable[Saga], listed: Mapping[tuple[str, int], str]
) -> Iterator[checks.CheckMessage]:
    """What is wrong with these definitions, given the shapes that were released."""
    for saga in definitions:
        known = listed.get((saga.name, saga.version))
        if known is None:
            yield checks.Error(
                f"Version {saga.version} of saga {saga.name!r} is not in sagas/shapes.py, so a later change of it "
                "would go unnoticed.",
                hint="List it: manage.py sagas shapes --write",
                obj=saga.name,
                id="sagas.E202",
            )
        elif known != saga.shape:
            yield checks.Error(
                f"Saga {saga.name!r} has another shape ({saga.shape}) than its version {saga.version} was released "
                f"with ({known}): sagas that run on it would find steps, messages or an order that they did not begin "
                "with.",
                hint=f"Keep the table of version {saga.version} as it was in settings.SAGAS, and give the changed one "
                f"version={saga.version + 1}.",
                obj=saga.name,
                id="sagas.E201",
            )


@checks.register("sagas", checks.Tags.database)
def check_running(
    app_configs: Any, databases: Iterable[str] | None = None, **_: Any
) -> list[checks.CheckMessage]:
    """`sagas.E203` for each version that unfinished sagas need and this release does not have."""
    if not databases or DATABASE not in databases:
        return []
    try:
        with connections[DATABASE].cursor() as cursor:
            cursor.execute(
                "SELECT name, version, count(*) FROM sagas_sagarecord WHERE finished_at IS NULL GROUP BY 1, 2"
            )
            running = cursor.fetchall()
    except Error:
        return []  # the tables are not there yet, or the database is away: the processes wait for that by themselves
    return [
        checks.Error(
            f"{number} unfinished sagas {name!r} run on version {version}, which settings.SAGAS does not have.",
            hint="Put that version back beside the new one, or let the release that has it finish them first.",
            obj=name,
            id="sagas.E203",
        )
        for name, version, number in running
        if (name, version) not in DEFINITIONS
    ]

"""System checks: is every definition the one that running sagas began with, and is none of theirs missing?"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.core import checks
from django.db import ProgrammingError, connections

from sagas.definition import Outline, Saga
from sagas.records import DATABASE
from sagas.registry import DEFINITIONS
from sagas.shapes import SHAPES


@checks.register("sagas")
def check_shapes(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """`sagas.E201` for a definition that has changed under its version, `sagas.E202` for one that is not listed."""
    return list(shape_problems(DEFINITIONS.values(), SHAPES))


def shape_problems(
    definitions: Iterable[Saga], listed: Mapping[tuple[str, int], Outline]
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
            continue
        changes = list(changes_of(known, saga.outline))
        if changes:
            yield checks.Error(
                f"Saga {saga.name!r} is not what its version {saga.version} was released as, and sagas are running on "
                f"that: {'; '.join(changes)}.",
                hint=f"Keep the table of version {saga.version} as it was in settings.SAGAS, and put the changed one "
                f"beside it as version={_next_version(saga, listed)}. Only a version that was never released may be "
                "taken out of sagas/shapes.py and listed anew.",
                obj=saga.name,
                id="sagas.E201",
            )


def changes_of(before: Outline, after: Outline) -> Iterator[str]:
    """What has changed between two outlines, a phrase for each change."""
    yield from (f"step {name!r} is gone" for name in before if name not in after)
    yield from (f"step {name!r} is new" for name in after if name not in before)
    common = [name for name in before if name in after]
    if common != [name for name in after if name in before]:
        yield f"its steps were in the order {', '.join(filter(None, common))}"
    for name in common:
        for what in dict.fromkeys((*before[name], *after[name])):
            was, is_now = before[name].get(what, ""), after[name].get(what, "")
            if was != is_now:
                of = f"{what} of step {name!r}" if name else what
                yield f"{of} was {was or 'nothing'} and is {is_now or 'nothing'}"


def _next_version(saga: Saga, listed: Iterable[tuple[str, int]]) -> int:
    return 1 + max(version for name, version in [*listed, (saga.name, saga.version)] if name == saga.name)


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
    except ProgrammingError:
        return []  # before the first `migrate`, which runs this check too, there is no such table
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

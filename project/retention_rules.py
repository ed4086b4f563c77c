"""How long things must at least be kept, so that what is promised about messages stays true."""

from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured

SAFETY = 10
"""So many times longer than the longest that is planned for: queues fill, and people sleep."""
DAY = 86_400.0
MARGIN_DAYS = 1.0
"""By so much longer than keys is kept what stands in for one: the limit is raised now and then, not all the time."""


def refuse_broken_promises(
    *,
    key_retention_days: float,
    waits: Mapping[str, float],
    deletion_grace: float,
    task_time_limit: float,
    kept_longer: Mapping[str, float],
) -> None:
    """Raise `ImproperlyConfigured`, naming both settings, where a retention is too short.

    `waits` are the seconds that a message may take by each setting, until which a copy of it may come;
    `kept_longer` the days that other rows are kept which stand in for a key.
    """
    _refuse_waits(waits, key_retention_days=key_retention_days)
    if deletion_grace < task_time_limit:
        raise ImproperlyConfigured(
            f"KEY_DELETION_GRACE is {deletion_grace:g} s, but by CELERY_TASK_TIME_LIMIT a statement may run for "
            f"{task_time_limit:g} s: keys must not be deleted under it."
        )
    for name, days in kept_longer.items():
        if days < key_retention_days + MARGIN_DAYS:
            raise ImproperlyConfigured(
                f"{name} is {days:g}, but KEY_RETENTION_DAYS is {key_retention_days:g}: these rows must be kept for "
                f"{MARGIN_DAYS:g} day more than keys, or a late copy meets neither."
            )


def refuse_long_retries() -> None:
    """Raise `ImproperlyConfigured` where a handler's own retry policy outlasts the keys. Handlers must be loaded."""
    # The settings import this module, so it cannot import what reads them.
    from django.conf import settings

    from messaging.handling import handlers_of, policy_of

    waits = {
        f"the retry policy of {wire_type} in {service}": policy_of(service, wire_type)
        .total_pauses()
        .total_seconds()
        for service in settings.SERVICES
        for wire_type in handlers_of(service)
    }
    _refuse_waits(waits, key_retention_days=settings.KEY_RETENTION_DAYS)


def _refuse_waits(waits: Mapping[str, float], *, key_retention_days: float) -> None:
    for names, seconds in waits.items():
        if key_retention_days * DAY < SAFETY * seconds:
            raise ImproperlyConfigured(
                f"KEY_RETENTION_DAYS is {key_retention_days:g}, but by {names} a message may take {seconds:g} s, and "
                f"keys must be kept {SAFETY} times as long: at least {SAFETY * seconds / DAY:.3g} days."
            )

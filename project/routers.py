"""Which database each model lives in."""

from typing import Any

from django.conf import settings

from messaging.unit_of_work import current_database

EVERYWHERE = frozenset({"messaging", "eventstore"})
"""Building blocks with tables in every service's database; their rows are always reached by an explicit alias."""

ONLY_IN_DEFAULT = frozenset(
    {
        "admin",
        "auth",
        "contenttypes",
        "sessions",
        "django_celery_results",
        "sagas",
        "operations",
        "deadletters",
    }
)


class ServiceRouter:
    """A service's models live in its own database, the building blocks' in every one."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return self._alias_of(model._meta.app_label)

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return self._alias_of(model._meta.app_label)

    def allow_relation(self, first: Any, second: Any, **hints: Any) -> bool | None:
        return bool(first._meta.app_label == second._meta.app_label) or None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return app_label in apps_of(db)

    @staticmethod
    def _alias_of(app_label: str) -> str | None:
        if app_label in settings.SERVICES:
            return str(settings.SERVICES[app_label])
        if app_label in EVERYWHERE:
            # A process without a service, such as the web, may rehearse any service's handlers.
            database = current_database()
            if database is not None:
                return database
            if settings.SERVICE:
                return str(settings.SERVICES[settings.SERVICE])
        return None


def apps_of(alias: str) -> set[str]:
    """The labels of the applications whose tables are in this database."""
    owned = {service for service, database in settings.SERVICES.items() if database == alias}
    return owned | EVERYWHERE | (ONLY_IN_DEFAULT if alias == "default" else set())

"""The composition root as a Django application: it carries the startup checks."""

import logging

from django.apps import AppConfig

log = logging.getLogger(__name__)


class ProjectConfig(AppConfig):
    name = "project"

    def ready(self) -> None:
        from django.conf import settings

        from messaging import tracing
        from messaging.handling import load_handlers

        load_handlers()
        problem = tracing.set_up(f"makegood-{settings.SERVICE}" if settings.SERVICE else "makegood")
        if problem is not None:
            log.warning("OpenTelemetry is configured and makes no spans: %s", problem)

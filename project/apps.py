"""The composition root as a Django application: it carries the startup checks."""

import logging

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig

log = logging.getLogger(__name__)


class ProjectConfig(AppConfig):
    name = "project"

    def ready(self) -> None:
        from django.conf import settings

        from messaging import tracing
        from messaging.handling import load_handlers
        from project.retention_rules import refuse_long_retries

        load_handlers()
        refuse_long_retries()
        problem = tracing.set_up(f"makegood-{settings.SERVICE}" if settings.SERVICE else "makegood")
        if problem is not None:
            log.warning("OpenTelemetry is configured and makes no spans: %s", problem)


class DeskConfig(AdminConfig):
    """Django's admin, as the operators' desk has it."""

    default_site = "operations.desk_site.DeskSite"

"""The composition root as a Django application: it carries the startup checks."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "project"

    def ready(self) -> None:
        from messaging.handling import load_handlers
        from project.retention_rules import refuse_long_retries

        load_handlers()
        refuse_long_retries()

"""The composition root as a Django application: it carries the startup checks."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "project"

    def ready(self) -> None:
        from messaging.handling import load_handlers

        load_handlers()

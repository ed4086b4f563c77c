"""The Celery application. With SERVICE set it is that service's worker: `SERVICE=billing celery -A project worker`."""

import os
from typing import Any

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

app = Celery("makegood")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Celery closes Django's connections around every task unless this is set (2.8 times slower).
app.conf.update(CELERY_DB_REUSE_MAX=1_000_000_000)


@signals.beat_init.connect(weak=False)
def _tell_beat(sender: Any = None, **_: Any) -> None:
    from messaging.worker_port import tell_beat

    tell_beat(sender)


@signals.import_modules.connect(weak=False)
def _serve(sender: Any = None, **_: Any) -> None:
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    if sender is not app or not settings.SERVICE:
        return
    if settings.SERVICE not in settings.SERVICE_NAMES:
        known = ", ".join(settings.SERVICE_NAMES)
        raise ImproperlyConfigured(f"SERVICE is {settings.SERVICE!r}; it must be one of {known}.")
    from messaging.worker import serve

    serve(app, settings.SERVICE)
    if settings.SERVICE == "operations":
        from operations.jobs import register

        register(app)


@signals.beat_init.connect(weak=False)
def _name_jobs(sender: Any = None, **_: Any) -> None:
    """Beat alone needs the schedule."""
    from operations.jobs import schedule

    sender.scheduler.update_from_dict(schedule())

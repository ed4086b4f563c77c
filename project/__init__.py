"""The composition root: settings, the Celery application, addresses and startup checks."""

from project.celery import app as celery_app

__all__ = ["celery_app"]

"""Django's settings for django-celery-outbox: its own tables, one connection that stays open, no logs."""

import os
from urllib.parse import urlsplit

_url = urlsplit(os.environ["DATABASE_URL"])

SECRET_KEY = "only-for-measuring"  # noqa: S105
INSTALLED_APPS = ["django.contrib.contenttypes", "django_celery_outbox"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path.removeprefix("/"),
        "USER": _url.username,
        "PASSWORD": _url.password,
        "HOST": _url.hostname,
        "PORT": _url.port,
        "CONN_MAX_AGE": None,
    }
}
USE_TZ = True
CELERY_OUTBOX_APP = "benchmarks.peers.outbox_app.app"

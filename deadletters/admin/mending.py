"""Where the mending pages of dead letters are: addresses below those of the letters themselves."""

from typing import Any

from django.contrib.admin import ModelAdmin
from django.urls import URLPattern, path

from deadletters.admin import edits, jobs, log  # noqa: F401  # each registers its tables
from deadletters.admin.acts import act
from deadletters.admin.dry_runs import show_dry_run
from deadletters.admin.edit_page import edit_letter


def mending_urls(letters: "ModelAdmin[Any]") -> list[URLPattern]:
    """To be put before the admin's own addresses, which take whatever comes for a letter's id."""
    view = letters.admin_site.admin_view
    return [
        path("act/<str:kind>/", view(act), name="deadletters_act"),
        path("<uuid:letter_id>/dry-run/", view(show_dry_run), name="deadletters_dry_run"),
        path("<uuid:letter_id>/edit/", view(edit_letter), name="deadletters_edit"),
    ]

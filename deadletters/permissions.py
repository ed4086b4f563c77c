"""The permissions of the desk: the names that are asked for, and those that there are for each type of message."""

from typing import Any

from contracts.catalogue import MESSAGE_TYPES

EDIT = "deadletters.edit_deadletter"
APPROVE = "deadletters.approve_deadletter"
SEE_PERSONAL_DATA = "eventstore.see_personal_data"


def to_edit(wire_type: str) -> str:
    """Who may edit messages of this type has this permission, besides `EDIT`."""
    return f"deadletters.{_codename(wire_type)}"


def create_for_every_type(*, using: str = "default") -> None:
    """Afterwards there is a permission for each message type of this release. Those of former types stay."""
    from django.contrib.auth.models import Permission
    from django.contrib.contenttypes.models import ContentType

    from deadletters.models import DeadLetter

    kind = ContentType.objects.db_manager(using).get_for_model(DeadLetter)
    Permission.objects.using(using).bulk_create(
        [
            Permission(
                content_type=kind,
                codename=_codename(wire_type),
                name=f"Can edit and replay {wire_type}",
            )
            for wire_type in sorted(MESSAGE_TYPES)
        ],
        ignore_conflicts=True,
    )


def create_after_migrating(*, using: str, **_: Any) -> None:
    """A receiver of Django's `post_migrate`: letters and permissions are in `default` alone."""
    if using == "default":
        create_for_every_type(using=using)


def _codename(wire_type: str) -> str:
    """With underscores only: a template's `perms.deadletters.…` cannot ask for a name with dots."""
    return f"edit_{wire_type.replace('.', '_')}"

"""Who stands at the desk: staff with some permissions, or of one of the groups that come with the shop."""

from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client

VIEW = "deadletters.view_deadletter"
REPLAY = "deadletters.replay_deadletter"
DISCARD = "deadletters.discard_deadletter"
EDIT = "deadletters.edit_deadletter"
EDIT_ORDER_PLACED = "deadletters.edit_orders_order_placed_v1"
APPROVE = "deadletters.approve_deadletter"
SEE_PERSONAL_DATA = "eventstore.see_personal_data"
VIEW_JOBS = "deadletters.view_letterjob"
VIEW_EDITS = "deadletters.view_letteredit"
VIEW_LOG = "deadletters.view_deskentry"
LOOKS = (VIEW, VIEW_JOBS, VIEW_EDITS, VIEW_LOG)
"""Somebody who sees all of the desk, and may do nothing."""


def staff(name: str, *permissions: str) -> Client:
    """Somebody of the staff with exactly these permissions, logged in."""
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.add(*map(permission, permissions))
    return logged_in(user)


def of_group(name: str, group: str) -> Client:
    """Somebody of the staff who has what the group has, and no more."""
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return logged_in(user)


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def permission(label: str) -> Permission:
    """Permissions are otherwise made after all migrations; tests run on a template that may not have come so far."""
    app, codename = label.split(".")
    model = codename.rsplit("_", 1)[1]
    if label == SEE_PERSONAL_DATA:
        model = "storedevent"
    elif label == EDIT_ORDER_PLACED:
        model = "deadletter"
    kind = ContentType.objects.get_by_natural_key(app, model)
    found, _ = Permission.objects.get_or_create(
        content_type=kind, codename=codename, defaults={"name": f"Can {codename}"}
    )
    return found

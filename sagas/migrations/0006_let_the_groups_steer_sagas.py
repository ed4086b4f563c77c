"""What the groups that come with the shop may do with sagas."""

from typing import Any

from django.db import migrations

SUPPORT = {
    "pauseswitch": {"view_pauseswitch": "Can view pause switch"},
    "sagarecord": {"steer_sagarecord": "Can pause and resume sagas and have steps sent again"},
}
"""Support looks, and has steps sent again: that has no second effect."""
OPERATORS = {
    "pauseswitch": {"set_pauseswitch": "Can set and lift pause switches"},
    "sagarecord": {
        "mend_sagarecord": "Can skip steps and mark compensations as done by hand",
        "cancel_sagarecord": "Can have sagas undone",
        "fork_sagarecord": "Can run sagas again",
    },
}


def permit(apps: Any, schema_editor: Any) -> None:
    alias = schema_editor.connection.alias
    group = apps.get_model("auth", "Group").objects.using(alias)
    support, operators = (group.get_or_create(name=name)[0] for name in ("Support", "Operators"))
    for_all = _permissions(apps, alias, SUPPORT)
    support.permissions.add(*for_all)
    operators.permissions.add(*for_all, *_permissions(apps, alias, OPERATORS))


def _permissions(apps: Any, alias: str, named: dict[str, dict[str, str]]) -> list[Any]:
    """Permissions are otherwise created after all migrations; here they are named as they will be then."""
    types = apps.get_model("contenttypes", "ContentType").objects.using(alias)
    permissions = apps.get_model("auth", "Permission").objects.using(alias)
    found = []
    for model, codenames in named.items():
        content_type, _ = types.get_or_create(app_label="sagas", model=model)
        for codename, name in codenames.items():
            permission, _ = permissions.get_or_create(
                content_type=content_type, codename=codename, defaults={"name": name}
            )
            found.append(permission)
    return found


class Migration(migrations.Migration):
    dependencies = [
        ("sagas", "0005_find_sagas_by_their_key"),
        ("deadletters", "0003_tally_letters_and_create_operator_groups"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(permit, migrations.RunPython.noop)]

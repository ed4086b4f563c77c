"""What the desk needs of the letters that are there already, and the groups of people who work at it."""

from typing import Any

from django.db import migrations

TALLY = """
INSERT INTO deadletters_lettertally (fingerprint, service, state, hour, letters)
SELECT group_id, service, state, date_trunc('hour', died_at, 'UTC'), count(*)
FROM deadletters_deadletter GROUP BY 1, 2, 3, 4"""
WORDS = """
UPDATE deadletters_deadletter SET words = array_to_tsvector(ARRAY(
    SELECT DISTINCT lower(left(word[1], 64))
    FROM regexp_matches(left(service || ' ' || type || ' ' || split_part(exception, ':', 1), 20000), '[[:alnum:]]+', 'g') AS word))"""
"""Letters of before are found by these alone: what body and exception say to everybody, code decides and not SQL."""

SUPPORT = {
    "deadletters": {
        "deadletter": ("view_deadletter",),
        "letterjob": ("view_letterjob",),
        "letteredit": ("view_letteredit",),
        "deskentry": ("view_deskentry",),
    },
    "orders": {"order": ("view_order",)},
    "sagas": {"sagarecord": ("view_sagarecord",)},
}
"""Support looks, and sends again what is mended."""
MAY_REPLAY = ("replay_deadletter",)
MAY_MEND = ("replay_deadletter", "discard_deadletter")


def create_groups(apps: Any, schema_editor: Any) -> None:
    Group = apps.get_model("auth", "Group")
    support, operators = (
        Group.objects.using(schema_editor.connection.alias).get_or_create(name=name)[0]
        for name in ("Support", "Operators")
    )
    seen = [
        _permission(apps, schema_editor, app_label, model, codename)
        for app_label, models in SUPPORT.items()
        for model, codenames in models.items()
        for codename in codenames
    ]
    support.permissions.add(*seen, *_on_letters(apps, schema_editor, MAY_REPLAY))
    operators.permissions.add(*seen, *_on_letters(apps, schema_editor, MAY_MEND))


def _on_letters(apps: Any, schema_editor: Any, codenames: tuple[str, ...]) -> list[Any]:
    return [_permission(apps, schema_editor, "deadletters", "deadletter", codename) for codename in codenames]


def _permission(apps: Any, schema_editor: Any, app_label: str, model: str, codename: str) -> Any:
    """Permissions are otherwise created after all migrations; here they are named as they will be then."""
    alias = schema_editor.connection.alias
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.using(alias).get_or_create(
        app_label=app_label, model=model
    )
    names = {
        "view_deadletter": "Can view dead letter",
        "replay_deadletter": "Can replay dead letters",
        "discard_deadletter": "Can discard and restore dead letters",
        "view_letterjob": "Can view bulk job",
        "view_letteredit": "Can view edit of a dead letter",
        "view_deskentry": "Can view entry in the operators' log",
        "view_order": "Can view order",
        "view_sagarecord": "Can view saga record",
    }
    permission, _ = apps.get_model("auth", "Permission").objects.using(alias).get_or_create(
        content_type=content_type, codename=codename, defaults={"name": names[codename]}
    )
    return permission


class Migration(migrations.Migration):
    dependencies = [
        ("deadletters", "0002_add_the_desk"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.RunSQL(TALLY, "DELETE FROM deadletters_lettertally"),
        migrations.RunSQL(WORDS, migrations.RunSQL.noop),
        migrations.RunPython(create_groups, migrations.RunPython.noop),
    ]

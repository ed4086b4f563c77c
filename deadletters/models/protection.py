"""Triggers for tables that are history."""

import pgtrigger


def never_changed() -> pgtrigger.Trigger:
    """Rows may be added."""
    return pgtrigger.Protect(name="never_changed", operation=pgtrigger.Update)


def deleted_only_with(parent: str, *, key: str) -> pgtrigger.Trigger:
    """A row stays as long as what it belongs to does; looked at when the transaction commits."""
    return pgtrigger.Trigger(
        name="kept_with_its_parent",
        level=pgtrigger.Row,
        when=pgtrigger.After,
        operation=pgtrigger.Delete,
        timing=pgtrigger.Deferred,
        func=f"""
        IF EXISTS (SELECT FROM {parent} WHERE id = OLD.{key}) THEN
            RAISE EXCEPTION '% goes only with the row of {parent} that it belongs to', TG_TABLE_NAME;
        END IF;
        RETURN NULL;""",
    )


def never_changed_nor_deleted() -> pgtrigger.Trigger:
    """Rows may only be added."""
    return pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)


def never_truncated(table: str) -> pgtrigger.Trigger:
    """The table cannot be emptied as a whole."""
    return pgtrigger.Trigger(
        name="never_truncated",
        level=pgtrigger.Statement,
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        func=f"RAISE EXCEPTION '{table} is only added to: it is never truncated';",
    )

"""Triggers for tables that are history."""

import pgtrigger


def never_changed() -> pgtrigger.Trigger:
    """Rows may be added, and go with what they belong to."""
    return pgtrigger.Protect(name="never_changed", operation=pgtrigger.Update)


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

"""The dead-letter desk in the admin: each page is registered in a module of its own."""

from deadletters import admin_groups, admin_letters

__all__ = ["admin_groups", "admin_letters"]

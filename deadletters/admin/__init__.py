"""The dead-letter desk in the admin: each page is registered in a module of its own."""

from deadletters.admin import groups, letters

__all__ = ["groups", "letters"]

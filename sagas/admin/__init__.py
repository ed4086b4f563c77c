"""The saga desk in the admin: each page is registered in a module of its own."""

from sagas.admin import pages, switch_pages

__all__ = ["pages", "switch_pages"]

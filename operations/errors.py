"""The errors of operations."""


class OperationsError(Exception):
    """Any error of this package."""


class DatabaseMissing(OperationsError):
    """A service's database does not exist and cannot be created from here."""

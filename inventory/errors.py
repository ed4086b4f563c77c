"""The errors of the inventory service."""

from messaging.errors import PermanentError, TransientError


class InventoryError(Exception):
    """Any error of this package."""


class NotReservedYet(InventoryError, TransientError):
    """A confirmed order's reservation is not known here: the news overtook the reservation, so it is tried again."""


class NotSoldYet(InventoryError, TransientError):
    """A refunded order's goods are not sold here: the refund overtook the news of the sale, so it is tried again."""


class NothingToReturn(InventoryError, PermanentError):
    """A refunded order's goods were released, refused or put back already: waiting changes nothing, a person looks."""

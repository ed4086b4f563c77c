"""The errors of the orders service."""


class OrdersError(Exception):
    """Any error of this package."""


class CheckoutKeyReused(OrdersError):
    """The key of a submitted checkout came again with other contents; `fields` names what differs."""

    def __init__(self, fields: list[str]) -> None:
        super().__init__(
            f"This checkout was submitted before with other contents ({', '.join(fields)} differ). "
            "Begin a new checkout for another order."
        )
        self.fields = fields


class InvalidOrder(OrdersError):
    """Something in the order cannot be; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class CannotBeCancelled(OrdersError):
    """The order is in a state in which its customer cannot cancel it; the message is for them."""


class NotBeingCancelled(OrdersError):
    """The end of a cancellation that the order is not in."""


class OrderNotPending(OrdersError):
    """The order is finished already in another way than asked."""

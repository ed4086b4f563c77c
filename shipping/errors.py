"""The errors of the shipping service."""


class ShippingError(Exception):
    """Any error of this package."""


class NoParcel(ShippingError):
    """There is no parcel for what is to be done with it."""

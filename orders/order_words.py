"""What the order page calls the steps of an order, and how it puts the end of a cancelled one."""

from contracts import reasons
from orders.models import OrderStep

_Name = OrderStep.Name

LABELS = {
    _Name.RESERVE: {
        "waiting": "Goods set aside",
        "current": "Setting your goods aside",
        "done": "Goods set aside",
        "refused": "Not enough in stock",
        "undone": "Goods put back on the shelf",
    },
    _Name.AUTHORIZE: {
        "waiting": "Card approved",
        "current": "Asking your bank",
        "done": "Card approved",
        "refused": "Card declined",
        "undone": "Amount on your card released",
    },
    _Name.SHIP: {
        "waiting": "Parcel booked",
        "current": "Booking your parcel",
        "done": "Parcel booked",
        "refused": "Address cannot be reached",
        "undone": "Parcel called back",
    },
    _Name.CAPTURE: {
        "waiting": "Payment taken",
        "current": "Taking the payment",
        "done": "Payment taken",
        "refused": "Payment refused",
        "undone": "Payment given back",
    },
    _Name.RECALL: {
        "waiting": "Parcel stopped",
        "current": "Stopping the parcel",
        "done": "Parcel stopped",
        "refused": "The parcel had left already",
    },
    _Name.REFUND: {
        "waiting": "Money given back",
        "current": "Giving your money back",
        "done": "Money given back",
    },
    _Name.RESTOCK: {
        "waiting": "Goods put back on the shelf",
        "current": "Putting the goods back on the shelf",
        "done": "Goods put back on the shelf",
    },
}
CANCELLATION = (_Name.RECALL, _Name.REFUND, _Name.RESTOCK)
"""The steps of an order that its customer cancels after it was confirmed."""
CHECKOUT = tuple(name for name in _Name if name not in CANCELLATION)

TRY_AGAIN = "You are welcome to order again."

CANCELLED = {
    reasons.OUT_OF_STOCK: (
        "Sorry, this is sold out",
        "There was not enough left of what you ordered, so we cancelled the whole order.",
        "Your card was not charged, and nothing was held on it.",
        "Have a look at the rest of the shop, or try again with fewer pieces.",
    ),
    reasons.CARD_DECLINED: (
        "Your card was declined",
        "Your bank did not approve the payment, so we cancelled the order and put the goods back on the "
        "shelf.",
        "Your card was not charged.",
        "Your bank can tell you why. You are welcome to order again with another card.",
    ),
    reasons.UNDELIVERABLE: (
        "We cannot deliver to this address",
        "Our carrier does not serve this address, so we cancelled the order and put the goods back on the "
        "shelf.",
        "Your card was not charged. The amount held on it has been released; "
        "some banks take a few days to show that.",
        "You are welcome to order again with another address.",
    ),
    reasons.CAPTURE_REFUSED: (
        "The payment was refused",
        "Your bank approved the amount at first but refused to pay it out in the end, so we cancelled the "
        "order and called the parcel back.",
        "Your card was not charged. The amount held on it has been released; "
        "some banks take a few days to show that.",
        "Your bank can tell you why. You are welcome to order again with another card.",
    ),
    reasons.STEP_OVERDUE: (
        "We could not carry out your order in time",
        "Something on our side took too long, so we cancelled the order instead of leaving you waiting. "
        "That was not your fault.",
        "Your card was not charged. If an amount was held on it, it has been released; "
        "some banks take a few days to show that.",
        TRY_AGAIN,
    ),
}
CANCELLED_OTHERWISE = (
    "Your order was cancelled",
    "Something on our side went wrong, so we cancelled the order. That was not your fault.",
    "Your card was not charged. If an amount was held on it, it has been released; "
    "some banks take a few days to show that.",
    TRY_AGAIN,
)

CONFIRMED = (
    "Thank you, your order is confirmed",
    "Everything went well: your parcel is booked and on its way to you soon.",
    "",
)
"""Headline, story and advice. The same of an order that was to be cancelled and stayed confirmed:"""
NOT_CANCELLED = {
    reasons.SHIPMENT_LEFT: (
        "Your order could not be cancelled",
        "The parcel had left already when you asked us, so the order stays confirmed and comes to you.",
        "",
    ),
}
NOT_CANCELLED_OTHERWISE = (
    "Your order was not cancelled",
    "Something on our side went wrong, so the order stays confirmed. That was not your fault.",
    "You may ask for it again.",
)

"""A call to a gateway that is under way."""

from typing import Any

import msgspec

from messaging.breaker import Asking


class Begun(msgspec.Struct, frozen=True):
    """A call that is ours to make: what to ask, our fence, and whether it is a probe."""

    request: dict[str, Any]
    fence: int
    asking: Asking

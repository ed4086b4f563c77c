"""Reading a message whose headers py-amqp cannot read, such as one with a table value of a type that it lacks.

py-amqp raises in the middle of a frame, which ends the connection; the message is delivered again, and whoever
consumes its queue gets nothing else any more.
"""

from typing import Any

from amqp.serialization import PROPERTY_CLASSES, decode_properties_basic
from amqp.spec import Basic

UNDECODABLE = "undecodable"
"""The property under which the raw bytes of unreadable properties and headers are kept."""


def tolerate_any_properties() -> None:
    """From now on, in this process, a message with unreadable properties arrives with `UNDECODABLE` alone."""
    PROPERTY_CLASSES[Basic.CLASS_ID] = _decode


def _decode(buffer: Any, offset: int) -> tuple[dict[str, Any], int]:
    try:
        properties, end = decode_properties_basic(buffer, offset)
    except Exception:  # whatever the bytes make it raise, they are kept and the connection goes on
        return {UNDECODABLE: bytes(buffer[offset:])}, len(buffer)
    return properties, end

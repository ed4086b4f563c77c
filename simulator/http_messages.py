"""Requests and responses, free of WSGI's spelling."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from simulator.errors import RequestRefused

MOST_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Request:
    """One HTTP request with its whole body."""

    method: str
    path: str
    query: Mapping[str, str]
    idempotency_key: str | None
    body: bytes

    @classmethod
    def read(cls, environ: Mapping[str, Any]) -> "Request":
        """Raises `RequestRefused` with 413 for a body above 64 KiB."""
        body = environ["wsgi.input"].read(MOST_BODY_BYTES + 1)
        if len(body) > MOST_BODY_BYTES:
            raise RequestRefused(413, "body_too_large", f"The body is larger than {MOST_BODY_BYTES} bytes.")
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        return cls(
            method=environ["REQUEST_METHOD"],
            path=environ.get("PATH_INFO", "/"),
            query={name: values[-1] for name, values in query.items()},
            idempotency_key=environ.get("HTTP_IDEMPOTENCY_KEY"),
            body=body,
        )

    def required_key(self) -> str:
        """The idempotency key; raises `RequestRefused` where it is missing or unusable."""
        key = self.idempotency_key
        if not key:
            raise RequestRefused(
                400, "idempotency_key_missing", "Send an Idempotency-Key header that names this operation."
            )
        if len(key) > 255 or not (key.isascii() and key.isprintable()):
            raise RequestRefused(
                400,
                "idempotency_key_invalid",
                "The Idempotency-Key must be 1 to 255 printable ASCII characters.",
            )
        return key


@dataclass(frozen=True, kw_only=True)
class Response:
    """A JSON document, or nothing."""

    status_code: int
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def refusal(cls, error: RequestRefused, **headers: str) -> "Response":
        return cls(status_code=error.status, document=error.document(), headers=headers)

    def status_line(self) -> str:
        return f"{self.status_code} {HTTPStatus(self.status_code).phrase}"

    def encoded(self) -> bytes:
        return b"" if self.document is None else json.dumps(self.document, separators=(",", ":")).encode()

    def header_list(self, length: int) -> list[tuple[str, str]]:
        headers = [("Cache-Control", "no-store"), *self.headers.items()]
        if self.document is not None:
            headers.append(("Content-Type", "application/json"))
        if self.status_code != 204:
            headers.append(("Content-Length", str(length)))
        return headers

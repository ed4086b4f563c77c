"""What the gateway answers when a request cannot be carried out."""


class GatewayError(Exception):
    """Any error of this package."""


class InvalidSetting(GatewayError):
    """A variable of the environment is missing or wrong; the process does not start."""


class RequestRefused(GatewayError):
    """A request that changed nothing. It becomes `{"error": {"code", "message", "field"?}}`."""

    def __init__(self, status: int, code: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field

    def document(self) -> dict[str, object]:
        error = {"code": self.code, "message": self.message}
        if self.field is not None:
            error["field"] = self.field
        return {"error": error}


def invalid(field: str, message: str) -> RequestRefused:
    """A field of the body is missing or wrong."""
    return RequestRefused(400, "invalid_field", message, field=field)

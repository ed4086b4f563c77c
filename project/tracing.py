"""The trace that a request came with."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from messaging import tracing

Answer = Callable[[HttpRequest], HttpResponseBase]


def trace_of_request(answer: Answer) -> Answer:
    """A middleware: what a request sends belongs to the trace in its `traceparent` header, if that is a valid one."""

    def answer_within(request: HttpRequest) -> HttpResponseBase:
        with tracing.came_with(request.headers.get("traceparent")):
            return answer(request)

    return answer_within

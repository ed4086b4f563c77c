"""What can keep a measurement from being made."""


class BenchmarkError(Exception):
    """The run cannot go on; the message says what was found and what to do."""

"""What can go wrong in the launcher; each message says what was found, where, and what to do."""


class LauncherError(Exception):
    """Ends the command with its message and `exit_code`, without a traceback."""

    exit_code = 1


class UsageError(LauncherError):
    """The command cannot be carried out as it was asked for."""

    exit_code = 2


class NotPrivate(LauncherError):
    """A server that the launcher did not start was to be stopped, started or killed."""


class Interrupted(LauncherError):
    """Ctrl-C or SIGTERM arrived while something was awaited."""

    exit_code = 0

    def __init__(self) -> None:
        super().__init__("interrupted")

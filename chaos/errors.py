"""What can go wrong in a run of the nemesis, other than what it finds."""

from launcher.errors import LauncherError


class ChaosError(LauncherError):
    """The run itself could not go on; nothing is said about the shop."""


class Stuck(ChaosError):
    """The shop has made no progress for so long that none is to be expected."""

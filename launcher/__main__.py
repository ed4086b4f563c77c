"""The entry point of `python3 -m launcher`. Older Pythons must be able to read this file, to be told so."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "Makegood needs Python 3.11 or later; {} is {}.{}. Name another: make PYTHON=python3.11 up".format(
            sys.executable, *sys.version_info[:2]
        )
    )
if not sys.platform.startswith("linux"):
    sys.exit("The launcher needs Linux (it reads /proc). On other systems run: docker compose up")

from launcher.entry import main  # here, because an older Python could not read it

sys.exit(main(sys.argv[1:]))

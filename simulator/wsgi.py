"""The gateway as gunicorn starts it: `gunicorn simulator.wsgi:application -c simulator/gunicorn.py`."""

import os

from simulator.api import Application
from simulator.settings import Settings

application = Application(Settings.read(os.environ))

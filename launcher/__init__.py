"""Runs Makegood on one machine: its servers, its processes, its tests.

Uses the standard library only, because it runs before the virtualenv exists, and imports neither Django nor
the application. System tests import `launcher.servers`, `launcher.processes` and `launcher.supervisor`, so
that what they stop and kill is what `make up` runs.
"""

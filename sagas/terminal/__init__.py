"""The saga desk from a terminal: what `manage.py sagas` says and does."""

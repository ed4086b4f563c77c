"""The programs that Makegood is compared with. They run in .dev/bench-venv and import nothing of the project."""

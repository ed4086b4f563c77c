"""Who may know whom, and how the modules are called and cut."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
MODULES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts
)
NAMES_THAT_SAY_NOTHING = {"utils", "helpers", "common", "manager", "core"}
MOST_LINES = 400


def test_imports_keep_the_contract():
    program = Path(sys.executable).parent / "lint-imports"

    checked = subprocess.run(
        [program, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_package_is_in_the_contract():
    contract = (ROOT / "pyproject.toml").read_text()

    assert [package for package in PACKAGES if f'"{package}"' not in contract] == []


def test_every_service_says_what_it_reacts_to_and_what_it_can_do():
    for service in ("orders", "inventory", "billing", "shipping", "notifications"):
        for module in ("handlers.py", "services.py", "models.py"):
            assert (ROOT / service / module).is_file(), f"{service}/{module} is missing"


def test_modules_are_named_after_what_they_hold():
    everything = {*MODULES, *(ROOT / "tests").rglob("*.py")}

    assert [path for path in everything if NAMES_THAT_SAY_NOTHING & {path.stem, path.parent.name}] == []


def test_modules_are_short_enough_to_be_read():
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in MODULES}

    assert {str(path): lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_module_uses_celerys_eager_mode():
    eager = "_".join(("task", "always", "eager"))

    for path in [*MODULES, *(ROOT / "tests").rglob("*.py")]:
        assert eager not in path.read_text().lower(), f"{path} hides every fault that messages can have"


def test_psycopg2_is_the_driver_in_use():
    """Django takes psycopg 3 wherever it is installed, and the bookkeeping sends several statements at once."""
    with pytest.raises(ImportError):
        import psycopg  # noqa: F401

    for alias in connections:
        assert connections[alias].Database.__name__ == "psycopg2"


def test_every_service_has_a_database_and_only_its_own_tables_there():
    from django.apps import apps
    from django.db import router

    for service, alias in settings.SERVICES.items():
        assert alias in connections
        assert router.allow_migrate(alias, service)
    for config in apps.get_app_configs():
        if config.label in settings.SERVICES:
            homes = [alias for alias in connections if router.allow_migrate(alias, config.label)]
            assert homes == [settings.SERVICES[config.label]]


def test_no_foreign_key_leaves_its_service():
    from django.apps import apps

    for service in settings.SERVICES:
        for model in apps.get_app_config(service).get_models():
            for field in model._meta.get_fields():
                if field.is_relation and field.related_model is not None:
                    target = field.related_model._meta.app_label
                    assert target == service, f"{model.__name__}.{field.name} points into {target}"

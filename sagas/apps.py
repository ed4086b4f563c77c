from django.apps import AppConfig


class SagasConfig(AppConfig):
    name = "sagas"

    def ready(self) -> None:
        from sagas import gauges, policy_checks, rehearsal, version_checks  # noqa: F401  # importing them registers what they declare

from django.apps import AppConfig


class SagasConfig(AppConfig):
    name = "sagas"

    def ready(self) -> None:
        from sagas import gauges, policy_checks  # noqa: F401  # importing them registers figures and a check

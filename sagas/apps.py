from django.apps import AppConfig


class SagasConfig(AppConfig):
    name = "sagas"

    def ready(self) -> None:
        from sagas import policy_checks  # noqa: F401  # importing it registers the check

from django.apps import AppConfig


class DeadLettersConfig(AppConfig):
    name = "deadletters"
    verbose_name = "dead letters"

    def ready(self) -> None:
        from deadletters import gauges  # noqa: F401  # importing it registers them

from django.apps import AppConfig


class MessagingConfig(AppConfig):
    name = "messaging"
    verbose_name = "messaging"

    def ready(self) -> None:
        from messaging import broker_checks, checks  # noqa: F401  # importing them registers them

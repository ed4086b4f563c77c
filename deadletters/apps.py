from django.apps import AppConfig
from django.db.models.signals import post_migrate


class DeadLettersConfig(AppConfig):
    name = "deadletters"
    verbose_name = "Dead letters"

    def ready(self) -> None:
        from deadletters import gauges  # noqa: F401  # importing it registers them
        from deadletters.permissions import create_after_migrating

        post_migrate.connect(create_after_migrating, sender=self)

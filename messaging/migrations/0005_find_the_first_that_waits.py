from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0004_index_refused_rows_and_open_calls'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='outboxmessage',
            name='outbox_waiting_for_gateway',
        ),
        migrations.AddIndex(
            model_name='outboxmessage',
            index=models.Index(condition=models.Q(('waits_for', ''), _negated=True), fields=['waits_for', 'service', 'available_at'], name='outbox_waiting_by_date'),
        ),
    ]

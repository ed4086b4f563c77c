"""What was said in a saga is kept by the step that said it; until now all fields were in one table.

The records of the messages have all of it. Where a saga stands is told in its own row from now on.
"""

from django.db import migrations

KEEP_WHAT_WAS_SAID_BY_STEP = """
UPDATE sagas_sagarecord AS saga
SET data = coalesce((
    SELECT jsonb_object_agg(step, body) FROM (
        SELECT DISTINCT ON (step) step, body FROM sagas_messagerecord
        WHERE saga_id = saga.id AND direction = 'received' AND type IN (
            'orders.order_placed.v1', 'inventory.stock_reserved.v1', 'billing.payment_authorized.v1',
            'shipping.shipment_booked.v1', 'billing.payment_captured.v1', 'orders.order_confirmed.v1')
        ORDER BY step, id) AS said), '{}'::jsonb)
"""
TELL_WHERE_IT_STANDS = """
UPDATE sagas_sagarecord AS saga
SET current = standing.current, sendings = standing.sendings, needs_a_person = standing.needs_a_person,
    is_overdue = standing.is_overdue, look_at = standing.look_at
FROM (SELECT saga_id, string_agg(name, ' ' ORDER BY position) AS current, max(sendings) AS sendings,
             bool_or(status IN ('held', 'stuck')) AS needs_a_person,
             bool_or(status IN ('sent', 'undoing') AND sendings > 1) AS is_overdue, min(deadline_at) AS look_at
      FROM sagas_steprecord WHERE status IN ('sent', 'undoing', 'held', 'stuck') GROUP BY saga_id) AS standing
WHERE saga.id = standing.saga_id AND saga.finished_at IS NULL
"""


class Migration(migrations.Migration):
    dependencies = [("sagas", "0003_add_the_saga_desk")]

    operations = [
        migrations.RunSQL(KEEP_WHAT_WAS_SAID_BY_STEP, migrations.RunSQL.noop),
        migrations.RunSQL(TELL_WHERE_IT_STANDS, migrations.RunSQL.noop),
    ]

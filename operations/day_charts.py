"""The charts of the last day on the first page."""

from datetime import datetime, timedelta

from operations.charts import Chart, Look, Series, in_digits, lines, nothing, stacked_bars
from operations.figures import OrderFigures

HOURS_ARE = "Hour (UTC)"


def charts(orders: OrderFigures | None, deaths: list[int], *, now: datetime, since: datetime) -> list[Chart]:
    """Orders, how long they took, and dead letters, hour by hour; `deaths` has a number for each hour."""
    hours = [since + timedelta(hours=number) for number in range(len(deaths))]
    return [_orders(orders, hours), _letters(deaths, hours), _times(orders, hours)]


def _orders(figures: OrderFigures | None, hours: list[datetime]) -> Chart:
    key, title = "orders-by-hour", "Orders by the hour in which they were placed"
    if figures is None:
        return nothing(key=key, title=title, sentence="The database of orders does not answer.")
    if not figures.hours:
        return nothing(key=key, title=title, sentence="No order in the last day.")
    by_hour = {found.hour: found for found in figures.hours}
    counted = [figures.counted_since is None or hour >= min(by_hour) for hour in hours]
    looks = {
        "confirmed": Look.GOOD,
        "cancelled": Look.UNDONE,
        "refunded": Look.UNDONE,
        "pending": Look.WAITING,
    }
    series = [
        Series(
            name=status,
            look=kind,
            values=[
                (getattr(by_hour[hour], status) if hour in by_hour else 0) if is_counted else None
                for hour, is_counted in zip(hours, counted, strict=True)
            ],
        )
        for status, kind in looks.items()
    ]
    told = ", ".join(f"{figures.of_the_day(status):,} {status}" for status in looks)
    sentence = f"In the last day: {told}."
    if figures.counted_since:
        sentence = f"Since {figures.counted_since:%H:%M}: {told}. They are too many for the hours before to be counted."
    return stacked_bars(
        key=key, title=title, sentence=sentence, labels=_names(hours), labels_are=HOURS_ARE, series=series
    )


def _times(figures: OrderFigures | None, hours: list[datetime]) -> Chart:
    key, title = "seconds-by-hour", "Seconds from placed to finished"
    if figures is None:
        return nothing(key=key, title=title, sentence="The database of orders does not answer.")
    took = {found.hour: found.took for found in figures.hours if found.took}
    if not took:
        return nothing(key=key, title=title, sentence="No order of the last day is finished.")
    newest = took[max(took)]
    sentence = (
        f"In the hour from {max(took):%H:%M}: half of the orders within {in_digits(newest[0])} s, 95 % "
        f"within {in_digits(newest[1])} s."
    )
    series = [
        Series(name=name, look=look, values=[took[hour][number] if hour in took else None for hour in hours])
        for number, (name, look) in enumerate((("half of them", Look.USUAL), ("95 %", Look.SLOWEST)))
    ]
    return lines(
        key=key,
        title=title,
        sentence=sentence,
        labels=_names(hours),
        labels_are=HOURS_ARE,
        series=series,
        unit="s",
    )


def _letters(deaths: list[int], hours: list[datetime]) -> Chart:
    key, title = "letters-by-hour", "Dead letters by the hour in which they died"
    if not any(deaths):
        return nothing(key=key, title=title, sentence="No dead letter in the last day.")
    return stacked_bars(
        key=key,
        title=title,
        sentence=f"In the last day: {sum(deaths):,}.",
        labels=_names(hours),
        labels_are=HOURS_ARE,
        series=[Series(name="dead letters", look=Look.BAD, values=deaths)],
    )


def _names(hours: list[datetime]) -> list[str]:
    return [f"{hour:%H:%M}" for hour in hours]

"""Small drawings for the admin's pages: SVG in the page itself, with the figures in words for who cannot see it."""

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join

_BAR, _GAP, _HEIGHT = 4, 2, 28


def sparkline(values: Sequence[int], *, label: str) -> str:
    """A bar for each value, oldest first, in proportion to the highest; `label` says of what, such as `deaths by hour`.

    Carries neither style nor script, and takes the colour of the text around it: a strict policy lets it pass, and it
    is as readable in the dark.
    """
    highest = max(values, default=0)
    width = max(len(values) * (_BAR + _GAP) - _GAP, 1)
    told = (
        f"{label}: {', '.join(str(value) for value in values)}; at most {highest}"
        if highest
        else f"{label}: none"
    )
    bars = format_html_join(
        "",
        '<rect x="{}" y="{}" width="{}" height="{}"></rect>',
        (
            (index * (_BAR + _GAP), _HEIGHT - height, _BAR, height)
            for index, height in enumerate(_heights(values, highest))
            if height
        ),
    )
    return format_html(
        '<svg class="sparkline" role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'fill="currentColor" focusable="false"><title>{title}</title><desc>{told}</desc>'
        '<rect class="ground" x="0" y="{ground}" width="{width}" height="1" opacity="0.35"></rect>{bars}</svg>',
        width=width,
        height=_HEIGHT,
        ground=_HEIGHT - 1,
        title=label,
        told=told,
        bars=bars,
    )


def _heights(values: Sequence[int], highest: int) -> list[int]:
    """Whole pixels. What is more than nothing is at least two high; what is less than nothing counts as nothing."""
    return [max(2, round(_HEIGHT * value / highest)) if value > 0 else 0 for value in values]

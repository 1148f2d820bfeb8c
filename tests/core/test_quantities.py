"""Human-readable formats of numbers."""

import math

from mlops_core.quantities import format_change, format_duration, format_number, format_size, short_digest


def test_durations_numbers_and_sizes_are_readable():
    durations = [format_duration(seconds) for seconds in (0.04, 9.94, 9.96, 59.4, 59.6, 185, 3600 * 2 + 240)]
    assert durations == ["0.0 s", "9.9 s", "10 s", "59 s", "1 min 00 s", "3 min 05 s", "2 h 04 min"]
    assert [format_number(value) for value in (None, math.nan, -math.inf, 0.81254, 12, -0.0)] == [
        "-",
        "NaN",
        "-infinity",
        "0.8125",
        "12",
        "0",
    ]
    assert [format_size(size) for size in (7, 2048, 5 << 20, 3 << 30)] == ["7 B", "2.0 KiB", "5.0 MiB", "3.0 GiB"]


def test_changes_have_a_sign_and_digests_are_shortened():
    assert [format_change(change) for change in (0, 0.12345, -2.0)] == ["0", "+0.1235", "-2"]
    assert short_digest("0123456789abcdef") == "0123456789ab"

"""Values with units in the place of plain numbers."""

from __future__ import annotations

import pytest

from inspector.units import in_unit, remedy, shown, unit_of


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("deadline_ms", "ms"),
        ("read_timeout_s", "s"),
        ("max_gb", "gb"),
        ("view-width-mm", "mm"),
        ("speed-mm-s", "mm/s"),
        ("fps", "fps"),
        ("parts-per-s", "1/s"),
        ("policy", None),
        ("s", None),
        ("name_plate", None),
    ],
)
def test_a_name_ends_in_its_unit(name: str, unit: str | None) -> None:
    assert unit_of(name) == unit


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("20cm", "mm", 200.0),
        ("20 CM", "mm", 200.0),
        ("400ms", "s", 0.4),
        (".5s", "ms", 500.0),
        ("18 m/min", "mm/s", 300.0),
        ("2GB", "mb", 2000.0),
        ("30 Hz", "fps", 30.0),
        ("200us", "ms", 0.2),
        ("200\u00b5s", "ms", 0.2),
        ("200\u03bcs", "ms", 0.2),
        ("200\u202f\u00b5s", "ms", 0.2),
        ("200 \u039cS", "ms", 0.2),
        ("200 usec", "ms", 0.2),
        ("0.2 msec", "ms", 0.2),
        ("1 sec", "ms", 1000.0),
        ("50\u03bcm", "mm", 0.05),
        ("50\u00b5m", "mm", 0.05),
        ("400ms", "mm", None),
        ("400", "ms", None),
        ("fast", "ms", None),
        ("3 furlongs", "mm", None),
    ],
)
def test_a_value_is_converted_within_its_kind(text: str, unit: str, value: float | None) -> None:
    found = in_unit(text, unit)
    assert found == value if value is None else found == pytest.approx(value)


def test_the_remedy_names_unit_and_value() -> None:
    assert remedy("view-width-mm", "20cm") == "it counts in mm and takes no unit: 20cm is 200"
    assert remedy("deadline_ms", "soon") == "it counts in ms and takes no unit"
    assert remedy("policy", "20cm") == ""


def test_a_measure_is_never_shown_as_a_power_of_ten() -> None:
    values = (0.10416667, 12.5, 4.0, 0.0, -3.0, 0.000012345, 205_543.21, 1e7)
    assert [shown(value) for value in values] == [
        "0.1042", "12.5", "4", "0", "-3", "0.00001234", "205,543", "10,000,000",
    ]  # fmt: skip

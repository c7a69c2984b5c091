"""Values with units: conversions, ranges, tolerance, and which of several values is the answer.

sh run_tests.sh tests/rewards/test_number.py
"""

import pytest

from bedside.rewards import Completion, number, units


def score(text: str, answer: str, **more) -> float | None:
    return number.score(Completion(text, True), {"answer": answer, **more}, [{"role": "user", "content": "How much?"}])


@pytest.mark.parametrize("text, answer", [
    ("500 mg", "500 mg"), ("0.5 g", "500 mg"), ("500毫克", "500 mg"), ("５００毫克。", "500 mg"), ("500", "500"),
    ("500 mg", "500"),
    ("1,500 mg", "1.5 g"), ("5MG", "5 mg"), ("5 μg", "0.005 mg"), ("5 mcg", "5 µg"), ("1000 IU", "1000单位"),
    ("2 h", "120 min"),
    ("1 week", "7 days"), ("3 years", "36 months"), ("10 mL/min", "10 ml/min"),
    ("90 mL/min/1.73m²", "90 mL/min/1.73 m2"),
    ("1.5×10⁹/L", "1.5e9"), ("1.5 x 10^9", "1500000000"), ("95%", "95%"), ("百分之95", "95%"), ("95 percent", "95%"),
    ("2次/日", "2 次/日"), ("每日2次", "2次/日"), ("每天 2 次", "2 times/day"), ("72 bpm", "72次/分"),
    ("72 beats/min", "72 bpm"),
    ("38.5℃", "38.5 °C"), ("140/90 mmHg", "140/90 mmHg"), ("3-5 days", "3-5 days"), ("3至5天", "3-5 days"),
    ("-5", "-5"),
    ("<5 mmol/L", "<5 mmol/L"), ("37.48", "37.5"), ("10 mg/dL", "100 mg/L"),
    ("The dose is 500 mg every 8 hours for 7 days.", "500 mg"), ("每次0.5克，每日3次", "0.5 g"),
    ("The answer is 500 mg (at most 2000 mg a day).", "500 mg"), ("Answer: 500 mg. Some give 250 mg.", "500 mg"),
    ("10 mg/kg × 50 kg = 500 mg, given for 3 days, max 4 g", "500 mg"), ("答案：0.5克", "500毫克"),
    ("250 mg and 500 mg", "500 mg"), ("not 250 mg but 500 mg", "500 mg"), ("500 mg, not 250 mg", "500 mg"),
    (r"\boxed{500}", "500"),
])  # fmt: skip
def test_the_right_value(text, answer):
    assert score(text, answer) == 1


@pytest.mark.parametrize("text, answer", [
    ("", "500 mg"), ("500", "500 mg"), ("500 mL", "500 mg"), ("500 mg/day", "500 mg"), ("7 mmol/L", "7 mg/dL"),
    ("0.95", "95%"),
    ("95", "95%"), ("250-500 mg", "500 mg"), ("250 to 500 mg", "500 mg"), ("250~500毫克", "500 mg"),
    ("250 mg - 500 mg", "500 mg"),
    ("between 250 and 500 mg", "500 mg"), ("250至500毫克", "500 mg"), ("250 mg or 500 mg", "500 mg"),
    ("250或500毫克", "500 mg"),
    ("500 mg, 1000 mg", "500 mg"), ("more than 500 mg", "500 mg"), ("at least 500 mg", "500 mg"),
    ("不超过500毫克", "500 mg"),
    ("5 mmol/L", "<5 mmol/L"), ("130/80 mmHg", "140/90 mmHg"), ("4 days", "3-5 days"), ("37.4", "37.5"), ("B12", "12"),
    ("1:06", "1"), ("MG", "5 mg"), ("Answer: 250 mg. Some give 500 mg.", "500 mg"),
    ("<think>\n500 mg\n</think>\n\nunknown", "500 mg"),
    ("5 mg", "5 μg"), ("1500", "1,500.5"), ("not 500 mg", "500 mg"),
])  # fmt: skip
def test_another_value(text, answer):
    assert score(text, answer) == 0


@pytest.mark.parametrize("text, more, wanted", [
    ("480 mg", {"tolerance": 0.05}, 1), ("470 mg", {"tolerance": 0.05}, 0), ("500 mg", {"tolerance": 0}, 1),
    ("500 mg", {"tolerance": "wide"}, 1), ("500 mg", {"tolerance": float("nan")}, 1),
    ("1 g", {"aliases": ["1000 mg"]}, 1),
])  # fmt: skip
def test_tolerance_and_other_right_values(text, more, wanted):
    assert score(text, "500 mg", **more) == wanted


def test_the_unit_may_stand_in_its_own_field():
    assert score("500 mg", "500", unit="mg") == score("0.5 g", "500", unit="mg") == 1
    assert score("500", "500", unit="mg") == score("500 g", "500", unit="mg") == 0


def test_another_unit_counts_where_gold_names_it():
    assert score("126 mg/dL", "7.0 mmol/L") == 0
    assert score("126 mg/dL", "7.0 mmol/L", aliases=["126 mg/dL"]) == 1
    assert score("7.0 mmol/L", "7.0 mmol/L", aliases=["126 mg/dL"]) == 1


@pytest.mark.parametrize("answer", ["gout", "CD21", "1:06", "G0", "hepatitis B", "10° above the horizontal plane", ""])
def test_what_is_no_quantity_is_left_to_others(answer):
    assert score("5", answer) is None


@pytest.mark.parametrize("text", ["1" * 5000, "1e999999", "0." + "0" * 5000, "10^" + "9" * 400, "9,999" * 300])
def test_absurd_numbers_are_no_quantities_and_no_crash(text):
    assert score(text, "5 mg") == 0
    assert score("5 mg", text) in (None, 0)


def test_units_are_products():
    assert units.unit_of("mg/dL") == ((("mass", 1), ("volume", -1)), units.Decimal("0.01"))
    assert units.unit_of("次/日")[0] == (("count", 1), ("time", -1))
    assert units.unit_of("furlong") is None

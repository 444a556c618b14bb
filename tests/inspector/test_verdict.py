"""Verdicts in the order of the design, with reasons that an operator can read."""

from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from inspector.types import Defect, Fault, Reason, Verdict, VerdictWord
from inspector.verdict import Rule, class_of, judge, uninspected


def defect(name: str = "scratch", **changes: object) -> Defect:
    fields: dict[str, object] = {
        "class_id": 1,
        "class_name": name,
        "box": (0, 0, 1, 1),
        "area_px": 10,
        "length_px": 8.0,
        "width_px": 2.0,
        "confidence": 0.9,
    }
    return Defect(**(fields | changes))  # type: ignore[arg-type]


def rule(measure: str = "length_px", name: str = "scratch", **limits: object) -> Rule:
    return Rule.model_validate({"class": name, "measure": measure, **limits})


def verdict(
    defects: list[Defect], *rules: Rule, coverage: float = 1.0, fault: Reason | None = None
) -> Verdict:
    return judge(defects, SimpleNamespace(rules=rules, min_coverage=0.9), coverage=coverage, fault=fault)


def test_nothing_found_passes_without_a_reason():
    assert verdict([], rule(reject_above=1)) == Verdict(VerdictWord.PASS)


def test_a_fault_comes_before_everything():
    fault = Reason("engine", "it died")
    assert verdict([defect()], coverage=0.0, fault=fault) == Verdict(VerdictWord.UNINSPECTED, (fault,))
    assert verdict([], fault=fault).word is VerdictWord.UNINSPECTED


@pytest.mark.parametrize("coverage", [0.0, 0.8999, float("nan")])
def test_too_little_seen_is_uninspected_even_with_a_defect(coverage: float):
    said = verdict([defect()], coverage=coverage)
    assert said.word is VerdictWord.UNINSPECTED and said.reasons[0].code == "coverage"
    assert verdict([], coverage=0.9).word is VerdictWord.PASS


def test_a_value_at_its_limit_passes_and_above_it_does_not():
    limits = rule(review_above=4, reject_above=8)
    assert verdict([defect(length_px=4.0)], limits).word is VerdictWord.PASS
    assert verdict([defect(length_px=4.1)], limits).word is VerdictWord.REVIEW
    assert verdict([defect(length_px=8.0)], limits).word is VerdictWord.REVIEW
    assert verdict([defect(length_px=8.1)], limits).word is VerdictWord.REJECT


def test_reject_comes_before_review():
    said = verdict([defect()], rule("area_px", review_above=1), rule("width_px", reject_above=1))
    assert said.word is VerdictWord.REJECT
    assert [reason.code for reason in said.reasons] == ["width"]


def test_a_class_that_no_rule_names_rejects():
    said = verdict([defect("dent"), defect("dent"), defect()], rule(reject_above=100))
    assert said.word is VerdictWord.REJECT
    words = "dent found (2), any dent rejects: no rule sets a limit for it"
    assert [(r.code, r.words) for r in said.reasons] == [("unlisted", words)]


def test_without_rules_every_defect_rejects():
    assert verdict([defect()]).word is VerdictWord.REJECT


@pytest.mark.parametrize(
    ("measure", "limit", "word"),
    [
        ("area_px", 20, "PASS"),
        ("area_px", 19, "REJECT"),
        ("length_px", 7.9, "REJECT"),
        ("width_px", 3, "PASS"),
        ("width_px", 2.5, "REJECT"),
        ("count", 2, "PASS"),
        ("count", 1, "REJECT"),
        ("total_area_px", 30, "PASS"),
        ("total_area_px", 29, "REJECT"),
        ("area_mm2", 0.4, "REJECT"),
        ("total_area_mm2", 0.75, "PASS"),
        ("total_area_mm2", 0.7, "REJECT"),
        ("length_mm", 4, "PASS"),
        ("width_mm", 0.9, "REJECT"),
    ],
)
def test_each_measure(measure: str, limit: float, word: str):
    defects = [
        defect(area_mm2=0.25, length_mm=4.0, width_mm=1.0),
        defect(area_px=20, width_px=3.0, area_mm2=0.5, length_mm=4.0, width_mm=1.0),
    ]
    said = verdict(defects, rule(measure, reject_above=limit))
    assert said.word == word
    if word == "REJECT":
        assert said.reasons[0].code == measure.removesuffix("_px").removesuffix("_mm2").removesuffix("_mm")


def test_words_name_class_value_limit_and_unit():
    defects = [defect(length_mm=7.23456, area_mm2=1.0)]
    said = verdict(defects, rule("length_mm", reject_above=5), rule("total_area_mm2", reject_above=0.5))
    assert [reason.words for reason in said.reasons] == [
        "scratch length 7.235 mm, limit 5 mm",
        "scratch total area 1 mm², limit 0.5 mm²",
    ]
    assert (
        verdict([defect()] * 3, rule("count", reject_above=2)).reasons[0].words == "scratch count 3, limit 2"
    )


@pytest.mark.parametrize(
    ("length", "limit", "words"),
    [
        (1000.4, 1000, "1000.4 px, limit 1000 px"),
        (5.00004, 5, "5.00004 px, limit 5 px"),
        (12345.6, 5000, "12346 px, limit 5000 px"),
        (0.00123456, 0.001, "0.001235 px, limit 0.001 px"),
        (0.3, 0.25, "0.3 px, limit 0.25 px"),
    ],
)
def test_words_show_on_which_side_of_the_limit_a_value_lies(length: float, limit: float, words: str):
    said = verdict([defect(length_px=length)], rule(reject_above=limit))
    assert said.reasons[0].words == f"scratch length {words}"


def test_reasons_stand_in_the_order_of_the_recipe():
    rules = rule("area_px", reject_above=9), rule("length_px", reject_above=1)
    assert [reason.code for reason in verdict([defect()], *rules).reasons] == ["area", "length"]
    assert [reason.code for reason in verdict([defect()], *rules[::-1]).reasons] == ["length", "area"]


def test_a_coverage_just_below_its_limit_shows_that_it_is():
    least = SimpleNamespace(rules=(), min_coverage=1.0)
    words = judge([], least, coverage=0.99999).reasons[0].words
    assert words == "99.999 % of the area inspected, limit 100 %"


def test_a_rule_of_a_zone_looks_only_there():
    rules = rule("count", reject_above=1, zones=("rim",)), rule("count", reject_above=9)
    rim, face = defect(zones=("rim", "face")), defect(zones=("face",))
    assert verdict([rim, face, face], *rules).word is VerdictWord.PASS
    said = verdict([rim, rim], *rules)
    assert said.word is VerdictWord.REJECT
    assert said.reasons[0].words == "scratch count 2 in rim, limit 1"


def test_a_defect_that_no_rule_looks_at_rejects_though_its_class_is_named_elsewhere():
    said = verdict([defect(zones=("face",))], rule("count", reject_above=9, zones=("rim",)))
    words = "scratch found where no rule sets a limit for it, so any rejects"
    assert said.reasons == (Reason("unlisted", words),)


@pytest.mark.parametrize(
    "name",
    [
        "dent", "deep scratch", "class_1", "count 2", "Lunker, groß", "found", "lost and found",
        "pit area 3 mark", "x count 2", "found (2)", "two\nlines",
    ],
)  # fmt: skip
def test_the_class_of_a_reason_can_be_read_back(name: str):
    measures = ("area_px", "length_mm", "width_px", "count", "total_area_mm2")
    rules = [rule(measure, name, reject_above=0.001, zones=("rim",)) for measure in measures]
    inside = defect(name, zones=("rim",), area_mm2=0.25, length_mm=4.0)
    for said in (verdict([inside], *rules), verdict([inside] * 2), verdict([defect(name)], *rules)):
        assert {class_of(reason) for reason in said.reasons} == {name}
    assert (
        class_of(Reason("unlisted", f"{name} found (3), no rule allows it")) == name
    )  # as older ledgers say
    assert class_of(Reason("late", f"{name} found")) is None


def test_millimetres_without_a_scale_are_never_taken_for_small():
    with pytest.raises(ValueError, match="mm_per_px"):
        verdict([defect()], rule("length_mm", reject_above=100))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"reject_above": 1, "review_above": 1},
        {"reject_above": -1},
        {"reject_above": float("nan")},
        {"reject_above": 1, "measure": "length"},
        {"reject_above": 1, "limit": 3},
    ],
)
def test_rules_that_mean_nothing_are_refused(wrong: dict[str, object]):
    with pytest.raises(ValidationError):
        Rule.model_validate({"class": "scratch", "measure": "length_px", **wrong})


def test_uninspected_carries_its_fault():
    assert uninspected(Fault.BLACK, "all dark") == Verdict(
        VerdictWord.UNINSPECTED, (Reason("black", "all dark"),)
    )

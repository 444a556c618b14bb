"""Defects + Recipe -> Verdict, with the reasons that an operator reads.

The order, from the worst to the best: a fault, or too little of the area seen -> UNINSPECTED; a
rule above its reject limit, or a defect that no rule looks at -> REJECT; a rule above its review
limit -> REVIEW; else PASS.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inspector.types import Defect, Fault, Reason, Verdict, VerdictWord

Measure = Literal[
    "area_px", "area_mm2", "length_px", "length_mm", "width_px", "width_mm",
    "count", "total_area_px", "total_area_mm2",
]  # fmt: skip


_KINDS = ("area", "length", "width", "count", "total_area")
_UNLISTED = re.compile(
    r"(?P<name>.+) found(?: \(\d+\))?"
    r"(?:, any (?P=name) rejects: no rule sets a limit for it"
    r"| where no rule sets a limit for it, so any rejects"
    r"|, no rule allows it)",  # as older ledgers say
    re.DOTALL,
)
_ABOVE = r"(?P<name>.+?) {kind} [\d.]+(?: (?:px|mm²?))?(?: in .+)?, limit [\d.]+(?: (?:px|mm²?))?"


class Rule(BaseModel):
    """One limit for one class. A value is above a limit when it is greater; at the limit it passes."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    class_name: str = Field(alias="class", min_length=1)
    measure: Measure
    """What is compared, with its unit. `count` and `total_area` take all defects of the class
    together, the others the worst single one."""
    review_above: float | None = Field(default=None, ge=0)
    reject_above: float | None = Field(default=None, ge=0)
    zones: tuple[str, ...] = ()
    """Only defects with a pixel in one of these; empty: all defects that count."""

    @model_validator(mode="after")
    def _has_limits_in_order(self) -> Rule:
        review, reject = self.review_above, self.reject_above
        if review is None and reject is None:
            raise ValueError("a rule needs reject_above, review_above or both")
        if review is not None and reject is not None and review >= reject:
            raise ValueError("review_above must be below reject_above")
        return self

    @property
    def kind(self) -> str:
        """Reason code: area, length, width, count or total_area."""
        return self.measure.rsplit("_", 1)[0] if self.unit else self.measure

    @property
    def unit(self) -> str:
        """px, mm, mm2, or nothing for a count."""
        return "" if self.measure == "count" else self.measure.rsplit("_", 1)[1]

    def looks_at(self, defect: Defect) -> bool:
        return defect.class_name == self.class_name and (
            not self.zones or not set(self.zones).isdisjoint(defect.zones)
        )


class Limits(Protocol):
    """What a verdict needs of a recipe."""

    @property
    def rules(self) -> Sequence[Rule]: ...
    @property
    def min_coverage(self) -> float: ...


def judge(
    defects: Sequence[Defect], recipe: Limits, *, coverage: float, fault: Reason | None = None
) -> Verdict:
    """The verdict on one frame, with every rule that fired as a reason, in the order of the recipe.

    coverage: inspected share of the included area, 0 to 1; 0 is UNINSPECTED whatever the limit,
    since nothing was looked at. fault: why the frame could not be inspected; nothing else is
    asked then. Raises ValueError when a rule in mm meets a defect without millimetres, which a
    checked recipe cannot do.
    """
    if fault is not None:
        return Verdict(VerdictWord.UNINSPECTED, (fault,))
    # The negation also catches a coverage that is not a number.
    if not (coverage > 0 and coverage >= recipe.min_coverage):
        seen, least = _numbers(100 * coverage, 100 * recipe.min_coverage)
        return uninspected(Fault.COVERAGE, f"{seen} % of the area inspected, limit {least} %")
    reject = [reason for rule in recipe.rules for reason in _above(rule, rule.reject_above, defects)]
    reject += _unlisted(defects, recipe.rules)
    if reject:
        return Verdict(VerdictWord.REJECT, tuple(reject))
    review = [reason for rule in recipe.rules for reason in _above(rule, rule.review_above, defects)]
    if review:
        return Verdict(VerdictWord.REVIEW, tuple(review))
    return Verdict(VerdictWord.PASS)


def uninspected(fault: Fault, words: str) -> Verdict:
    """UNINSPECTED with its one reason."""
    return Verdict(VerdictWord.UNINSPECTED, (Reason(fault.value, words),))


def _above(rule: Rule, limit: float | None, defects: Iterable[Defect]) -> list[Reason]:
    mine = [defect for defect in defects if rule.looks_at(defect)]
    if limit is None or not mine:
        return []
    value = _value(rule, mine)
    if value <= limit:
        return []
    unit = f" {rule.unit.replace('mm2', 'mm²')}".rstrip()
    where = f" in {' or '.join(rule.zones)}" if rule.zones else ""
    what = rule.kind.replace("_", " ")
    shown, most = _numbers(value, limit)
    return [Reason(rule.kind, f"{rule.class_name} {what} {shown}{unit}{where}, limit {most}{unit}")]


def _value(rule: Rule, defects: Sequence[Defect]) -> float:
    if rule.measure == "count":
        return float(len(defects))
    field = rule.measure.removeprefix("total_")
    values = [getattr(defect, field) for defect in defects]
    if None in values:
        raise ValueError(f"{rule.measure} of {rule.class_name} needs mm_per_px")
    return float(sum(values) if rule.kind == "total_area" else max(values))


def _unlisted(defects: Sequence[Defect], rules: Sequence[Rule]) -> list[Reason]:
    """One reason for each class of defects that no rule looks at: what nobody judged must not pass."""
    names: dict[str, int] = {}
    for defect in defects:
        if not any(rule.looks_at(defect) for rule in rules):
            names[defect.class_name] = names.get(defect.class_name, 0) + 1
    in_zones = {rule.class_name for rule in rules}
    return [Reason("unlisted", _unlisted_words(name, n, name in in_zones)) for name, n in names.items()]


def _unlisted_words(name: str, count: int, in_zones: bool) -> str:
    """in_zones: a rule limits this class, but only in zones where these defects do not lie."""
    found = f"{name} found ({count})" if count > 1 else f"{name} found"
    if in_zones:
        return f"{found} where no rule sets a limit for it, so any rejects"
    return f"{found}, any {name} rejects: no rule sets a limit for it"


def class_of(reason: Reason) -> str | None:
    """The class of defects that a reason of `judge` is about; None for a fault.

    Read back out of its words, since a ledger keeps those and nothing else of a reason. A class may
    have any name: what follows it is matched to the end of the words.
    """
    if reason.code == "unlisted":
        found = _UNLISTED.fullmatch(reason.words)
    elif reason.code in _KINDS:
        found = re.fullmatch(_ABOVE.format(kind=reason.code.replace("_", " ")), reason.words, re.DOTALL)
    else:
        return None
    return None if found is None else found["name"]


def _numbers(value: float, limit: float) -> tuple[str, str]:
    """Value and limit in four digits, or in as many as show on which side of the limit the value lies."""
    for digits in range(4, 18):
        texts = _number(value, digits), _number(limit, digits)
        if texts[0] != texts[1]:
            break
    return texts


def _number(value: float, digits: int) -> str:
    """At least so many digits, no power of ten and no idle zeros."""
    if not math.isfinite(value) or value == round(value):
        return f"{value:.0f}"
    before = math.floor(math.log10(abs(value))) + 1
    text = f"{value:.{max(0, digits - before)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

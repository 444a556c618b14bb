"""The page: complete, without a network, and with the figures that the JSON has."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from trainer.dataset import Dataset, Sample, load_dataset
from trainer.evaluate import Reading, evaluate
from trainer.metrics.frames import FrameList
from trainer.metrics.result import ASKED, EvaluationResult
from trainer.report.chart import Axis, Series, chart, strip
from trainer.report.html import matrix
from trainer.report.identity import Identity, _told_apart
from trainer.report.notices import notices
from trainer.report.overlays import overlay
from trainer.report.page import page
from trainer.report.sections import curves, instances, topology
from trainer.report.style import INVENTED, MISSED
from trainer.report.text import _small, table
from trainer.report.trade import trade
from trainer.report.words import COUNTED, INTERVALS, edge

ABOUT = Identity(
    "tiles <1>",
    {"package id": "ab" * 32},
    {"folders": "tiles", "split": "test", "frames": "4 frames of 2 parts"},
    {"date (UTC)": "2026-01-02 03:04", "torch": "2.13.0"},
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Four frames of two parts: a pit and a scratch on each but the last, which is clean."""
    folder = tmp_path_factory.mktemp("data")
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for n in range(4):
        mask = np.zeros((60, 80), np.uint8)
        if n < 3:
            mask[10:20, 10:20], mask[40:42, 10 + n : 60] = 1, 2
        cv2.imwrite(str(folder / "images" / f"f{n}.png"), np.full(mask.shape, 100 + n, np.uint8))
        cv2.imwrite(str(folder / "masks" / f"f{n}.png"), mask)
    (folder / "classes.json").write_text('{"1": "pit", "2": "scratch"}')
    (folder / "parts.json").write_text(json.dumps({f"f{n}": f"p{n // 2}" for n in range(4)}))
    return load_dataset([folder])


@pytest.fixture(scope="module")
def result(dataset: Dataset) -> EvaluationResult:
    """A model that sees all pits, the scratch of frame 0 alone, and a dot on the clean frame 3."""

    def knows(image: np.ndarray) -> np.ndarray:
        n = int(image[0, 0]) - 100
        probs = np.zeros((*image.shape, 2), np.uint8)
        if n < 3:
            probs[10:20, 10:20, 0] = 250
        if n == 0:
            probs[40:42, 10:60, 1] = 200
        if n == 3:
            probs[50:53, 70:73, 1] = 180
        return probs

    return evaluate(dataset.samples, knows, Reading(dataset.classes, (0.5, 0.5)), halo=20, also=ASKED)


@pytest.fixture(scope="module")
def figures(result: EvaluationResult) -> dict[str, object]:
    curves = result.figures["defect_curves"]
    found = result.json()
    escape = curves.escapes.json(0.01, (0.5, 0.5), found["per_defect"])  # type: ignore[attr-defined]
    return {"split": "test", "average": None, **found, "escape": escape}


@pytest.fixture(scope="module")
def html(result: EvaluationResult, figures: dict[str, object]) -> str:
    frames = result.figures["frames"]
    assert isinstance(frames, FrameList)
    return page(figures, ABOUT, frames, result.classes)


class Reader(HTMLParser):
    """Collects what a browser would fetch, and that every element is closed."""

    VOID = ("meta", "img", "br", "line", "rect", "circle", "polyline", "polygon", "path")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"{tag} closes what is not open"


def test_the_page_is_whole_and_needs_no_network(html: str) -> None:
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert reader.fetched and all(uri.startswith("data:image/") for uri in reader.fetched)
    assert "<script" not in html and "http" not in html and "@import" not in html and "url(" not in html


def test_every_section_is_there_with_its_figures(html: str) -> None:
    text = re.sub(r"<[^>]+>", " ", html)
    for words in (
        "Evaluation of tiles &lt;1&gt;", "4 of 6", "Recall by width", "Escapes against false alarms",
        "from 0.031 to 0.996", "381 defects", "Precision and recall", "Which class is taken for which",
        "Instances", "SEG", "Warping error", "Worst frames", "Best frames", "ab" * 32,
        "2026-01-02 03:04", "2.13.0",
    ):  # fmt: skip
        assert words in text, words
    assert "nan" not in text.lower().replace("nano", "") and "inf " not in text


def test_every_rate_of_one_stands_beside_an_interval(html: str) -> None:
    """A row with 1.000, or 100 %, has an interval that ends there and begins elsewhere."""
    whole = 0
    for row in re.findall(r"<tr.*?</tr>", html):
        if "<td>1.000</td>" in row:
            assert re.search(r"0\.\d+ to 1\.000", row), row
        if re.search(r"<td>100\.0 %", row):
            assert re.search(r"\b\d\d?\.\d( to |-)100\.0", row), row
            whole += 1
    assert whole > 3
    assert "100.0 %</b>" not in html


def test_notices_say_what_to_know_before_quoting(figures: dict[str, object]) -> None:
    usual = " ".join(notices(figures))
    assert "2 parts" in usual and "remembers" not in usual and "averaged" not in usual
    hopeless = " ".join(notices({**figures, "miou_defects": 0.04}))
    assert "hardly meets a defect (IoU 0.040 on these frames); its verdicts mean nothing" in hopeless
    odd = " ".join(notices({**figures, "split": "all", "average": "rotations", "parts": 40}))
    assert "remembers" in odd and "The line does not run" in odd and "parts" not in odd
    assert "has not ended" not in usual
    assert "The run has not ended" in " ".join(notices({**figures, "ended": False}))
    none = {"classes": {"pit": {"total": 0}, "scratch": {"total": 3}}}
    assert "hardly meets" not in usual and "marks no pixel" not in usual
    silent = json.loads(json.dumps(figures))
    silent["per_class"]["scratch"]["predicted_px"] = 0
    assert "This network marks no pixel as scratch, though these" in " ".join(notices(silent))
    silent["per_defect"]["classes"]["scratch"]["total"] = 0
    assert "marks no pixel" not in " ".join(notices(silent)), "none is shown either"
    assert "pit: nothing is known" in " ".join(notices({**figures, "per_defect": none}))


def test_worst_and_best_frames(result: EvaluationResult) -> None:
    frames = result.figures["frames"]
    assert isinstance(frames, FrameList)
    assert [f.sample.stem for f in frames.worst(2)] in (["f1", "f2"], ["f2", "f1"])
    assert [f.sample.stem for f in frames.worst(9)][-1] == "f3", "a false alarm is less than a miss"
    assert frames.best(2)[0].sample.stem == "f0"
    rows = {row["stem"]: row for row in frames.json()["frame_list"]}
    assert (rows["f1"]["found"], rows["f1"]["total"], rows["f3"]["false_alarms"]) == (1, 2, 1)


def picture(uri: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(uri.split(",", 1)[1]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[n : n + 2], 16) for n in (5, 3, 1)])


def test_an_overlay_boxes_what_was_missed_and_what_was_invented(result: EvaluationResult) -> None:
    frames = {f.sample.stem: f for f in result.figures["frames"].frames}  # type: ignore[attr-defined]
    missed, plain = (picture(uri) for uri in (overlay(frames["f1"], result.classes).marked,
                                              overlay(frames["f1"], result.classes).plain))  # fmt: skip
    assert (plain == 101).all()
    assert (missed[36, 11:60] == rgb(MISSED)).all(), "the upper side of the scratch's box"
    assert not (missed == rgb(INVENTED)).all(axis=2).any()
    assert (missed[6, 8:22] == 101).all(), "the pit was found and has no box"
    invented = picture(overlay(frames["f3"], result.classes).marked)
    assert (invented[46, 68:74] == rgb(INVENTED)).all()


def test_the_confusion_matrix_never_rounds_to_all_or_nothing() -> None:
    drawn = matrix({"classes": ["background", "pit"], "px": [[999_999, 1], [0, 10]]})
    assert "&gt; 99.9 %" in drawn and "&lt; 0.1 %" in drawn
    assert drawn.count("100.0 %") == 1 and "999,999 px" in drawn
    assert "–" in matrix({"classes": ["background", "pit"], "px": [[1, 0], [0, 0]]})


def test_axes_place_values_and_choose_round_ticks() -> None:
    share = Axis("y", 0.0, 0.3)
    assert share.place(0.15) == pytest.approx(0.5) and share.place(9) == 1.0
    assert [words for _, words in share.ticks()][:3] == ["0", "0.1", "0.2"]
    decades = Axis("x", 0.01, 10.0, log=True)
    assert decades.place(0.1) == pytest.approx(1 / 3) and decades.place(0.0) == 0.0
    assert [words for _, words in decades.ticks()] == ["0.01", "0.1", "1", "10"]


def test_a_chart_draws_its_curve_where_the_axes_say() -> None:
    line = Series("<a>", "#123456", ((0.0, 0.0), (1.0, 1.0)), ((0.0, 0.1), (0.9, 1.0)), whiskers=True)
    drawn = chart([line], Axis("x & y", 0, 1), Axis("y", 0, 1), 'alt "words"')
    assert 'points="58.0,284.0 466.0,12.0"' in drawn
    assert "x &amp; y" in drawn and "alt &quot;words&quot;" in drawn
    assert strip(None, None) == "" and "rect" not in strip(0.5, [None, None])


def test_the_terminal_says_the_same(figures: dict[str, object]) -> None:
    lines = table(figures)
    assert "4 frames of 2 parts" in lines and "381 defects" in lines
    assert re.search(r"scratch +1 of 3 +33\.3 % \(", lines)
    assert re.search(r"pit +3 of 3 +100\.0 % \(\d\d\.\d-100\.0\)", lines), "never a bare 100 %"
    assert "<- keeps 1 %" in lines and "1 % out of reach" in lines and "SEG (mean overlap" in lines
    assert re.search(r"scratch +up to 2 px +1 of 3", lines)
    assert "only 2 parts" in lines, "what the page says before its figures"
    assert "\n  1 added hole, 2 lost holes\n" in lines and "4 of 6 instances matched" in lines


def test_the_regions_that_the_line_counts_stand_beside_instances_that_are_told_apart(
    figures: dict[str, object], html: str
) -> None:
    regions = {**json.loads(json.dumps(figures["instances"])), "ap50": 0.25, "ap50_95": [0.1, 0.5]}
    regions |= {"matched": 3, "true": 6}
    lines = table({**figures, "regions": regions})
    after = lines[lines.index("Regions as the line counts them") :]
    assert "AP50 0.250 (0.100-0.500)" in after and "3 of 6 instances matched" in after
    section = instances({**figures, "regions": regions})
    assert "which is what the line counts" in section and "0.250" in section
    assert section.count("<table") == 2 and instances(figures).count("<table") == 1
    assert "which is what the line counts" not in html


def test_how_instances_are_told_apart_stands_with_the_model() -> None:
    kept = {"cell": {"speck_px": 21, "necks": True}, "pit": {"threshold": 0.5}}
    assert _told_apart(("cell", "pit"), {"validation": {"classes": kept}}) == {
        "instances of cell": "regions parted at necks, specks below 21 px left out"
    }


def test_the_terminal_fits_its_width_and_leaves_no_empty_brackets(figures: dict[str, object]) -> None:
    """Of one part alone nothing has an interval but what was counted in trials."""
    alone = json.loads(json.dumps({**figures, "parts": 1, "frames": 1}))
    for row in alone["per_class"].values():
        row |= {f"{name}_95": [None, None] for name in ("iou", "dice", "precision", "recall")}
        row["precision"] = None
    alone |= {"miou_95": None, "pixel_error_95": [None, None]}
    lines = table(alone)
    assert "()" not in lines and "(–)" not in lines and "None" not in lines and "nan" not in lines
    assert "Mean IoU of the defect classes 0." in lines and "The frames show one part alone" in lines
    tabled = [line for line in table(figures).splitlines() if "(" in line and "  " in line.strip()]
    assert len(tabled) > 10 and max(map(len, tabled)) <= 100


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (0.024107, (0.018408, 0.029851), "0.024 (0.018-0.030)"),
        (0.016213, (0.00612, 0.02831), "0.016 (0.006-0.028)"),
        (0.000353, None, "0.000353"),
        (0.5, (0.25, None), "0.500 (0.250-more)"),
        (0.0, (0.0, 0.39), "0.00 (0.00-0.39)"),
        (None, (0.1, 0.2), "–"),
    ],
)
def test_small_shares_keep_the_digits_that_their_interval_bears(
    value: float | None, bounds: tuple[float, float] | None, words: str
) -> None:
    assert _small(value, bounds) == words


def test_the_sample_of_a_frame_is_read_again_for_its_picture(result: EvaluationResult) -> None:
    frame = result.figures["frames"].frames[0]  # type: ignore[attr-defined]
    assert isinstance(frame.sample, Sample) and frame.predicted.shape == (60, 80)
    assert Path(frame.sample.image_path).exists()


def test_touching_instances_that_were_not_parted_show_a_line(tmp_path: Path) -> None:
    for kind in ("images", "masks", "instances"):
        (tmp_path / kind).mkdir()
    ids = np.zeros((40, 40), np.uint16)
    ids[10:30, 5:25], ids[10:30, 25:35] = 1, 2
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.full(ids.shape, 100, np.uint8))
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), (ids > 0).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "instances" / "a.png"), ids)
    data = load_dataset([tmp_path])

    def marked(mask: np.ndarray) -> np.ndarray:
        def says(image: np.ndarray) -> np.ndarray:
            return (255 * mask).astype(np.uint8)[..., None]

        found = evaluate(data.samples, says, Reading(data.classes, (0.5,)), halo=20, also=["frames"])
        (frame,) = found.figures["frames"].frames  # type: ignore[attr-defined]
        return picture(overlay(frame, data.classes).marked)

    joined, parted = marked(ids > 0), marked((ids > 0) & (np.arange(40) != 24))
    blend = (0.45 * 100 + 0.55 * rgb(INVENTED)).astype(np.uint8)
    assert (joined[12:28, 24] == blend).all(), "the larger one would have given the ridge"
    assert (parted[12:28, 24] == 100).all()


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_where_the_model_serves_stands_in_the_tables_and_on_the_charts(
    html: str, figures: dict[str, object]
) -> None:
    section = html[html.index("Escapes against") : html.index("<h2>Pixels")]
    assert section.count(">serves</text>") == 3, "pit, scratch and all classes"
    assert "serves at 0.500 3 of 3 0.0 %" in plain(section)
    assert "pit: keeps the target as it serves, and no threshold tried does better" in plain(section)
    assert "all classes: misses more than the target" in plain(section)
    lines = table(figures)
    assert re.search(r"serves 0\.500 +3 of 3 +0\.0 % .* <- keeps 1 %", lines)
    assert re.search(r"all classes:\n.*\nserves +4 of 6 +33\.3 %", lines)


def test_a_class_that_is_found_nowhere_has_no_chart_and_is_said(figures: dict[str, object]) -> None:
    """Its highest threshold was named as the one that misses fewest."""
    blind = json.loads(json.dumps(figures))
    row = blind["escape"]["classes"]["scratch"]
    row |= {"at_target": None, "advice": None}
    row["served"]["found"] = 0
    said = "scratch: finds none of this class at any threshold tried, 0.031 to 0.996 (0 of 3)."
    drawn = trade(blind)
    assert said in table(blind) and said in plain(drawn)
    assert drawn.count("<figure>") == 2 and "every threshold of scratch" not in drawn


def test_a_pixel_curve_that_reaches_nothing_is_neither_drawn_nor_in_the_key(
    figures: dict[str, object],
) -> None:
    blind = json.loads(json.dumps(figures))
    for kind in (blind["pixel_curves"]["scratch"]["points"], blind["defect_curves"]["scratch"]):
        for point in kind:
            point |= {"recall": 0.0, "precision": 0.0}
    assert curves(figures).count("</i>scratch") == 2 and "No curve" not in curves(figures)
    drawn = curves(blind)
    assert "</i>scratch" not in drawn and drawn.count("</i>pit") == 2
    assert drawn.count("No curve: nothing of scratch") == 2


def test_good_frames_that_are_marked_and_bad_ones_that_are_not(html: str, figures: dict[str, object]) -> None:
    """Frame 3 is clean and has a dot; of its part, frame 2 shows defects."""
    marked = figures["marked"]
    assert isinstance(marked, dict)
    good, bad = marked["frames"]["good"], marked["frames"]["bad"]
    assert (good["marked"], good["total"], bad["unmarked"], bad["total"]) == (1, 1, 0, 3)
    assert marked["parts"]["good"]["total"] == 0 and marked["parts"]["bad"]["total"] == 2
    assert re.search(r"good frames +marked +1 of 1 +100\.0 % \(\d", table(figures))
    assert re.search(r"bad parts +nothing marked +0 of 2 +0\.0 % \(0", table(figures))
    assert "good frames marked 1 of 1 100.0 %" in plain(html) and "line.toml" in plain(html)


def test_each_table_says_what_found_and_a_false_alarm_mean(html: str, figures: dict[str, object]) -> None:
    lines = table(figures).split("\n\n")
    for head in ("Defects  ", "Defects by width", "What it would cost"):
        (block,) = [b for b in lines if b.startswith(head)]
        assert COUNTED in block, head
    for start, end in (("<h2>Defects", "<h2>Good"), ("<h2>Recall by", "<h2>Esc"), ("<h2>Esc", "<h2>Pixels")):
        assert COUNTED in html[html.index(start) : html.index(end)], start
    assert INTERVALS in html and INTERVALS in table(figures)


def test_figures_near_the_edge_stand_beside_those_of_the_same_classes(figures: dict[str, object]) -> None:
    """0.499 at the edge beside 0.194 everywhere: most classes did not occur at the edge."""
    classes = {"background": {"iou": 0.99}, "pit": {"iou": 0.8}, "scratch": {"iou": 0.1}}
    near = {"px": 20, "iou": {"background": 0.9, "pit": 0.6, "scratch": None}}
    said = edge({"border": near, "per_class": classes})
    assert said == (
        "Within 20 px of the frame's edge the mean IoU of pit is 0.600; on whole frames it is 0.800."
    )
    near["iou"] = {"background": 0.9, "pit": None}
    assert edge({"border": near, "per_class": classes}) == ""


def test_the_mean_of_the_defect_classes_stands_before_that_with_the_background(
    html: str, figures: dict[str, object]
) -> None:
    iou = {name: row["iou"] for name, row in figures["per_class"].items()}  # type: ignore[attr-defined]
    assert figures["miou_defects"] == pytest.approx((iou["pit"] + iou["scratch"]) / 2)
    both = f"{figures['miou_defects']:.3f}", f"{figures['miou']:.3f}"
    assert both[0] != both[1]
    for text in (table(figures), plain(html)):
        assert re.search(rf"{both[0]}.*with the background {both[1]}", text)


def test_one_error_is_a_sentence_and_no_digit_is_more_than_its_interval_bears() -> None:
    said = topology({"pixel_error": 0.016213, "pixel_error_95": [0.006, 0.028]})
    assert said == "<p>Pixel error (share of pixels with the wrong class): 0.016 (95 %: 0.006 to 0.028).</p>"
    both = {"rand_error": 0.1, "rand_error_95": [0.05, 0.2]}
    assert "<table>" in topology({"pixel_error": 0.016213, "pixel_error_95": [0.006, 0.028], **both})

"""`inspector flag` and `inspector export` over a real ledger, while the line lives and after it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import pytest
from small_line import SmallLine

from inspector.cli.main import inspector
from inspector.db import queries
from inspector.errors import InspectionError, LedgerError, UsageError
from inspector.flagged import export_flagged, flag_frame


def command(*arguments: object) -> Any:
    """The command's own return value; known errors come through."""
    return inspector.main([str(a) for a in arguments], prog_name="inspector", standalone_mode=False)


def test_a_flag_from_a_shell_keeps_the_frame_of_a_living_line(
    line: SmallLine, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = line.judge("PASS")
    line.judge("REJECT")
    given = ("flag", "--db", line.url, "--operator", "mia", "--note", "a dent")
    assert command(*given, "--frame", 1, "--kind", "missed") == 0
    assert "its picture is kept" in capsys.readouterr().out
    assert command(*given, "--frame", 2, "--kind", "false-reject") == 0
    assert "is flagged as false-reject" in capsys.readouterr().out
    assert command("report", "--db", line.url) == 0  # it said false_reject, which the option refuses
    assert "Flags: 1 false-reject, 1 missed\n" in capsys.readouterr().out
    flags = queries.flags(line.ledger)
    assert [(f.frame_number, f.kind, f.operator, f.note) for f in flags] == [
        (1, "missed", "mia", "a dent"), (2, "false_reject", "mia", "a dent"),
    ]  # fmt: skip
    row = queries.inspection(line.ledger, line.run_id, 1)
    assert row is not None and row.image_path is not None
    assert np.array_equal(cv2.imread(str(row.image_path)), shown.frame.image)  # type: ignore[arg-type]


def test_a_frame_that_is_gone_is_said_to_be_gone(
    line: SmallLine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line.judge("PASS")
    line.recorder.close()
    assert command("flag", "--db", line.url, "--frame", 1, "--kind", "missed") == 1
    assert "picture is gone" in capsys.readouterr().err
    with pytest.raises(LedgerError, match=r"Frame 1 of run \w+ is not exported: its picture was not kept"):
        export_flagged(line.ledger, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frame", "9", "--kind", "missed"], "no frame 9; it has frames 1 to 2"),
        (["--frame", "1", "--kind", "missed", "--run", "01NO"], "01NO"),
        (["--frame", "99999999999999999999", "--kind", "missed"], "is not in the range"),
    ],
)
def test_what_is_not_there_cannot_be_flagged(line: SmallLine, arguments: list[str], words: str) -> None:
    line.judge("PASS")
    line.judge("PASS")
    with pytest.raises((UsageError, click.BadParameter), match=words):
        command("flag", "--db", line.url, *arguments)


def test_the_export_is_a_dataset_with_provenance(
    line: SmallLine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rejected, passed = line.judge("REJECT"), line.judge("PASS")
    line.judge("REJECT")
    for number, kind in ((1, "false_reject"), (2, "missed"), (1, "unsure")):
        flag_frame(line.ledger, line.run_id, number, operator="mia", kind=kind, note=f"note {kind}")
    line.recorder.close()
    out = tmp_path / "doubts"
    assert command("export", "--flagged", out, "--db", line.url, "--json") == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    stems = [f"{line.run_id}_{number:08d}" for number in (1, 2)]
    assert said == {"out": str(out), "frames": stems, "missing": []}
    for stem, inspection in zip(stems, (rejected, passed), strict=True):
        image = cv2.imread(str(out / "images" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
        mask = cv2.imread(str(out / "masks" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(image, inspection.frame.image) and np.array_equal(mask, inspection.mask)  # type: ignore[arg-type]
        told = json.loads((out / "provenance.json").read_text())["frames"][stem]
        drawn = (out / "masks" / f"{stem}.png").read_bytes()
        assert told["mask_sha256"] == hashlib.sha256(drawn).hexdigest()
        preview = cv2.imread(str(out / "previews" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
        assert preview.shape == (120, 160, 3)
        assert (preview == (0, 0, 255)).all(2).any() == bool((inspection.mask == 1).any())
    assert "1 = scratch, 2 = pit" in (out / "README.txt").read_text()
    assert json.loads((out / "classes.json").read_text()) == {"1": "scratch", "2": "pit"}
    assert set(json.loads((out / "parts.json").read_text())) == set(stems)
    told = json.loads((out / "provenance.json").read_text())["frames"][stems[0]]
    run = queries.run(line.ledger, line.run_id)
    assert run is not None
    assert (told["run"], told["frame"], told["verdict"]) == (line.run_id, 1, "REJECT")
    assert (told["package"], told["recipe"]) == (run.package_id, run.recipe_hash)
    assert [(f["kind"], f["operator"], f["note"]) for f in told["flags"]] == [
        ("false_reject", "mia", "note false_reject"), ("unsure", "mia", "note unsure"),
    ]  # fmt: skip


def test_the_trainer_loads_the_export_as_it_is(line: SmallLine, tmp_path: Path) -> None:
    dataset = pytest.importorskip("trainer.dataset", reason="needs the trainer's packages")
    line.judge("REJECT")
    flag_frame(line.ledger, line.run_id, 1, operator="mia", kind="unsure")
    export_flagged(line.ledger, tmp_path / "doubts")
    (sample,) = dataset.load_dataset([tmp_path / "doubts"]).split("train")
    assert sample.image().shape == (120, 160, 3) and set(np.unique(sample.mask())) == {0, 1}


def test_masks_that_nobody_corrected_are_named_before_they_are_trained_in(
    line: SmallLine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = pytest.importorskip("trainer.fit", reason="needs the trainer's packages")
    for _ in range(3):
        line.judge("REJECT")
    for number, kind in ((1, "false_reject"), (2, "unsure"), (3, "false_reject")):
        flag_frame(line.ledger, line.run_id, number, operator="mia", kind=kind)
    doubts = tmp_path / "doubts"
    stems = export_flagged(line.ledger, doubts).stems
    mask = doubts / "masks" / f"{stems[2]}.png"
    cv2.imwrite(str(mask), cv2.imread(str(mask), cv2.IMREAD_UNCHANGED) * 2)
    settings = {"base": 4, "depth": 3, "steps": 1}
    trainer.prepare(trainer.Request((doubts,), tmp_path / "run1", settings=settings))
    assert (
        f"2 of 3 masks in {doubts} are as the model drew them; correct them first, or the mistake is"
        f" trained in: {stems[0]}.png, {stems[1]}.png." in caplog.text
    )
    assert stems[2] not in caplog.text
    caplog.clear()
    for stem in stems[:2]:
        cv2.imwrite(str(doubts / "masks" / f"{stem}.png"), np.zeros((120, 160), np.uint8))
    trainer.prepare(trainer.Request((doubts,), tmp_path / "run2", settings=settings))
    assert "as the model drew" not in caplog.text


def test_an_export_overwrites_nothing(line: SmallLine, tmp_path: Path) -> None:
    line.judge("REJECT")
    with pytest.raises(UsageError, match="is flagged"):
        export_flagged(line.ledger, tmp_path / "doubts")
    flag_frame(line.ledger, line.run_id, 1, operator="mia", kind="unsure")
    (tmp_path / "doubts").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        export_flagged(line.ledger, tmp_path / "doubts")


def test_changed_evidence_is_not_passed_on(line: SmallLine, tmp_path: Path) -> None:
    for _ in range(2):
        line.judge("REJECT")
    for number in (1, 2):
        flag_frame(line.ledger, line.run_id, number, operator="mia", kind="unsure")
    row = queries.inspection(line.ledger, line.run_id, 1)
    assert row is not None and row.image_path is not None
    row.image_path.write_bytes(row.image_path.read_bytes() + b"x")
    exported = export_flagged(line.ledger, tmp_path / "doubts")
    assert len(exported.stems) == 1 and "was changed since" in exported.missing[0]
    assert exported.missing == tuple(
        json.loads((tmp_path / "doubts" / "provenance.json").read_text())["missing"]
    )


def test_packages_with_other_classes_are_not_mixed(line: SmallLine, tmp_path: Path) -> None:
    line.judge("REJECT")
    flag_frame(line.ledger, line.run_id, 1, operator="mia", kind="unsure")
    other = SmallLine(tmp_path, classes=("dent",))
    try:
        other.judge("REJECT")
        flag_frame(other.ledger, other.run_id, 1, operator="mia", kind="unsure")
        with pytest.raises(InspectionError, match="--run"):
            export_flagged(line.ledger, tmp_path / "doubts")
        export_flagged(line.ledger, tmp_path / "doubts", other.run_id)
    finally:
        other.close()
    assert json.loads((tmp_path / "doubts" / "classes.json").read_text()) == {"1": "dent"}


def test_an_account_without_a_name_flags_by_its_number(line: SmallLine, monkeypatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 12345)
    line.judge("PASS")
    assert command("flag", "--db", line.url, "--frame", 1, "--kind", "unsure") == 0
    assert queries.flags(line.ledger)[0].operator == "uid 12345"


def test_a_frame_that_the_line_stores_with_its_last_breath_is_kept(
    line: SmallLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked the other way round, a line that ends in between leaves a stored frame that is called gone."""
    line.judge("PASS")

    def die(engine: object, run_id: str) -> bool:
        line.recorder.close()
        return False

    monkeypatch.setattr(queries, "is_alive", die)
    assert flag_frame(line.ledger, line.run_id, 1, operator="mia", kind="missed").kept


def test_a_changed_mask_is_not_replaced_by_an_empty_one(line: SmallLine, tmp_path: Path) -> None:
    """An empty mask would tell the trainer that all of the part is good."""
    for number in (1, 2):
        line.judge("REJECT")
        flag_frame(line.ledger, line.run_id, number, operator="mia", kind="unsure")
    row = queries.inspection(line.ledger, line.run_id, 1)
    assert row is not None and row.mask_path is not None
    row.mask_path.write_bytes(b"other")
    exported = export_flagged(line.ledger, tmp_path / "doubts")
    assert exported.stems == (f"{line.run_id}_00000002",) and "mask.png is missing" in exported.missing[0]
    assert [path.stem for path in (tmp_path / "doubts" / "images").iterdir()] == list(exported.stems)


def test_an_export_is_on_the_disk_before_it_has_its_name(
    line: SmallLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.add(os.fstat(fd).st_ino)
        real(fd)

    line.judge("REJECT")
    flag_frame(line.ledger, line.run_id, 1, operator="mia", kind="unsure")
    monkeypatch.setattr(os, "fsync", fsync)
    export_flagged(line.ledger, tmp_path / "doubts")
    out = tmp_path / "doubts"
    unsynced = [path for path in (out, *out.rglob("*"), tmp_path) if path.stat().st_ino not in synced]
    assert unsynced == []

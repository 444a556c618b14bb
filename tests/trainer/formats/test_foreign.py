"""Labels as the tools themselves write them, right and wrong, and what a user reads when they are wrong."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from inspector.errors import UsageError
from trainer.formats.convert import Conversion, ImportRequest, export_labels, import_labels
from trainer.formats.pictures import find_picture, plain_name
from trainer.formats.source import ReadOptions
from trainer.formats.voc_masks import palette

HEIGHT, WIDTH = 12, 16


def picture(path: Path, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(1).integers(0, 255, size, np.uint8))


def coco(folder: Path, **changes: Any) -> Path:
    """One picture, one polygon, one crowd; `annotation` and `document` change what they hold."""
    picture(folder / "images" / "a.png")
    polygon = {
        "id": 1,
        "image_id": 5,
        "category_id": 3,
        "iscrowd": 0,
        "segmentation": [[2, 1, 6, 1, 6, 4, 2, 4]],
    }
    document = {
        "images": [{"id": 5, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": [polygon | changes.get("annotation", {})],
        "categories": [{"id": 3, "name": "dent", "supercategory": "damage"}, {"id": 0, "name": "all"}],
    }
    path = folder / "annotations" / "instances.json"
    path.parent.mkdir()
    path.write_text(json.dumps(document | changes.get("document", {})))
    return path


def cvat(folder: Path, shapes: str | None = None, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    picture(folder / "images" / "a.png")
    shapes = shapes or (
        '<polygon label="dent" source="manual" occluded="0" points="2.00,1.00;6.00,1.00;6.00,4.00;2.00,4.00"'
        ' z_order="0"><attribute name="deep">yes</attribute></polygon>'
        '<mask label="scratch" source="manual" occluded="0" rle="1, 2, 1, 2" left="8" top="5" width="3"'
        ' height="2" z_order="1"></mask><tag label="checked" source="manual"></tag>'
    )
    labels = "".join(f"<label><name>{n}</name><color>#ff0000</color></label>" for n in ("dent", "scratch"))
    path = folder / "annotations.xml"
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task><labels>'
        f'{labels}</labels></task></meta><image id="0" name="a.png" width="{size[1]}" height="{size[0]}">'
        f"{shapes}</image></annotations>"
    )
    return folder


def region(kind: str, **value: Any) -> dict[str, Any]:
    common = {"from_name": "tag", "to_name": "image", "original_width": WIDTH, "original_height": HEIGHT}
    return {**common, "id": "x", "type": kind, "image_rotation": 0, "value": value}


SQUARE = region(
    "polygonlabels",
    closed=True,
    polygonlabels=["dent"],
    points=[[12.5, 0], [37.5, 0], [37.5, 50], [12.5, 50]],
)


def tasks(folder: Path, *results: dict[str, Any], **task: Any) -> Path:
    picture(folder / "a.png")
    content = {"id": 7, "data": {"image": "/data/upload/3/0123abcd-a.png"}}
    content["annotations"] = [{"id": 1, "was_cancelled": False, "result": list(results or [SQUARE])}]
    path = folder / "project-3.json"
    path.write_text(json.dumps([content | task]))
    return path


def labelme(folder: Path, **shape: Any) -> Path:
    picture(folder / "a.png")
    square = {
        "label": "dent",
        "points": [[2, 1], [5, 1], [5, 3], [2, 3]],
        "shape_type": "polygon",
        "group_id": None,
    }
    document = {
        "version": "5.2.1", "flags": {}, "imagePath": "..\\photos\\a.png", "imageData": None,
        "imageHeight": HEIGHT, "imageWidth": WIDTH, "shapes": [square | {"flags": {}} | shape],
    }  # fmt: skip
    (folder / "a.json").write_text(json.dumps(document))
    return folder


def voc(folder: Path, mask: NDArray[np.uint8] | None = None, names: str = "") -> Path:
    picture(folder / "JPEGImages" / "a.jpg")
    if mask is None:
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[1:4, 2:6], mask[0] = 2, 255
    stored = PIL.Image.fromarray(mask)
    if mask.ndim == 2:
        stored.putpalette([channel for colour in palette() for channel in colour])
    (folder / "SegmentationClass").mkdir()
    stored.save(folder / "SegmentationClass" / "a.png")
    if names:
        (folder / "labelmap.txt").write_text(names)
    return folder


def imported(kind: str, where: Path, **more: Any) -> tuple[Conversion, Path]:
    out = where.parent / f"{where.stem}-imported"
    return import_labels(ImportRequest(kind, where, out, **more)), out


def mask_of(out: Path, stem: str = "a") -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(out / "masks" / f"{stem}.png"), cv2.IMREAD_UNCHANGED), np.uint8)


def box(value: int = 1, top: int = 1, bottom: int = 4) -> NDArray[np.uint8]:
    """The rectangle that all these labels draw."""
    plane = np.zeros((HEIGHT, WIDTH), np.uint8)
    plane[top:bottom, 2:6] = value
    return plane


def test_coco_polygons_keep_their_category_ids(tmp_path: Path) -> None:
    done, out = imported("coco", coco(tmp_path))
    assert np.array_equal(mask_of(out), box(3))
    assert json.loads((out / "classes.json").read_text()) == {"3": "dent"}  # the unused 0 is above the others
    assert done.objects == 1


def test_coco_ids_that_are_no_class_ids_are_numbered_anew_and_it_is_said(tmp_path: Path) -> None:
    categories = [{"id": 3, "name": "dent"}, {"id": 300, "name": "scratch"}]
    done, _ = imported("coco", coco(tmp_path, document={"categories": categories}))
    assert done.classes == {1: "dent", 2: "scratch"}
    assert "in the order of the categories, whose own ids are not all 1 to 254" in done.warnings[0]


def test_label_studio_interfaces_without_categories_count_by_order(tmp_path: Path) -> None:
    path = tasks(tmp_path / "s")
    (tmp_path / "s" / "labeling.xml").write_text(
        '<View><PolygonLabels name="tag"><Label value="scratch"/><Label value="dent"/></PolygonLabels></View>'
    )
    done, out = imported("labelstudio", path)
    assert done.classes == {1: "scratch", 2: "dent"}
    assert np.array_equal(mask_of(out), box(2, 0, 6))


def test_coco_files_of_a_split_are_told_by_their_names(tmp_path: Path) -> None:
    for side in ("train2017", "val2017", "test"):
        path = coco(tmp_path / side)
        document = json.loads(path.read_text().replace("a.png", f"{side}.png"))
        (tmp_path / side / "images" / "a.png").rename(tmp_path / side / "images" / f"{side}.png")
        (tmp_path / f"instances_{side}.json").write_text(json.dumps(document))
        path.unlink()
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for path in tmp_path.glob("*/images/*.png"):
        path.rename(pictures / path.name)
    done, out = imported("coco", tmp_path, options=ReadOptions(images=pictures))
    assert json.loads((out / "split.json").read_text()) == {
        "train": ["train2017", "val2017"],
        "test": ["test"],
    }
    assert any("val go to train" in note for note in done.notes)


def test_cvat_polygons_and_masks(tmp_path: Path) -> None:
    done, out = imported("cvat", cvat(tmp_path / "c"))
    wanted = box(1)
    wanted[5, 9:11], wanted[6, 9:11] = 2, 2
    assert np.array_equal(mask_of(out), wanted)
    assert done.classes == {1: "dent", 2: "scratch"} and done.objects == 2


def test_label_studio_uploads_are_found_by_their_own_name(tmp_path: Path) -> None:
    _, out = imported("labelstudio", tasks(tmp_path))
    assert np.array_equal(mask_of(out), box(1, 0, 6))


def test_labelme_is_read_as_labelme_draws(tmp_path: Path) -> None:
    _, out = imported("labelme", labelme(tmp_path / "l"))
    assert np.array_equal(mask_of(out), box(1))


def test_labelme_files_may_carry_their_picture(tmp_path: Path) -> None:
    folder = labelme(tmp_path / "l")
    document = json.loads((folder / "a.json").read_text())
    data = (folder / "a.png").read_bytes()
    (folder / "a.png").unlink()
    (folder / "a.json").write_text(json.dumps(document | {"imageData": base64.b64encode(data).decode()}))
    _, out = imported("labelme", folder)
    assert (out / "images" / "a.png").read_bytes() == data


def test_voc_by_index_without_names_and_by_colour_with(tmp_path: Path) -> None:
    wanted = box(2)
    wanted[0] = 255
    done, out = imported("voc", voc(tmp_path / "plain"))
    assert np.array_equal(mask_of(out), wanted) and done.classes == {1: "class_1", 2: "class_2"}
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rgb[1:4, 2:6], rgb[0] = (10, 200, 30), (224, 224, 192)
    names = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndent:10,200,30::\n"
    done, out = imported("voc", voc(tmp_path / "colour", rgb, names))
    assert np.array_equal(mask_of(out), np.where(wanted == 2, 1, wanted)) and done.classes == {1: "dent"}


def test_voc_in_gray_counts_by_the_order_of_the_list(tmp_path: Path) -> None:
    names = "background:0,0,0::\nscratch:128,0,0::\ndent:0,128,0::\n"
    folder = voc(tmp_path / "gray", names=names)
    PIL.Image.fromarray(box(2)).save(folder / "SegmentationClass" / "a.png")
    done, out = imported("voc", folder)
    assert np.array_equal(mask_of(out), box(2)) and done.classes == {1: "scratch", 2: "dent"}


def test_ignore_is_255_in_every_tool(tmp_path: Path) -> None:
    folder = labelme(tmp_path / "l", label="__ignore__")
    (folder / "labels.txt").write_text("__ignore__\n_background_\ndent\n")
    done, out = imported("labelme", folder)
    assert np.array_equal(mask_of(out), box(255)) and done.classes == {1: "dent"}


def test_a_class_list_gives_the_ids(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("scratch\ndent\n")
    _, out = imported("coco", coco(tmp_path / "c"), classes=tmp_path / "labels.txt")
    assert np.array_equal(mask_of(out), box(2))


def test_pictures_without_labels_are_good_only_when_said(tmp_path: Path) -> None:
    folder = labelme(tmp_path / "l")
    picture(folder / "b.png")
    with pytest.raises(UsageError, match=r"b\.png has no labels from LabelMe; .*--unlabelled-good"):
        imported("labelme", folder)
    _, out = imported("labelme", folder, options=ReadOptions(unlabelled_good=True))
    assert not mask_of(out, "b").any()


Make = Callable[[Path], tuple[str, Path]]
NO_PIXELS = r"which is no mask|which has no pixels|a box is no mask"

WRONG: dict[str, tuple[Make, str]] = {
    "coco-size": (
        lambda f: (
            "coco",
            coco(f, document={"images": [{"id": 5, "file_name": "a.png", "height": 24, "width": 32}]}),
        ),
        r"a\.png is 12x16 but its labels say 24x32",
    ),
    "coco-box": (
        lambda f: ("coco", coco(f, annotation={"segmentation": [], "bbox": [1, 1, 2, 2]})),
        NO_PIXELS,
    ),
    "coco-category": (lambda f: ("coco", coco(f, annotation={"category_id": 9})), r"category 9, .* not name"),
    "coco-orphan": (lambda f: ("coco", coco(f, annotation={"image_id": 77})), r"annotations for image 77"),
    "coco-runs": (
        lambda f: ("coco", coco(f, annotation={"segmentation": {"size": [HEIGHT, WIDTH], "counts": [3, 5]}})),
        r"holds 8 pixels, 12x16 has 192",
    ),
    "coco-run-size": (
        lambda f: ("coco", coco(f, annotation={"segmentation": {"size": [9, 9], "counts": [81]}})),
        r"for 9x9, but its picture is 12x16",
    ),
    "coco-polygon": (
        lambda f: ("coco", coco(f, annotation={"segmentation": [[1, 2, 3]]})),
        r"no list of x, y",
    ),
    "coco-outside": (
        lambda f: ("coco", coco(f, annotation={"segmentation": [[1, 2, 90, 2, 90, 9]]})),
        r"x=90, y=2, outside",
    ),
    "coco-captions": (lambda f: ("coco", coco(f, document={"categories": 3})), r"no COCO file of objects"),
    "coco-picture": (
        lambda f: (
            "coco",
            coco(
                f, document={"images": [{"id": 5, "file_name": "gone.png", "height": HEIGHT, "width": WIDTH}]}
            ),
        ),
        r"gone\.png is labelled, .*--images",
    ),
    "cvat-box": (
        lambda f: ("cvat", cvat(f, '<box label="dent" xtl="1" ytl="1" xbr="4" ybr="4"/>')),
        NO_PIXELS,
    ),
    "cvat-label": (
        lambda f: ("cvat", cvat(f, '<polygon label="dnet" points="1,1;4,1;4,4"/>')),
        r"'dnet' is not in",
    ),
    "cvat-size": (lambda f: ("cvat", cvat(f, size=(6, 8))), r"a\.png is 12x16 but its labels say 6x8"),
    "cvat-runs": (
        lambda f: ("cvat", cvat(f, '<mask label="dent" rle="1, 2" left="1" top="1" width="3" height="2"/>')),
        r"holds 3 pixels, 3x2|2x3 has 6",
    ),
    "cvat-beyond": (
        lambda f: ("cvat", cvat(f, '<mask label="dent" rle="0, 6" left="14" top="1" width="3" height="2"/>')),
        r"beyond the picture",
    ),
    "cvat-points": (lambda f: ("cvat", cvat(f, '<polygon label="dent" points="1,1;4"/>')), r"the corner '4'"),
    "studio-box": (
        lambda f: ("labelstudio", tasks(f, region("rectanglelabels", rectanglelabels=["dent"]))),
        NO_PIXELS,
    ),
    "studio-label": (
        lambda f: ("labelstudio", tasks(f, SQUARE, region("polygonlabels", points=[]))),
        r"has 0 labels",
    ),
    "studio-min": (lambda f: ("labelstudio", _json_min(f)), r"not as JSON-MIN"),
    "studio-two": (
        lambda f: ("labelstudio", tasks(f, annotations=[{"result": [SQUARE]}, {"result": []}])),
        r"has 2 annotations; mark",
    ),
    "studio-none": (lambda f: ("labelstudio", tasks(f, annotations=[])), r"no labels from Label Studio"),
    "studio-stroke": (
        lambda f: (
            "labelstudio",
            tasks(
                f, region("brushlabels", format="rle", rle=[0, 0, 0, 9, 57, 27, 254], brushlabels=["dent"])
            ),
        ),
        r"stroke holds 2 pixels",
    ),
    "studio-interface": (lambda f: ("labelstudio", _interface(f, "<View>")), r"labeling\.xml is not XML"),
    "studio-unlisted": (
        lambda f: ("labelstudio", _interface(f, '<View><Label value="scratch"/></View>')),
        r"'dent' is none of the classes scratch",
    ),
    "studio-turned": (lambda f: ("labelstudio", tasks(f, SQUARE | {"image_rotation": 90})), r"was turned"),
    "labelme-box": (lambda f: ("labelme", labelme(f, shape_type="rectangle")), NO_PIXELS),
    "labelme-points": (lambda f: ("labelme", labelme(f, points=[[1, 2], "x"])), r"the corner 'x'"),
    "labelme-mask": (
        lambda f: (
            "labelme",
            labelme(f, shape_type="mask", mask=_png(np.ones((3, 3), np.uint8)), points=[[1, 1], [9, 9]]),
        ),
        r"A mask of 3x3 at x 1",
    ),
    "labelme-broken": (
        lambda f: ("labelme", labelme(f, shape_type="mask", mask="!!", points=[[1, 1], [2, 2]])),
        r"cannot be read",
    ),
    "voc-boxes": (lambda f: ("voc", _boxes(f)), r"boxes \(XML\) .* a box is no mask"),
    "voc-size": (lambda f: ("voc", voc(f, np.ones((5, 6), np.uint8))), r"is 5x6 but its picture is 12x16"),
    "voc-index": (lambda f: ("voc", voc(f, box(9), "background:::\ndent:::\n")), r"holds the index 9"),
    "voc-soft": (
        lambda f: (
            "voc",
            voc(f, np.full((HEIGHT, WIDTH, 3), 77, np.uint8), "background:0,0,0::\ndent:128,0,0::\n"),
        ),
        r"the colour 77,77,77, .* soft edges",
    ),
}


def _png(plane: NDArray[np.uint8]) -> str:
    return base64.b64encode(cv2.imencode(".png", plane)[1].tobytes()).decode()


def _json_min(folder: Path) -> Path:
    path = tasks(folder)
    path.write_text(json.dumps([{"id": 1, "data": {"image": "a.png"}, "label": []}]))
    return path


def _interface(folder: Path, text: str) -> Path:
    path = tasks(folder)
    (folder / "labeling.xml").write_text(text)
    return path


def _boxes(folder: Path) -> Path:
    (folder / "Annotations").mkdir(parents=True)
    (folder / "Annotations" / "a.xml").write_text("<annotation><object><bndbox/></object></annotation>")
    return folder


@pytest.mark.parametrize("case", WRONG)
def test_wrong_labels_get_one_sentence_and_leave_no_folder(case: str, tmp_path: Path) -> None:
    make, words = WRONG[case]
    kind, where = make(tmp_path / "in")
    with pytest.raises(UsageError, match=words) as refused:
        import_labels(ImportRequest(kind, where, tmp_path / "out"))
    assert "\n" not in str(refused.value) and refused.value.exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_unknown_classes_are_refused_when_a_list_is_given(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text('{"1": "scratch"}')
    with pytest.raises(UsageError, match=r"a\.png: The label 'dent' is none of the classes scratch"):
        imported("coco", coco(tmp_path / "c"), classes=tmp_path / "classes.json")


@pytest.mark.parametrize("kind", ["coco", "cvat", "labelstudio", "labelme"])
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1, 2", b"\xff\xfe\x00", b"[]", b"{}", b"null", b"<a/>", b"[[]]"]
)
def test_files_of_nonsense_are_refused(kind: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / ("annotations.xml" if kind == "cvat" else "labels.json")
    path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        import_labels(ImportRequest(kind, tmp_path / "in", tmp_path / "out"))
    assert "\n" not in str(refused.value)


def test_xml_entities_are_not_expanded(tmp_path: Path) -> None:
    folder = cvat(tmp_path / "c")
    text = (folder / "annotations.xml").read_text()
    (folder / "annotations.xml").write_text(
        text.replace("<annotations>", '<!DOCTYPE a [<!ENTITY e "x">]><annotations>')
    )
    with pytest.raises(UsageError, match="is not XML that can be read"):
        imported("cvat", folder)


def test_videos_and_archives_are_refused_with_the_way_on(tmp_path: Path) -> None:
    (tmp_path / "annotations.xml").write_text("<annotations><track id='0'/></annotations>")
    with pytest.raises(UsageError, match=r"CVAT for images 1\.1 instead"):
        imported("cvat", tmp_path)
    (tmp_path / "job.zip").write_bytes(b"PK\x03\x04")
    for kind in ("cvat", "labelme", "voc"):
        with pytest.raises(UsageError, match=r"unzip .*job\.zip -d FOLDER"):
            imported(kind, tmp_path / "job.zip")


def test_a_picture_that_turns_by_its_exif_tag_is_refused(tmp_path: Path) -> None:
    path = coco(tmp_path / "c", document={"images": [
        {"id": 5, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}]})  # fmt: skip
    tag = PIL.Image.Exif()
    tag[0x0112] = 6
    PIL.Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "c" / "images" / "a.jpg", exif=tag)
    with pytest.raises(UsageError, match="turned by its EXIF tag"):
        imported("coco", path)


def test_two_pictures_of_one_stem_are_refused(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"{n}/a.png", "height": HEIGHT, "width": WIDTH} for n in (4, 5)]
    path = coco(tmp_path / "c", document={"images": images})
    for n in (4, 5):
        picture(tmp_path / "c" / "images" / str(n) / "a.png")
    with pytest.raises(UsageError, match="would both be a; rename one"):
        imported("coco", path)


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    path = coco(tmp_path / "c")
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="already there"):
        import_labels(ImportRequest("coco", path, tmp_path / "out"))
    imported("coco", path)
    with pytest.raises(UsageError, match="already there"):
        export_labels("voc", path.parent / "instances-imported", tmp_path / "out")


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for name in ("images", "masks", "instances"):
        (folder / name).mkdir(parents=True)
    picture(folder / "images" / "a.png", (20, 20))
    cv2.imwrite(str(folder / "masks" / "a.png"), np.ones((20, 20), np.uint8))
    ids = np.arange(1, 401, dtype=np.uint16).reshape(20, 20)
    cv2.imwrite(str(folder / "instances" / "a.png"), ids)
    with pytest.raises(UsageError, match="instance ids up to 400, and VOC's go to 254"):
        export_labels("voc", folder, tmp_path / "out")
    with pytest.raises(UsageError, match="no polygons"):
        export_labels("voc", folder, tmp_path / "out", polygons=True)
    (folder / "classes.json").write_text('{"1": "ignore"}')
    with pytest.raises(UsageError, match="class 'ignore'"):
        export_labels("coco", folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("/data/local-files/?d=set%2Fa.png", "set/a.png"),
        ("https://host/bucket/a%20b.png?sig=1", "bucket/a b.png"),
        ("C:\\shots\\a.png", "shots/a.png"),
        ("../../etc/a.png", "etc/a.png"),
        ("/abs/a#1.png", "abs/a#1.png"),
    ],
)
def test_names_lead_nowhere_but_down(name: str, plain: str, tmp_path: Path) -> None:
    assert plain_name(name) == plain
    assert find_picture(name, [tmp_path]) is None

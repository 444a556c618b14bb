"""Pasted defects: whole ones only, labels exact, light taken from the new place, nothing else touched."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from trainer.config import AugmentConfig, FitConfig
from trainer.dataset import load_dataset
from trainer.paste import RING_PX, Cutout, cut_out, draw_cutout, paste
from trainer.recipes import fit_config
from trainer.sampler import TileSampler
from trainer.stock import Picture, Stock, load_stock
from trainer.weights import instances_of, weight_map

HALO = 44


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def picture(gray: int = 100, shape: tuple[int, ...] = (80, 90)) -> np.ndarray:
    return np.full(shape, gray, np.uint8)


def dark_spot(gray: int = 100, shape: tuple[int, ...] = (80, 90)) -> tuple[np.ndarray, np.ndarray]:
    """A spot 40 gray values darker than its place, at rows 30 to 38 and columns 40 to 52."""
    image, mask = picture(gray, shape), np.zeros(shape[:2], np.uint8)
    image[30:38, 40:52] = gray - 40
    mask[30:38, 40:52] = 3
    return image, mask


def test_a_whole_defect_is_cut_out_with_its_ring() -> None:
    image, mask = dark_spot()
    (cutout,) = cut_out(image, mask, (60, 60))
    assert cutout.class_id == 3 and cutout.mask.shape == (8 + 2 * RING_PX, 12 + 2 * RING_PX)
    assert cutout.mask.sum() == 8 * 12 and np.array_equal(cutout.image < 100, cutout.mask)


@pytest.mark.parametrize(("rows", "columns"), [((0, 8), (40, 52)), ((30, 38), (80, 90)), ((3, 9), (40, 52))])
def test_a_defect_at_the_edge_stays_where_it_is(rows: tuple[int, int], columns: tuple[int, int]) -> None:
    mask = np.zeros((80, 90), np.uint8)
    mask[slice(*rows), slice(*columns)] = 1
    assert cut_out(picture(), mask, (60, 60)) == ()


@pytest.mark.parametrize("other", [1, 2, 255])
def test_a_defect_beside_another_or_beside_ignored_pixels_stays_where_it_is(other: int) -> None:
    image, mask = dark_spot()
    mask[34, 55] = other
    assert all(cutout.class_id != 3 for cutout in cut_out(image, mask, (60, 60)))


def test_a_defect_larger_than_a_tile_stays_where_it_is() -> None:
    image, mask = dark_spot()
    assert cut_out(image, mask, (60, 12 + 2 * RING_PX - 1)) == ()
    assert len(cut_out(image, mask, (8 + 2 * RING_PX, 12 + 2 * RING_PX))) == 1


@pytest.mark.parametrize("colour", [False, True])
def test_labels_are_exact_and_the_light_is_the_places(colour: bool) -> None:
    (cutout,) = cut_out(*dark_spot(200, (80, 90, 3) if colour else (80, 90)), (60, 60))
    size = (100 + 2 * HALO, 120 + 2 * HALO)
    image, mask = picture(90, (*size, 3) if colour else size), np.zeros((100, 120), np.uint8)
    for seed in range(12):
        pasted = paste(rng(seed), cutout, image, mask, HALO)
        assert pasted is not None
        tile, labels, here = pasted
        assert np.array_equal(labels, np.where(here, 3, 0)) and here.sum() == 8 * 12
        inner = tile[HALO:-HALO, HALO:-HALO].astype(int)
        # 160 on a surface of 200 is 50 on a surface of 90, whether blended or faded.
        assert np.abs(inner[here] - 50).max() <= 3
        far = cv2.dilate(here.astype(np.uint8), np.ones((2 * RING_PX + 1,) * 2, np.uint8)) == 0
        assert np.all(inner[far] == 90) and np.all(tile[:HALO] == 90)
    assert np.all(image == 90) and not mask.any()


def test_no_place_among_good_pixels_leaves_the_tile_as_it_is() -> None:
    (cutout,) = cut_out(*dark_spot(), (60, 60))
    size = 60 + 2 * HALO
    for mask in (np.full((60, 60), 1, np.uint8), np.full((60, 60), 255, np.uint8)):
        assert paste(rng(), cutout, picture(90, (size, size)), mask, HALO) is None
    assert paste(rng(), cutout, picture(90, (98, 98)), np.zeros((10, 10), np.uint8), HALO) is None


def test_classes_are_drawn_before_their_defects() -> None:
    one, many = (
        Cutout(picture(), np.zeros((80, 90), np.bool_), 1),
        Cutout(picture(), np.zeros((80, 90), np.bool_), 2),
    )
    generator = rng()
    drawn = [draw_cutout(generator, [[one], [many] * 50]).class_id for _ in range(400)]
    assert 150 < drawn.count(1) < 250


def test_a_training_tile_shows_pasted_defects_with_their_weight(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    image, mask = dark_spot(100, (200, 220))
    for stem, (picture_, labels) in {
        "a": (image, mask),
        "b": (picture(100, (200, 220)), np.zeros_like(mask)),
    }.items():
        cv2.imwrite(str(tmp_path / "images" / f"{stem}.png"), picture_)
        cv2.imwrite(str(tmp_path / "masks" / f"{stem}.png"), labels)
    samples = load_dataset([tmp_path]).samples

    def batch(chance: float) -> tuple[int, bool]:
        config = fit_config(
            "modern", steps=4, crops=1, start_scale=1.0, classes=("one", "two", "three"),
            paste_chance=chance, defect_share=(0.0, 0.0), step_px=1_000_000,
        )  # fmt: skip
        stock = load_stock(samples, config)
        drawn = TileSampler(stock, config).batch(0, 0.0)
        seen = drawn.mask == 3
        return int(seen.any(dim=(1, 2)).sum()), bool((drawn.weights[seen] == stock.class_weight[3]).all())

    (without, _), (with_, weighted) = batch(0.0), batch(1.0)
    assert with_ > without and weighted


def stock_of_spots(border: str) -> tuple[FitConfig, Stock]:
    """A plain picture with a row of spots of class 1, far enough apart to be pasted between."""
    image, mask = picture(100, (160, 160)), np.zeros((160, 160), np.uint8)
    for x in (20, 60, 100, 140):
        mask[70:78, x : x + 8], image[70:78, x : x + 8] = 1, 60
    config = fit_config(
        "modern", steps=1, classes=("one",), depth=3, border=border, tile_px=160, paste_chance=1.0,
        crops=1, start_scale=1.0,
        augment=AugmentConfig(flips=False, warp_chance=0, elastic_chance=0, gain=0, offset=0, gamma=0),
        step_px=6 * 160 * 160, balance="inverse",
    )  # fmt: skip
    weight, instances = np.array([0.5, 4], np.float32), instances_of(mask)
    weights = weight_map(mask, instances, weight, config.border, w0=config.w0, sigma=config.sigma_px)
    anchors = {1: np.argwhere(mask == 1)}
    return config, Stock((Picture(image, mask, weights, anchors, Path("here")),), weight, ((0.0,), (1.0,)))


@pytest.mark.parametrize("border", ["weight", "ignore"])
def test_a_pasted_defect_has_the_border_weights_of_one_that_was_there(border: str) -> None:
    config, source = stock_of_spots(border)
    drawn, changed = TileSampler(source, config).batch(0, 0.0), 0
    for mask, weights in zip(drawn.mask.numpy().astype(np.uint8), drawn.weights.numpy(), strict=True):
        wanted = weight_map(
            mask, instances_of(mask), source.class_weight, config.border, w0=config.w0, sigma=config.sigma_px
        )  # fmt: skip
        inner = slice(26, -26), slice(26, -26)  # spots beyond the tile's edge weigh on it as well
        changed += int((mask[inner] > 0).sum() > (source.pictures[0].mask[inner] > 0).sum())
        assert np.abs(weights[inner] - wanted[inner]).max() < 1e-4
    assert changed, "something was pasted"

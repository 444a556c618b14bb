"""Muon's iteration on Gram matrices is the plain one, and its steps are those of Jordan's optimizer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trainer.muon import EPS, ITERATIONS, A, B, C, Muon, orthogonalised

SHAPES = [(16, 9), (16, 144), (32, 144), (9, 9), (64, 16), (16, 9)]


def plain(matrix: Tensor) -> Tensor:
    """As Jordan wrote it, on X itself and one matrix at a time, in double."""
    x = matrix.double()
    x = x.T if matrix.shape[0] > matrix.shape[1] else x
    x = x / x.norm().clamp(min=EPS)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = A * x + (B * gram + C * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def distance(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_all_sizes_at_once_come_out_as_one_by_one_in_double() -> None:
    random = torch.Generator().manual_seed(0)
    matrices = [10.0 ** -(3 * n) * torch.randn(s, generator=random) for n, s in enumerate(SHAPES)]
    found = orthogonalised(matrices)
    assert [one.shape for one in found] == [one.shape for one in matrices]
    # Norms down to the one below which a matrix is no longer brought to 1.
    assert matrices[2].norm() > EPS > matrices[3].norm()
    for one, matrix in zip(found, matrices, strict=True):
        assert distance(one, plain(matrix)) < 2e-5


@pytest.mark.parametrize("decades", [2, 4, 6, 8])
@pytest.mark.parametrize("turned", [False, True])
def test_small_directions_are_not_lost_in_the_squares(decades: int, turned: bool) -> None:
    """Singular values over many decades; their squares over twice as many, beyond float32's digits."""
    random = torch.Generator().manual_seed(decades)
    left = torch.linalg.qr(torch.randn(64, 64, generator=random).double())[0]
    right = torch.linalg.qr(torch.randn(288, 64, generator=random).double())[0]
    matrix = ((left * torch.logspace(0, -decades, 64).double()) @ right.T).float()
    matrix = matrix.T if turned else matrix
    (found,) = orthogonalised([matrix])
    assert distance(found, plain(matrix)) < 1e-3
    assert float(torch.linalg.matrix_norm(found - plain(matrix), 2)) < 4e-3


def test_no_gradient_gives_no_direction() -> None:
    found = orthogonalised([torch.zeros(8, 12), torch.zeros(12, 8)])
    assert all(not one.any() for one in found)


def test_a_step_is_momentum_then_direction_then_decay() -> None:
    """Three steps, a tall and a wide matrix, by hand in double; one without a gradient stays."""
    random = torch.Generator().manual_seed(1)
    matrices = [torch.randn(s, generator=random) for s in ((36, 9), (8, 30), (4, 4))]
    expected, moving = (
        [one.double() for one in matrices],
        [torch.zeros(s).double() for s in ((36, 9), (8, 30))],
    )
    still = matrices[2].clone()
    muon = Muon(matrices, learning_rate=0.0, weight_decay=0.3, momentum=0.9)
    for rate in (0.1, 0.2, 0.05):
        muon.param_groups[0]["lr"] = rate
        for n in (0, 1):
            gradient = torch.randn(matrices[n].shape, generator=random)
            matrices[n].grad = gradient
            moving[n] = 0.9 * moving[n] + 0.1 * gradient.double()
            direction = plain(0.1 * gradient.double() + 0.9 * moving[n])
            length = math.sqrt(max(1.0, matrices[n].shape[0] / matrices[n].shape[1]))
            expected[n] = expected[n] * (1 - 0.3 * rate) - rate * length * direction
        muon.step()
    for n in (0, 1):
        assert torch.allclose(matrices[n].double(), expected[n], atol=1e-5)
    assert torch.equal(matrices[2], still)


def test_what_torchs_own_muon_kept_goes_on() -> None:
    """The optimizer of a checkpoint that an earlier version wrote."""
    random = torch.Generator().manual_seed(2)
    start, gradient = torch.randn(8, 30, generator=random), torch.randn(8, 30, generator=random)
    theirs, ours = start.clone(), start.clone()
    before = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.01, momentum=0.95)
    theirs.grad = gradient
    before.step()
    ours.copy_(theirs)
    ours.grad = theirs.grad
    after = Muon([ours], 0.1, 0.01, 0.95)
    after.load_state_dict(before.state_dict())
    before.step()
    after.step()
    # Theirs is computed in bfloat16.
    assert distance(ours - start, theirs - start) < 0.02
    assert torch.equal(after.state[ours]["momentum_buffer"], before.state[theirs]["momentum_buffer"])

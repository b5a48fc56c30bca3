from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from exnihilo.train.muon import JORDAN, POLAR_EXPRESS, Muon, Quintic, orthogonalise

SHAPES = [(24, 24), (24, 33), (24, 36), (24, 64), (10, 90)]


def newton_schulz(matrix: Tensor, quintics: Sequence[Quintic], safety: float = 1.0) -> Tensor:
    """The iteration as it is written in the literature, one matrix, float64."""
    x = matrix.double()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (safety * x.norm()).clamp(min=1e-7)
    for a, b, c in quintics:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def reference_step(
    weight: Tensor, momentum: Tensor, gradient: Tensor, *, lr: float, mu: float, nesterov: bool, decay: float
) -> tuple[Tensor, Tensor]:
    momentum = mu * momentum + (1 - mu) * gradient
    update = mu * momentum + (1 - mu) * gradient if nesterov else momentum
    scale = math.sqrt(max(1.0, weight.shape[0] / weight.shape[1]))
    return weight * (1 - lr * decay) - lr * scale * newton_schulz(
        update, [(3.4445, -4.7750, 2.0315)] * 5
    ), momentum


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [1, 3, 4, 5, 8])
@pytest.mark.parametrize(
    ("quintics", "safety"), [(JORDAN, 1.0), (POLAR_EXPRESS, 1.02)], ids=["jordan", "polar"]
)
def test_orthogonalise_equals_the_plain_iteration(
    shape: tuple[int, int], steps: int, quintics: Sequence[Quintic], safety: float
) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    matrices[1, :, 0] *= 1e3  # ill-conditioned: one singular value far above the others
    chain = [quintics[min(step, len(quintics) - 1)] for step in range(steps)]
    expected = torch.stack([newton_schulz(matrix, chain, safety) for matrix in matrices])
    assert (orthogonalise(matrices.double(), steps, quintics) - expected).abs().max() < 1e-10
    relative = (orthogonalise(matrices, steps, quintics).double() - expected).norm() / expected.norm()
    assert relative < 1e-4


def test_singular_values_come_near_one_and_zero_stays_zero() -> None:
    matrices = torch.randn(2, 32, 48, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalise(matrices, 5))
    assert values.min() > 0.6 and values.max() < 1.3
    assert torch.equal(orthogonalise(torch.zeros(1, 8, 20), 5), torch.zeros(1, 8, 20))


def test_polar_express_comes_nearer_to_one_and_from_smaller_values() -> None:
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.linalg.qr(torch.randn(40, 40, generator=generator))[0] for _ in range(2))
    # 0.002 to 1 after division by the norm
    wanted = torch.logspace(-2.3, 0.3, 40)
    matrix = (left * wanted) @ right
    matrix = matrix / matrix.norm()
    values = torch.linalg.svdvals(orthogonalise(matrix[None], 5, POLAR_EXPRESS))
    assert values.min() > 0.85 and values.max() < 1.15
    plain = torch.linalg.svdvals(orthogonalise(matrix[None], 5))
    assert plain.min() < 0.6 and plain.max() > 1.15


def normuon_reference(
    weight: Tensor, momentum: Tensor, average: Tensor, gradient: Tensor, *, lr: float, mu: float, beta: float
) -> tuple[Tensor, Tensor, Tensor]:
    """One matrix, as the paper writes it, but for the norm, which stays that of the orthogonalised update."""
    momentum = mu * momentum + (1 - mu) * gradient
    update = newton_schulz(mu * momentum + (1 - mu) * gradient, POLAR_EXPRESS, 1.02)
    average = beta * average + (1 - beta) * (update**2).mean(1)
    equal = update / average.sqrt()[:, None]
    equal = equal * update.norm() / equal.norm()
    return weight - lr * math.sqrt(max(1.0, weight.shape[0] / weight.shape[1])) * equal, momentum, average


def test_normuon_equals_a_float64_reference_for_wide_tall_and_fused_matrices() -> None:
    generator = torch.Generator().manual_seed(5)
    shapes, blocks = [(8, 8), (8, 20), (20, 8), (40, 8)], [1, 1, 1, 2]
    parameters = [
        torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes
    ]
    parameters[3].blocks = 2  # type: ignore[attr-defined]
    weights = [[w.clone() for w in p.detach().chunk(k)] for p, k in zip(parameters, blocks, strict=True)]
    states = [[(torch.zeros_like(w), torch.zeros(len(w)).double()) for w in parts] for parts in weights]
    optimizer = Muon(parameters, lr=0.03, momentum=0.9, quintics=POLAR_EXPRESS, neuron_beta=0.95)
    for _ in range(3):
        for parts, kept, parameter in zip(weights, states, parameters, strict=True):
            # Rows of very different sizes, which a neuron's own average is for.
            scale = torch.logspace(-2, 2, len(parameter), dtype=torch.float64)[:, None]
            parameter.grad = scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            for i, gradient in enumerate(parameter.grad.chunk(len(parts))):
                parts[i], *state = normuon_reference(parts[i], *kept[i], gradient, lr=0.03, mu=0.9, beta=0.95)
                kept[i] = (state[0], state[1])
        optimizer.step()
    for parameter, parts in zip(parameters, weights, strict=True):
        assert (parameter - torch.cat(parts)).abs().max() < 1e-12


def test_normuon_moves_every_neuron_alike_and_the_matrix_as_far_as_muon() -> None:
    generator = torch.Generator().manual_seed(6)
    gradient = torch.randn(12, 60, generator=generator)
    gradient[:6] = gradient[:1]  # six neurons that want the same: orthogonal, each moves a sixth as much
    moved = []
    for beta in (None, 0.95):
        parameter = torch.nn.Parameter(torch.zeros(12, 60))
        parameter.grad = gradient.clone()
        Muon([parameter], lr=1.0, quintics=POLAR_EXPRESS, neuron_beta=beta).step()
        moved.append(parameter.detach())
    plain, normal = (m.norm(dim=1) for m in moved)
    assert plain.max() > 2 * plain.min()
    assert normal.max() < 1.01 * normal.min()
    assert torch.isclose(moved[0].norm(), moved[1].norm(), rtol=1e-4)


def test_normuon_leaves_a_matrix_without_gradient_as_it_is() -> None:
    parameter = torch.nn.Parameter(torch.ones(4, 6))
    parameter.grad = torch.zeros(4, 6)
    Muon([parameter], lr=1.0, quintics=POLAR_EXPRESS, neuron_beta=0.95).step()
    assert torch.equal(parameter, torch.ones(4, 6))


@pytest.mark.parametrize("nesterov", [True, False])
def test_step_equals_a_float64_reference(nesterov: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    weights = [
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in [(8, 8), (8, 20), (20, 8)]
    ]
    parameters = [torch.nn.Parameter(weight.clone()) for weight in weights]
    optimizer = Muon(parameters, lr=0.03, momentum=0.9, nesterov=nesterov, weight_decay=0.2)
    averages = [torch.zeros_like(weight) for weight in weights]
    for _ in range(3):
        for i, parameter in enumerate(parameters):
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            weights[i], averages[i] = reference_step(
                weights[i], averages[i], parameter.grad, lr=0.03, mu=0.9, nesterov=nesterov, decay=0.2
            )
        optimizer.step()
    for parameter, weight in zip(parameters, weights, strict=True):
        assert (parameter - weight).abs().max() < 1e-12


@pytest.mark.parametrize("nesterov", [True, False])
def test_step_equals_torch_within_its_bfloat16(nesterov: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    start = [torch.randn(shape, generator=generator) for shape in [(16, 16), (16, 40), (40, 16)]]
    ours, theirs = ([torch.nn.Parameter(t.clone()) for t in start] for _ in range(2))
    settings = {"lr": 0.02, "momentum": 0.95, "nesterov": nesterov, "weight_decay": 0.1}
    optimizers = Muon(ours, **settings), torch.optim.Muon(theirs, **settings)
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b, before in zip(ours, theirs, start, strict=True):
        # bfloat16 has 8 bits: their orthogonal matrix is off by up to a few per cent, and so is the distance moved.
        assert (a - b).norm() < 0.03 * (b - before).norm()
        buffers = [o.state[p]["momentum_buffer"] for o, p in zip(optimizers, (a, b), strict=True)]
        assert torch.allclose(*buffers, atol=1e-7)


def test_blocks_are_orthogonalised_like_separate_matrices() -> None:
    generator = torch.Generator().manual_seed(4)
    start = torch.randn(24, 10, generator=generator)
    gradient = torch.randn(24, 10, generator=generator)
    fused = torch.nn.Parameter(start.clone())
    fused.blocks = 3  # type: ignore[attr-defined]
    parts = [torch.nn.Parameter(part.clone()) for part in start.chunk(3)]
    fused.grad = gradient
    for part, slice_ in zip(parts, gradient.chunk(3), strict=True):
        part.grad = slice_.clone()
    Muon([fused], lr=0.1).step()
    Muon(parts, lr=0.1).step()
    assert torch.allclose(fused, torch.cat(parts), atol=1e-7)
    whole = torch.nn.Parameter(start.clone())
    whole.grad = gradient
    Muon([whole], lr=0.1).step()
    assert not torch.allclose(whole, fused, atol=1e-3)


def test_what_is_no_matrix_or_has_no_gradient() -> None:
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.nn.Parameter(torch.zeros(3))])
    odd = torch.nn.Parameter(torch.zeros(5, 4))
    odd.blocks = 2  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="2 blocks"):
        Muon([odd])
    still = torch.nn.Parameter(torch.ones(4, 4))
    Muon([still], weight_decay=0.5).step()
    assert torch.equal(still, torch.ones(4, 4))

r"""Jacobians of layers, their product, and its singular values at any depth.

Layer t maps :math:`h^{t-1}` to :math:`h^t`. A chain lists its Jacobians in the order in which they are applied:
``factors[0]`` is :math:`J_1`, of shape (n_1, n_0), and the product :math:`J_d \cdots J_1` has shape (n_d, n_0). A few
dozen factors spread its singular values over more decades than one float64 matrix can hold, and a few hundred take them
out of range. So the product is never formed: everything is carried in float64, its size in logarithms (nats).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from labs.activations import Activation, get

_EPS = torch.finfo(torch.float64).eps


def layer_jacobian(W: Tensor, h: Tensor, activation: str | Activation) -> Tensor:
    r"""Jacobian of the layer :math:`h \mapsto \sigma(W h)` at one input vector.

    .. math:: \partial h^t / \partial h^{t-1} = \mathrm{diag}(\sigma'(W^t h^{t-1})) \, W^t

    ``W``: (n_out, n_in); ``h``: (n_in,); returns (n_out, n_in), numerator layout, in the dtype of ``W`` and ``h``.
    Source: Pennington, Schoenholz & Ganguli 2017 (one factor). Raises ValueError if the shapes do not meet.

    >>> layer_jacobian(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), torch.tensor([1.0, -0.7]), "relu")
    tensor([[0., 0.], [3., 4.], [5., 6.]])
    """
    if W.ndim != 2 or h.shape != W.shape[1:]:
        raise ValueError(
            f"W, h: expected shapes (n_out, n_in) and (n_in,), got W {tuple(W.shape)} and h {tuple(h.shape)}"
        )
    return get(activation).derivative(W @ h)[:, None] * W


def chained_jacobian(factors: Sequence[Tensor]) -> tuple[Tensor, float]:
    r"""Product of a chain as ``(matrix, log_scale)``, rescaled on the way so that it cannot leave the range.

    .. math:: J_d \cdots J_1 = e^{\text{log\_scale}} \cdot \text{matrix}, \qquad \|\text{matrix}\|_F = 1

    ``factors[t-1]``: (n_t, n_{t-1}); ``matrix``: (n_d, n_0), float64; ``log_scale`` in nats. The zero product gives
    zeros and -inf. Raises ValueError, naming the layer, for an empty chain, shapes that do not meet, NaN or Inf.

    >>> matrix, log_scale = chained_jacobian([1.5 * torch.eye(4)] * 5000)
    >>> matrix.diagonal(), round(log_scale / math.log(10), 3)  # 1.5 ** 5000 is about 10 ** 880, and the norm twice that
    (tensor([0.5000, 0.5000, 0.5000, 0.5000], dtype=torch.float64), 880.757)
    """
    _require_chain(factors)
    return _product((J.detach().double(), None) for J in factors)


def network_jacobian(weights: Sequence[Tensor], h: Tensor, activation: str | Activation) -> tuple[Tensor, float]:
    r"""Jacobian of the network :math:`h^t = \sigma(W^t h^{t-1})` at one input vector, as :func:`chained_jacobian` gives it.

    The product of the layers' Jacobians, without forming them: all slopes are taken at once, and multiply rows.
    ``weights[t-1]``: (n_t, n_{t-1}); ``h``: (n_0,); the dtype of the weights is that of the forward pass. Raises
    ValueError for shapes that do not meet, and, naming the layer, where a weight or a slope is NaN or Inf.

    >>> W = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> matrix, log_scale = network_jacobian([W, W], torch.tensor([1.0, -0.7]), "relu")
    >>> (matrix * math.exp(log_scale)).round(decimals=4)  # the first layer's mask is (0, 1)
    tensor([[ 6.,  8.],
            [12., 16.]], dtype=torch.float64)
    """
    _require_chain(weights)
    if h.shape != weights[0].shape[1:]:
        raise ValueError(
            f"h: expected shape {tuple(weights[0].shape[1:])}, the first layer's input, got {tuple(h.shape)}"
        )
    activation = get(activation)
    z = []
    for W in weights:
        z.append(W @ h)
        h = activation(z[-1])
    slopes = activation.derivative(torch.cat(z)).detach().double().split([len(W) for W in weights])
    return _product((W.detach().double(), slope[:, None]) for W, slope in zip(weights, slopes, strict=True))


def log_singular_values(factors: Sequence[Tensor]) -> Tensor:
    r"""Natural logarithms of the singular values of :math:`J_d \cdots J_1`, in descending order, at any depth.

    ``factors[t-1]``: (n_t, n_{t-1}); returns min(n_0, n_d) values in nats, float64. Directions that are lost are -inf:
    through zero rows (a ReLU's mask), a narrow layer, or a factor that is singular to working precision: with rows and
    columns scaled to sum 1, its least singular value on the image so far is below 4 max(n_t, n_{t-1}) · 2.2e-16. The
    others are as accurate as an error of 2.2e-16 of each factor permits: where layers mix all directions, about 2.2e-16
    times the sum of the condition numbers of the factors so scaled; worse where directions are coupled weakly (not by
    exact zeros: those are kept) while which of them is the larger changes along the chain.

    QR passes :math:`J_t Q_{t-1} = Q_t R_t`, to and fro, replace the factors by triangles that sort the product by size
    (Stewart 1995, ETNA 3:39–49, *On graded QR decompositions of products of matrices*). It then multiplies out, without loss, to
    :math:`\mathrm{diag}(e^l) V` with well-conditioned unit rows :math:`V`. One-sided Jacobi makes the rows orthogonal;
    its relative error depends on :math:`V`, not on the spread of :math:`l` (Demmel & Veselić 1992, *Jacobi's method is
    more accurate than QR*). Raises ValueError as :func:`chained_jacobian` does.

    >>> (log_singular_values([torch.diag(torch.tensor([2.0, 0.5]))] * 1000) / math.log(2)).round(decimals=9)
    tensor([ 1000., -1000.], dtype=torch.float64)
    >>> log_singular_values([torch.tensor([[0.0, 2.0], [0.0, 0.0]])] * 2)  # nilpotent
    tensor([-inf, -inf], dtype=torch.float64)
    """
    chain, log_scale = _rescaled_chain(factors)
    logs = _jacobi(*_multiplied_out(_triangles(chain, passes=2)))
    return _with_lost_directions(logs + log_scale, chain)


def lyapunov_exponents(factors: Sequence[Tensor]) -> Tensor:
    r"""Growth rates of a chain, in nats per layer, in descending order, from one QR pass :math:`J_t Q_{t-1} = Q_t R_t`.

    .. math:: \lambda_i = \frac{1}{d} \sum_{t=1}^{d} \ln |(R_t)_{ii}|

    They are the Lyapunov exponents only as :math:`d \to \infty`. At finite depth they are *not* the logarithms of the
    singular values divided by d, which :func:`log_singular_values` gives; of a square chain only the sums agree.

    ``factors[t-1]``: (n_t, n_{t-1}); returns min(n_0, n_d) values, float64. Directions that are lost are -inf; a chain
    that loses any needs a second pass, over the transposes, for the rates of the others. Source: Benettin et al. 1980;
    for Gaussian (n, n) factors :math:`\lambda_i = \frac12 (\ln 2 + \psi(\frac{n-i+1}{2})) + \ln \mathrm{std}` (Newman
    1986). Raises ValueError as :func:`chained_jacobian` does.

    >>> (lyapunov_exponents([torch.diag(torch.tensor([0.5, 2.0]))] * 1000) / math.log(2)).round(decimals=9)
    tensor([ 1., -1.], dtype=torch.float64)
    """
    chain, log_scale = _rescaled_chain(factors)
    growth = torch.stack([R.diagonal().abs().log() for R in _triangles(chain, passes=1)]).sum(dim=0)
    return _with_lost_directions(growth + log_scale, chain) / len(chain)


def _rescaled(M: Tensor) -> tuple[Tensor, float]:
    """``M`` with its largest entry scaled to ±1, and the logarithm of the scale (zero matrix: -inf)."""
    scale = M.abs().amax().item() if M.numel() else 0.0
    return (M / scale, math.log(scale)) if scale else (M, -math.inf)


def _require_chain(factors: Sequence[Tensor]) -> None:
    """ValueError unless there are matrices, each of which takes what the one before gives."""
    if len(factors) == 0:
        raise ValueError("factors: expected at least one Jacobian, got an empty chain (depth 0)")
    before: Tensor | None = None
    for t, J in enumerate(factors, start=1):
        shape = tuple(J.shape)
        if J.ndim != 2:
            raise ValueError(f"factors: the Jacobian of layer {t} must be 2-D, (n_{t}, n_{t - 1}), got shape {shape}")
        if before is not None and J.shape[1] != len(before):
            raise ValueError(
                f"factors: layer {t} of shape {shape} does not follow layer {t - 1} of shape {tuple(before.shape)}: "
                f"expected {len(before)} columns, got {J.shape[1]}"
            )
        before = J


def _rescaled_factor(t: int, J: Tensor) -> tuple[Tensor, float]:
    """The Jacobian of layer t rescaled, in float64; ValueError where it is not finite."""
    J, log_J = _rescaled(J)
    if math.isnan(log_J) or log_J == math.inf:  # the largest entry is NaN where any entry is
        raise ValueError(f"factors: the Jacobian of layer {t}, shape {tuple(J.shape)}, must be finite, got NaN or Inf")
    return J, log_J


def _rescaled_chain(factors: Sequence[Tensor]) -> tuple[list[Tensor], float]:
    """The factors checked, in float64, each rescaled, and the sum of the logarithms of their scales."""
    _require_chain(factors)
    chain, logs = zip(*(_rescaled_factor(t, J.detach().double()) for t, J in enumerate(factors, start=1)), strict=True)
    return list(chain), sum(logs)


def _product(layers: Iterable[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, float]:
    """The product of ``slope * J``, of Frobenius norm 1, and the logarithm of its scale.

    It is rescaled only where its norm leaves 1e±100; a NaN or Inf in a factor always shows in the product, and
    only then are the factors looked at.
    """
    product, log_scale = None, 0.0
    for t, (J, slope) in enumerate(layers, start=1):
        result = J if product is None else J @ product
        if slope is not None:
            result = slope * J if product is None else result.mul_(slope)
        size = torch.linalg.vector_norm(result).item()
        if not 1e-100 < size < 1e100:
            J, log_J = _rescaled_factor(t, J if slope is None else slope * J)
            product, log_product = (None, 0.0) if product is None else _rescaled(product)
            result, log_result = _rescaled(J if product is None else J @ product)
            log_scale += log_J + log_product + log_result
        product = result
    assert product is not None
    norm = product.norm().item()
    return (product / norm, log_scale + math.log(norm)) if norm else (product, -math.inf)


def _with_lost_directions(logs: Tensor, chain: Sequence[Tensor]) -> Tensor:
    """``logs`` in descending order, followed by -inf for the directions that the chain loses."""
    result = logs.new_full((min(chain[0].shape[1], len(chain[-1])),), -math.inf)
    result[: len(logs)] = logs.sort(descending=True).values
    return result


def _triangles(chain: Sequence[Tensor], passes: int) -> list[Tensor]:
    """Square triangular factors with the non-zero singular values of the chain, after at least so many QR passes."""
    chain = _qr_pass(chain)
    while passes > 1 or len(chain[-1]) < chain[0].shape[1]:  # not square: directions were lost on the way
        chain, passes = _qr_pass([R.T for R in reversed(chain)]), passes - 1
    return chain


def _qr_pass(chain: Sequence[Tensor]) -> list[Tensor]:
    """The factors R of J Q = Q' R along the chain, starting from Q = I; each loses the rows that the chain loses."""
    Q = torch.eye(chain[0].shape[1], dtype=chain[0].dtype, device=chain[0].device)
    triangles = []
    for J in chain:
        image, R = _qr(J @ Q)
        if (R.diagonal().abs() <= 1e-4 * J.norm()).any():  # badly scaled or singular: the columns' scale goes first
            column = J.abs().sum(dim=0)
            Q, R = _rank_revealing_qr(column.diag(), Q)
            triangles.append(R)
            image, R = _rank_revealing_qr(J / column.where(column > 0, 1), Q)
        Q = image
        triangles.append(R)
    return triangles


def _qr(A: Tensor) -> tuple[Tensor, Tensor]:
    """QR that keeps apart what exact zeros keep apart (diagonals, blocks): a leak of 1e-16 would grow with depth."""
    Q, R = torch.linalg.qr(A)
    if A.count_nonzero() == A.numel():
        return Q, R
    filled = A.count_nonzero(dim=1)
    if ((filled > 0) & (filled < A.shape[1])).any():  # zeros inside a row
        pattern = (A != 0).to(A.dtype)
        linked = pattern @ pattern.T  # rows that share a column, then rows linked through other rows
        for _ in range(len(A).bit_length()):
            linked = (linked @ linked).sign()
        block = linked[Q.abs().argmax(dim=0)].T > 0  # the rows that each column of Q belongs to
        Q = Q.where(block | (Q.abs() > _EPS**0.5), 0)
        R = R.where((Q != 0).to(A.dtype).T @ pattern > 0, 0)
    return Q, R


def _rank_revealing_qr(J: Tensor, Q: Tensor) -> tuple[Tensor, Tensor]:
    """J Q = Q' R with as many rows of R as the rank of J Q, whatever the scales of the rows of J.

    Householder QR is accurate row by row if the rows descend in size (Cox & Higham 1998, *Stability of Householder QR
    factorization for weighted least squares problems*). The rank is that of the rows relative to those of J, because
    rounding leaves about 2.2e-16 of a row of J where the product with Q is zero.
    """
    size = J.abs().sum(dim=1)
    rows = size.argsort(descending=True)[: int(size.count_nonzero())]
    size, A = size[rows, None], (J @ Q)[rows]
    image, R = _qr(A)
    k = image.shape[1]
    if (R.diagonal().abs() <= _EPS**0.5 * size[:k, 0]).any():
        U, S, Vh = torch.linalg.svd(A / size, full_matrices=False)
        rank = int((4 * max(J.shape) * _EPS < S).sum())
        if rank < k:
            image, R = _qr(size * U[:, :rank])
            R = R @ (S[:rank, None] * Vh[:rank])
    return J.new_zeros(len(J), len(R)).index_copy(0, rows, image), R


def _multiplied_out(triangles: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The product as diag(e^logs) V with unit rows V; no exponent below is above 0, so nothing overflows."""
    n = len(triangles[-1])
    V = torch.eye(n, dtype=triangles[-1].dtype, device=triangles[-1].device)
    logs = V.new_zeros(n)
    if n == 0:  # every direction is lost
        return logs, V
    for R in triangles:
        reach = logs.where(R != 0, -math.inf)
        largest = reach.amax(dim=1)
        V = (R * (reach - largest[:, None]).exp()) @ V
        norm = V.norm(dim=1)
        V, logs = V / norm[:, None], largest + norm.log()
    return logs, V


def _jacobi(logs: Tensor, V: Tensor) -> Tensor:
    """Logarithms of the singular values of diag(e^logs) V, V with unit rows, by one-sided Jacobi.

    Of a pair of rows p is the larger; rho = e^(logs_q - logs_p) <= 1, and c is the cosine between them. The rotation by
    theta, tan(theta) = rho tau, makes them orthogonal; scaled as V is, they become p + rho^2 tau q and q - tau p.
    """
    logs, V = logs.clone(), V.clone()
    n, row = len(V), torch.arange(len(V), device=V.device)
    for _ in range(40):  # 3 to 8 sweeps are usual
        converged = True
        for s in range(n):  # the pairs with i + j = s (mod n) are disjoint, so they rotate together
            partner = (s - row) % n
            i, j = row[row < partner], partner[row < partner]
            p, q = torch.where(logs[i] >= logs[j], i, j), torch.where(logs[i] >= logs[j], j, i)
            c = (V[p] * V[q]).sum(dim=1)
            converged &= bool((c.abs() <= 4 * n * _EPS).all())
            gap = logs[q] - logs[p]
            rho, d = gap.exp(), -torch.expm1(2 * gap)  # d = 1 - rho^2
            tau = 2 * c / (d + torch.hypot(d, 2 * rho * c)).clamp_min(torch.finfo(c.dtype).tiny)
            log_cos = -0.5 * torch.log1p((rho * tau) ** 2)
            V[p], V[q] = V[p] + (rho**2 * tau)[:, None] * V[q], V[q] - tau[:, None] * V[p]
            norm = V.norm(dim=1)
            V /= norm[:, None]
            logs += norm.log()
            logs[p] += log_cos
            logs[q] += log_cos
        if converged:
            break
    return logs

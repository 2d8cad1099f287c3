"""Public reports: losses, distances, angles, and functions whose slope is not finite."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cases import Step, case, data, net, of_output, squares


@case("pytorch/pytorch #68425, #52248, #108618, #156212", "backward", "exp", module="fault")
def elu_by_hand() -> Step:
    """ELU by hand: where hides the exp that overflows, not its slope."""
    return squares(lambda h: torch.where(h > 0, h, torch.exp(h + 200 * (h > 0)) - 1))  # here


@case("pytorch/pytorch #36923", "backward", "div", module="fault")
def quotient_behind_where() -> Step:
    """0/0 behind where."""
    return squares(lambda h: torch.where(h > 0, h * (h > 0) / (h * (h > 0)), 0 * h))  # here


@case("papagina/RotationContinuity #11", "backward", "acos")
def geodesic() -> Step:
    """The angle between a rotation and itself."""

    def loss(h: Tensor) -> Tensor:
        R = torch.linalg.qr(h[:3, :3])[0]
        cosine = ((R @ R.mT).diagonal().sum() - 1) / 2
        return torch.acos(cosine.clamp(-1, 1) + (1 - cosine).detach())  # here

    return of_output(loss)


@case("kornia/kornia #4228", "backward", "sqrt", "acos", "div")
def quaternion_log() -> Step:
    """The logarithm of the unit quaternion."""

    def loss(h: Tensor) -> Tensor:
        v, w = h[:, :3] * 0, 1 + h[:, 3] * 0
        size = torch.sqrt(v.square().sum(-1))  # here
        log = torch.where((size > 1e-8)[:, None], v * (torch.acos(w) / size)[:, None], v)  # here
        return log.sum()

    return of_output(loss)


@case("pytorch/audio #993, KinWaiCheuk/nnAudio #138", "backward", "pow", "sqrt")
def silent_spectrogram() -> Step:
    """The magnitude of a spectrogram of silence, as a power of a half."""

    def loss(h: Tensor) -> Tensor:
        z = torch.view_as_real(torch.stft(h.flatten() * 0, 16, window=torch.ones(16), return_complex=True))
        return z.pow(2).sum(-1).pow(0.5).mean()  # here

    return of_output(loss)


@case("NEGU93/cvnn #12", "none")
def angle_of_nothing() -> Step:
    """atan2(0, 0): its slope is 0 in present torch."""
    return of_output(lambda h: torch.atan2(h * 0, h * 0).sum())


@case("pytorch/pytorch #4320", "none")
def std_of_constant() -> Step:
    """The standard deviation of a constant: its slope is 0 in present torch."""
    return of_output(lambda h: (h * 0).std(1).sum())


@case("ziwei-jiang/PGGAN-PyTorch #1, pytorch/pytorch #29372", "forward", "std", module="fault")
def minibatch_std() -> Step:
    """The deviation over a last batch of one."""
    model, x = net(lambda h: h + h.std(0).mean()), data(1)  # here
    return Step(model, lambda: model(x).square().mean())


@case("aiff22/PyNET-PyTorch #7", "forward", "pow")
def ms_ssim() -> Step:
    """A negative similarity to a fractional power."""
    return of_output(lambda h: 1 - (h.mean(1) - 1).pow(0.0448).mean())  # here


@case("pytorch/pytorch #49886", "backward", "svd")
def repeated_singular_values() -> Step:
    """The singular vectors of a multiple of the identity."""

    def loss(h: Tensor) -> Tensor:
        U, _, Vh = torch.linalg.svd(torch.eye(4) + h[:4, :4] * 0)  # here
        return U[0, 1] + Vh.square()[0, 0]

    return of_output(loss)


@case("pytorch/pytorch #75181, #70348, #116349", "forward", "cross_entropy")
def all_ignored() -> Step:
    """Cross-entropy where every label is ignored."""
    return of_output(lambda h: F.cross_entropy(h, torch.full((8,), -100)))  # here


@case("ypwhs/captcha_break #29, pytorch/pytorch #14401", "forward", "ctc_loss")
def ctc() -> Step:
    """A target longer than the input."""

    def loss(h: Tensor) -> Tensor:
        log_p, target = h.log_softmax(-1)[:, None], torch.ones(1, 9, dtype=torch.long)
        return F.ctc_loss(log_p, target, torch.tensor([8]), torch.tensor([9]))  # here

    return of_output(loss)


@case("vanderschaarlab/synthcity #331, AntixK/PyTorch-VAE #16", "forward", "exp")
def kl_of_vae() -> Step:
    """The exp of a logarithm of a variance."""
    return of_output(lambda h: (torch.exp(h * 500) + h.square() - 1 - h).mean())  # here


def _chain(step: Any) -> Step:
    """Two steps of a chain of three states, one of which cannot be reached."""

    def loss(h: Tensor) -> Tensor:
        alpha = h[0, :3]
        off = torch.zeros(3, 3)
        off[:, 1] = -torch.inf
        for t in (1, 2):
            alpha = step(alpha, off + h[t, :3])
        return -alpha[0]

    return of_output(loss)


@case("pytorch/pytorch #31829, allenai/allennlp #4478", "backward", "logsumexp")
def unreachable_state() -> Step:
    """A conditional random field with a state that nothing reaches."""
    return _chain(lambda alpha, score: torch.logsumexp(alpha[:, None] + score, 0))  # here


@case("pytorch/pytorch #49724", "backward", "logaddexp")
def logaddexp_twice() -> Step:
    """logaddexp of two minus Inf."""

    def loss(h: Tensor) -> Tensor:
        nothing = h[:, 0] + torch.tensor(-torch.inf)
        both = torch.logaddexp(nothing, nothing)  # here
        return torch.where(both.isfinite(), both, h[:, 1]).sum()

    return of_output(loss)


@case("DLR-RM/stable-baselines3 #1593, hill-a/stable-baselines #1143", "forward", "exp")
def importance_ratio() -> Step:
    """PPO's ratio, as exp of a difference of logarithms."""

    def loss(h: Tensor) -> Tensor:
        ratio = torch.exp(h[:, 0] * 9 + 90)  # here
        return torch.max(ratio * h[:, 1].detach(), ratio.clamp(0.8, 1.2)).mean()

    return of_output(loss)


@case("leggedrobotics/legged_gym #16, ray-project/ray #46442, thu-ml/tianshou #400", "forward", "div", module="fault")
def normal_of_nan() -> Step:
    """Observations divided by a deviation of 0: torch.distributions raises."""
    model, x = net(lambda h: (h - h) / (h - h).abs().mean()), data()  # here
    return Step(model, lambda: -torch.distributions.Normal(model(x), 1.0).log_prob(torch.zeros(8, 3)).mean())


# ---------------------------------------------------------------------------------------------- without one number


@case("without one number: distances of a triplet", "backward", "sqrt")
def triplet() -> Step:
    """The distance of an anchor to itself."""

    def loss(h: Tensor) -> Tensor:
        far = torch.sqrt((h[:, None] - h[None]).square().sum(-1))  # here
        return far.mean()

    return of_output(loss)


@case("without one number: SupCon, no positives", "forward", "div")
def supcon_positives() -> Step:
    """The mean over the positives of an anchor that has none."""

    def loss(h: Tensor) -> Tensor:
        log_p, positive = torch.log_softmax(h @ h.T, -1), torch.zeros(8, 8)
        return -((positive * log_p).sum(1) / positive.sum(1)).mean()  # here

    return of_output(loss)


@case("without one number: SupCon, temperature", "forward", "exp")
def supcon_temperature() -> Step:
    """The exp of a similarity over a small temperature."""

    def loss(h: Tensor) -> Tensor:
        z = F.normalize(h, dim=-1)
        e = torch.exp(z @ z.T / 0.01)  # here
        return -(e.diagonal() / e.sum(1)).log().mean()

    return of_output(loss)


@case("without one number: focal loss", "forward", "log")
def focal() -> Step:
    """The log of a probability that underflowed."""

    def loss(h: Tensor) -> Tensor:
        p = torch.softmax(h * 1e4, -1)
        return -((1 - p) ** 2 * torch.log(p)).sum(-1).mean()  # here

    return of_output(loss)


@case("without one number: Sinkhorn", "forward", "div", "reciprocal")
def sinkhorn() -> Step:
    """A kernel that underflows to 0, and 1 over its sums."""

    def loss(h: Tensor) -> Tensor:
        K = torch.exp(-(h.square() + 1) / 1e-3)
        u = 1 / K.sum(1)  # here
        return (u[:, None] * K).sum()

    return of_output(loss)


@case("without one number: SAC, log-probability", "forward", "log")
def sac() -> Step:
    """The log of 1 - tanh(x)^2, saturated."""
    return of_output(lambda h: torch.log(1 - torch.tanh(h + 40).square()).mean())  # here


@case("without one number: log-mel", "forward", "log")
def log_mel() -> Step:
    """The log of the energy of silence."""
    return of_output(lambda h: torch.log((h * 0).square()).mean())  # here


@case("without one number: kl_div", "forward", "log")
def kl_div() -> Step:
    """The log of a softmax that underflowed."""

    def loss(h: Tensor) -> Tensor:
        log_p = torch.log(torch.softmax(h * 1e4, -1))  # here
        return F.kl_div(log_p, torch.full((8, 8), 0.125), reduction="batchmean")

    return of_output(loss)


@case("without one number: Poisson likelihood", "forward", "exp", "poisson_nll_loss")
def poisson() -> Step:
    """A log rate of a hundred."""
    return of_output(lambda h: F.poisson_nll_loss(h + 100, torch.ones(8, 8)))  # here


@case("without one number: z / |z|", "forward", "div", module="fault")
def phase_of_zero() -> Step:
    """The phase of a complex 0."""

    def phase(h: Tensor) -> Tensor:
        z = torch.complex(h * 0, h * 0)
        return (z / z.abs()).real  # here

    return squares(phase)


@case("without one number: advantages of one step", "forward", "std")
def advantages() -> Step:
    """Advantages over their deviation, of a single one."""

    def loss(h: Tensor) -> Tensor:
        a = h[:1, 0]
        return ((a - a.mean()) / (a.std() + 1e-8)).mean()  # here

    return of_output(loss)


@case("without one number: no positives", "forward", "div")
def no_positives() -> Step:
    """A loss over the number of positive anchors, 0 of them."""
    return of_output(lambda h: (h[:, 0] * 0).sum() / torch.zeros(8).sum())  # here


@case("without one number: a padding row normalised", "forward", "div", module="fault")
def padding_row() -> Step:
    """A row of zeros over its norm."""
    keep = torch.ones(8, 1)
    keep[3] = 0
    return squares(lambda h: (h * keep) / (h * keep).norm(dim=-1, keepdim=True))  # here


@case("without one number: E[x^2] - E[x]^2", "forward", "sqrt")
def negative_variance() -> Step:
    """A variance that rounding makes negative."""

    def loss(h: Tensor) -> Tensor:
        x = 4096 + h[0, :3] * 1e-4
        return torch.sqrt(x.square().mean() - x.mean().square() - 1)  # here

    return of_output(loss)


@case("without one number: NaN in the data", "input", "linear", module="first")
def nan_data() -> Step:
    """A NaN in one sample."""
    model, x = net(torch.tanh), data()
    x[5, 2] = torch.nan
    return Step(model, lambda: model(x).square().mean())  # here


@case("without one number: Inf as a target", "input", "mse_loss", "sub")
def inf_target() -> Step:
    """An Inf among the targets."""
    y = torch.randn(8, 8)
    y[1, 1] = torch.inf
    return of_output(lambda h: F.mse_loss(h, y))  # here


class _Reciprocal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad / (ctx.saved_tensors[0] * 0)  # here


@case("without one number: a derivative of one's own", "backward", "_Reciprocal", "Reciprocal", module="fault")
def own_derivative() -> Step:
    """A torch.autograd.Function whose derivative divides by 0."""
    return squares(lambda h: _Reciprocal.apply(h))


@case("without one number: an RNN blows up", "forward", "rnn_relu", "rnn", module="rnn")
def recurrent() -> Step:
    """A recurrent network with ReLU, a hundred steps and large weights."""

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.RNN(4, 8, nonlinearity="relu", batch_first=True), nn.Linear(8, 1)
            with torch.no_grad():
                self.rnn.weight_hh_l0.copy_(torch.eye(8) * 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(x)[0][:, -1])  # here

    model, x = Recurrent(), torch.rand(2, 100, 4) + 1
    return Step(model, lambda: model(x).square().mean())


# ------------------------------------------------------------- found and chosen before any of them was run


@case("mihaidusmanu/d2-net #78", "forward", "div")
def depth_wise_maximum() -> Step:
    """A descriptor over its largest entry, 0 after a ReLU."""

    def loss(h: Tensor) -> Tensor:
        d = torch.relu(h - 9)
        return (d / d.amax(1, keepdim=True)).mean()  # here

    return of_output(loss)


@case("meituan/YOLOv6 #582", "forward", "div")
def siou() -> Step:
    """SIoU where two boxes have the same centre."""

    def loss(h: Tensor) -> Tensor:
        dx, dy = h[:, 0] * 0, h[:, 1] * 0
        sine = dx.abs() / (dx.square() + dy.square()).pow(0.5)  # here
        return sine.mean()

    return of_output(loss)


@case("open-mmlab/mmdetection #3394", "forward", "div")
def box_without_area() -> Step:
    """IoU of predicted boxes without an area, over the prediction's own."""

    def loss(h: Tensor) -> Tensor:
        area = (h[:, 2] - h[:, 2]) * (h[:, 3] - h[:, 3])
        return (torch.minimum(area, torch.ones(8)) / area).mean()  # here

    return of_output(loss)


@case("ronghuaiyang/arcface-pytorch #91", "backward", "sqrt")
def arcface() -> Step:
    """The sine of an angle whose cosine is 1."""

    def loss(h: Tensor) -> Tensor:
        cosine = F.cosine_similarity(h, h).clamp(max=1) * 0 + 1
        return torch.sqrt(1 - cosine.square()).mean()  # here

    return of_output(loss)


@case("rickgroen/cov-weighting #3", "forward", "div")
def vanished_loss() -> Step:
    """A loss over its own mean, once it has become 0."""

    def loss(h: Tensor) -> Tensor:
        part = torch.relu(h - 9).mean()
        return h.square().mean() + part / part.detach()  # here

    return of_output(loss)


@case("SakuraRiven/EAST #2", "forward", "div")
def no_text() -> Step:
    """A Dice loss, nothing predicted and nothing to find."""

    def loss(h: Tensor) -> Tensor:
        p, y = torch.relu(h - 9), torch.zeros(8, 8)
        return 1 - 2 * (p * y).sum() / (p.sum() + y.sum())  # here

    return of_output(loss)


@case("facebookresearch/fairchem #1574", "none")
def aligned_edge() -> Step:
    """The angle of an edge so small that its squares underflow: its slope is 0 in present torch."""
    return of_output(lambda h: torch.atan2(h * 1e-30, h * 1e-30).sum())


@case("tonyduan/mixture-density-network #4", "backward", "log")
def mixture() -> Step:
    """The log of a mixture's weights, one of them 0."""
    return of_output(lambda h: (torch.log(torch.softmax(h * 1e4, -1)) + h).logsumexp(-1).sum())  # here


@case("cornellius-gp/gpytorch #869", "none")
def squared_distance() -> Step:
    """The square of cdist at equal points: its slope is 0 in present torch."""
    return of_output(lambda h: torch.cdist(h, h).square().sum())


@case("pythonlessons/TensorFlow-2.x-YOLOv3 #144", "backward", "div", "atan")
def ciou() -> Step:
    """The aspect ratio of a box without height."""

    def loss(h: Tensor) -> Tensor:
        w, height = h[:, 2].square(), h[:, 3] * 0
        return torch.atan(w / height).mean()  # here

    return of_output(loss)

"""Public reports: attention, masks, normalisation, half precision, optimisers."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cases import Fn, Step, case, data, net, squares


class Attention(nn.Module):
    """One attention and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.att, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor, pad: Tensor, causal: bool = False) -> Tensor:
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1) if causal else None
        return self.head(self.att(x, x, x, key_padding_mask=pad, attn_mask=mask)[0])  # here


@case("pytorch/pytorch #41508", "backward", "softmax", module="att")
def left_padding() -> Step:
    """nn.MultiheadAttention, causal and padded on the left, loss on the valid rows."""
    model, x, pad = Attention(), torch.randn(2, 5, 8), torch.zeros(2, 5, dtype=torch.bool)
    pad[0, :2] = True
    return Step(model, lambda: model(x, pad, True)[~pad].square().mean())


@case("pytorch/pytorch #27968, #63271", "forward", "softmax", module="att")
def padded_sample() -> Step:
    """nn.MultiheadAttention, one sample all padding."""
    model, x, pad = Attention(), torch.randn(3, 5, 8), torch.zeros(3, 5, dtype=torch.bool)
    pad[1] = True
    return Step(model, lambda: model(x, pad).square().mean())


class Fused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj, self.head = nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        q, k, v = self.proj(x).chunk(3, -1)  # here
        return self.head(F.scaled_dot_product_attention(q, k, v, attn_mask=keep))


@case("pytorch/pytorch #103963, #119320", "none")
def fused_masked_row() -> Step:
    """scaled_dot_product_attention, a row without a key: 0 in present torch."""
    model, x, keep = Fused(), torch.randn(2, 4, 8), torch.ones(2, 4, 4, dtype=torch.bool)
    keep[0, 1] = False
    return Step(model, lambda: model(x, keep).square().mean())


@case("pytorch/pytorch #101967", "input", "linear", module="proj")
def nan_padding() -> Step:
    """NaN in the padding, masked out."""
    model, x, keep = Fused(), torch.randn(2, 4, 8), torch.ones(2, 4, 4, dtype=torch.bool)
    x[0, 3] = torch.nan
    keep[0, :, 3] = False
    return Step(model, lambda: model(x, keep)[:, :3].square().mean())


class Scores(nn.Module):
    """Attention by hand, with a mask that is added."""

    def __init__(self, dtype: torch.dtype, planes: int) -> None:
        super().__init__()
        self.q, self.k, self.planes = nn.Linear(8, 8), nn.Linear(8, 8), planes
        self.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.q(x) @ self.k(x).mT
        lowest = torch.finfo(x.dtype).min
        mask = torch.zeros_like(scores)
        mask[:, 0] = lowest
        if self.planes == 2:
            mask = mask + mask  # here
        scores = scores - 40 + mask if self.planes == 1 else scores + mask  # here
        return torch.softmax(scores, -1) @ x  # here


@case("huggingface/transformers #25311, #17306, #27179", "forward", "add", "softmax")
def lowest_plus_score() -> Step:
    """fp16: the lowest number plus a negative score, a whole row of it."""
    model, x = Scores(torch.float16, 1), torch.randn(2, 4, 8).half()
    return Step(model, lambda: model(x).float().square().mean())


@case("NVIDIA-NeMo/Automodel #2658", "forward", "add", "softmax")
def two_planes() -> Step:
    """bf16: two masks of the lowest number added."""
    model, x = Scores(torch.bfloat16, 2), torch.randn(2, 4, 8).bfloat16()
    return Step(model, lambda: model(x).float().square().mean())


@case("allenai/allennlp #890", "forward", "log_softmax", "log", module="fault")
def masked_log_softmax() -> Step:
    """The log of a mask that is 0 throughout a row."""
    mask = torch.ones(8, 8)
    mask[2] = 0
    return squares(lambda h: torch.log_softmax(h + mask.log(), -1).clamp(min=-9))  # here


@case("pyg-team/pytorch_geometric #7899", "forward", "softmax", module="fault")
def empty_set() -> Step:
    """Attention over the members of a set that has none."""
    member = torch.zeros(8, 8, dtype=torch.bool)
    member[:4, :4] = member[5:, 4:] = True

    def pool(h: Tensor) -> Tensor:
        return torch.softmax((h @ h.T).masked_fill(~member, -torch.inf), -1) @ h  # here

    return squares(pool)


@case("pyg-team/pytorch_geometric #8726", "backward", "log", module="fault")
def product_of_zeros() -> Step:
    """A product taken as exp of a sum of logs, with a factor 0."""
    keep = torch.ones(8)
    keep[0] = 0
    return squares(lambda h: torch.exp(torch.cumsum(torch.log(h.square() * keep), -1)))  # here


@case("pytorch/pytorch #32137, huggingface/diffusers #13316", "forward", "div", "normalize", module="fault")
def normalize_half() -> Step:
    """F.normalize of a zero row in fp16, where its eps is 0."""
    return squares(lambda h: F.normalize(h * 0, dim=-1), torch.float16)  # here


@case("pytorch/pytorch #41527", "backward", "layer_norm", module="fault")
def layer_norm_half() -> Step:
    """Layer norm of zeros in fp16 with eps 1e-12: only its slope is Inf in present torch."""
    return squares(lambda h: F.layer_norm(h * 0, (8,), eps=1e-12), torch.float16)  # here


@case("xlite-dev/LeetCUDA #335, pytorch/pytorch #66707", "forward", "rsqrt", "mul", module="fault")
def rms_without_eps() -> Step:
    """RMS norm without eps, of zeros."""
    return squares(lambda h: (h * 0) * torch.rsqrt((h * 0).square().mean(-1, keepdim=True)))  # here


class Normed(nn.Module):
    def __init__(self, parametrization: str) -> None:
        super().__init__()
        self.lin = nn.Linear(6, 4)
        with torch.no_grad():
            self.lin.weight[1 if parametrization == "weight_norm" else slice(None)] = 0
        getattr(nn.utils.parametrizations, parametrization)(self.lin)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin(x)  # here


@case("pytorch/pytorch #19126, KohakuBlueleaf/LyCORIS #166", "forward", "weight_norm", "weight_norm_interface", "div",
      module="lin.parametrizations.weight.0")  # fmt: skip
def weight_norm() -> Step:
    """Weight norm of a zero row."""
    model, x = Normed("weight_norm"), data()
    return Step(model, lambda: model(x).square().mean())


@case("without one number: spectral norm of 0", "forward", "div", module="lin.parametrizations.weight.0")
def spectral_norm() -> Step:
    """Spectral norm of a zero matrix."""
    model, x = Normed("spectral_norm"), data()
    return Step(model, lambda: model(x).square().mean())


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.wi, self.wo = nn.LayerNorm(8), nn.Linear(8, 32), nn.Linear(32, 8)
        with torch.no_grad():
            self.wi.weight.mul_(300)
            self.wo.weight.fill_(900.0)

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.wo(torch.relu(self.wi(self.norm(h))))  # here
        return self.norm(h)


@case("huggingface/transformers #5651, #9295, #14189", "forward", "linear", module="fault.function.wo")
def t5_feed_forward() -> Step:
    """T5 in fp16: the second matrix of a feed-forward block overflows."""
    return squares(FeedForward(), torch.float16)


class ConvNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x)  # here
        return self.head(self.bn(h).mean((2, 3)))  # here


@case("pytorch/pytorch #90342", "forward", "conv2d", "conv", module="conv")
def conv_overflow() -> Step:
    """A convolution that overflows in fp16 under autocast, before a batch norm."""
    model, x = ConvNorm(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        model.conv.weight.mul_(1e6)

    def loss() -> Tensor:
        with torch.autocast("cpu", torch.float16):
            return model(x).float().square().mean()

    return Step(model, loss)


@case(
    "pytorch/pytorch #1206, facebookresearch/SparseConvNet #190",
    "buffer",
    "batch_norm",
    module="bn",
    tensor="bn.running_var",
)
def running_variance() -> Step:
    """Evaluation with a running variance that is NaN."""
    model, x = ConvNorm().eval(), torch.randn(2, 3, 8, 8)
    model.bn.running_var[1] = torch.nan  # type: ignore[index]
    return Step(model, lambda: model(x).square().mean())


@case("pytorch/pytorch #40497, NVIDIA/apex #318", "backward", "sqrt", module="fault")
def root_under_a_scaler() -> Step:
    """The slope of a root at 0, under a GradScaler."""
    step = squares(lambda h: torch.sqrt((h * 0).square()))  # here
    optimizer = torch.optim.SGD(step.model.parameters(), lr=0.1)
    return Step(step.model, step.loss, optimizer, torch.amp.GradScaler("cpu"))


@case(
    "afiaka87/glide-finetune #5, NVIDIA/apex #240, google-deepmind/optax #1754",
    "optimiser",
    "Adam.step",
    module="first",
)
def adam_half() -> Step:
    """Adam in fp16: eps 1e-8 is 0 there, and so are small squares."""
    model, x = nn.Sequential(OrderedDict(first=nn.Linear(6, 3))).half(), data().half()
    x[:, 0] = 0
    return Step(model, lambda: model(x).float().square().mean(), torch.optim.Adam(model.parameters(), foreach=False))


@case("chelsea0x3b/dfdx #748, facebookresearch/habitat-lab #2226, pytorch/pytorch #46849", "forward", "sum", "square")
def sum_of_squares() -> Step:
    """A sum of squares that overflows in fp16."""
    model, x = net(torch.tanh).half(), data(64).half()
    return Step(model, lambda: (model(x) * 60).square().sum().float())  # here


@case("without one number: gumbel noise in fp16", "forward", "log", module="fault")
def gumbel_half() -> Step:
    """Gumbel noise in fp16: a uniform number that rounds to 1."""
    u = torch.full((8, 8), 0.5).half()
    u[0, 0] = 0.99999
    return squares(lambda h: torch.softmax(h - torch.log(-torch.log(u)), -1), torch.float16)  # here


@case("without one number: LBFGS", "optimiser", "LBFGS.step", module="first")
def lbfgs() -> Step:
    """LBFGS with a step that leaves the numbers."""
    model, x = nn.Sequential(OrderedDict(first=nn.Linear(6, 3))), data()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=1e30)
    return Step(model, lambda: model(x).square().mean(), optimizer)


def _diverging(rate: float) -> Step:
    model, x = nn.Sequential(OrderedDict(first=nn.Linear(6, 3))), data()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    return Step(model, lambda: model(x).square().mean(), optimizer)


@case("without one number: a learning rate that is NaN", "optimiser", "SGD.step", module="first")
def rate_nan() -> Step:
    """A schedule that gives NaN."""
    return _diverging(float("nan"))


@case("without one number: SGD diverges", "optimiser", "SGD.step")
def diverged() -> Step:
    """A learning rate so large that the next loss overflows."""
    return _diverging(1e25)


@case("without one number: all weights NaN", "parameter", "linear", module="first", tensor="first.")
def all_nan() -> Step:
    """A model that an earlier step spoiled."""
    model, x = net(torch.tanh), data()
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(torch.nan)
    return Step(model, lambda: model(x).square().mean())  # here


@case("without one number: a NaN row of an embedding", "parameter", "embedding", module="emb", tensor="emb.weight")
def sparse_embedding() -> Step:
    """An embedding with sparse gradients, one row of it NaN."""

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.head = nn.Embedding(9, 4, sparse=True), nn.Linear(4, 2)

        def forward(self, i: Tensor) -> Tensor:
            return self.head(self.emb(i))  # here

    model, i = Bag(), torch.arange(9)
    with torch.no_grad():
        model.emb.weight[4] = torch.nan
    return Step(model, lambda: model(i).square().mean())


@case("alarming, and sound: a causal mask", "none")
def causal() -> Step:
    """Minus Inf above the diagonal."""
    mask = torch.full((8, 8), -torch.inf).triu(1)
    return squares(lambda h: torch.softmax(h @ h.T + mask, -1) @ h)


@case("alarming, and sound: a scaler that looks for its scale", "none")
def scale_alone() -> Step:
    """Gradients overflow by the loss scale alone."""
    step = squares(lambda h: h * 50, torch.float16)
    optimizer = torch.optim.SGD(step.model.parameters(), lr=1e-3)
    return Step(step.model, step.loss, optimizer, torch.amp.GradScaler("cpu", init_scale=2.0**20))


@case("alarming, and sound: classes masked out of a loss", "none")
def masked_classes() -> Step:
    """Minus Inf for a class that no target has."""
    model, x, y = net(torch.tanh), data(), torch.arange(8) % 2
    off = torch.tensor([0.0, 0.0, -torch.inf])
    return Step(model, lambda: F.cross_entropy(model(x) + off, y))


@case("alarming, and sound: a log of 0 that a mask drops", "none")
def dropped_log() -> Step:
    """A log of 0 that is indexed away."""
    module = Fn(lambda h: torch.log(torch.relu(h) + (h <= 0)))
    return squares(module)

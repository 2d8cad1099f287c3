"""What watching a training step costs on a GPU, beside a plain step there.

Seconds of the clock, from an idle GPU to an idle GPU. Small models wait for the host, which starts one kernel after the other; a tool
that starts kernels of its own costs most there, and one that reads a number makes the host wait for the GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .extra import extra
from .monitor import BLOG, MODELS, OURS, THEIRS, LanguageModel, Make, gpt2_small, own_rows, peer_row, ratios
from .table import PeerMissing, Row, version

TITLE = "Monitor on a GPU"


def gpt2_long() -> tuple[nn.Module, Tensor, Tensor]:
    """The published size on its whole context."""
    return LanguageModel(), torch.randint(50257, (8, 1024)), torch.randint(50257, (8, 1024))


def rows_of(name: str, make: Make, rounds: int) -> list[Row | str]:
    plain, found = ratios(make, rounds, OURS | {BLOG: (THEIRS[BLOG][0], 6)}, "cuda", times=2)
    return [*own_rows(name, plain, found), peer_row(name, plain, found, BLOG)]


def rows(rounds: int = 5) -> list[Row | str]:
    if not torch.cuda.is_available():
        raise PeerMissing("no GPU on this machine")
    extra("transformers")
    large = {"GPT-2 small, 8 × 1024 tokens": gpt2_long, "GPT-2 small, 4 × 128 tokens": gpt2_small}
    made = [row for name, make in (large | MODELS).items() for row in rows_of(name, make, rounds)]
    return [*made, f"{torch.cuda.get_device_name()}, {version('torch')}."]

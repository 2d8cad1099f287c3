"""Small models of transformers, timm and torchvision: the monitor's alarms where all is sound, and planted faults that the finder names."""

from __future__ import annotations

import warnings
from functools import partial

import torch

from labs.monitor import StabilityMonitor, find_nonfinite_origin, stability_report

from .planted import PLANTED, planted
from .table import Row, version
from .zoo import ZOO, Made, loss_of

TITLE = "Other people's models"


def verdicts(made: Made, steps: int = 20) -> list[str]:
    """Of a fresh model, of the first and last of so many steps with AdamW at 1e-3, and after them."""
    model, batch, loss = made
    found = [stability_report(model, batch, loss).verdict]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with StabilityMonitor(model, every=steps - 1) as monitor:
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(model, batch, loss).backward()
            optimizer.step()
            monitor.step()
    return [*found, *(report.verdict for report in monitor.history), stability_report(model, batch, loss).verdict]


def rows() -> list[Row | str]:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    told: dict[str, list[str]] = {}
    silent = 0
    for name, make in ZOO.items():
        torch.manual_seed(0)
        made = make()
        told[name] = verdicts(made)
        model, batch, loss = made
        silent += not find_nonfinite_origin(model, partial(loss_of, model, batch, loss))
    alarms = {name: [v for v in found if v != "healthy"] for name, found in told.items() if set(found) != {"healthy"}}
    trials = sum(map(len, told.values()))
    lines = [
        f"{len(ZOO)} models, {trials} reports, false alarms: {sum(map(len, alarms.values()))} ({alarms or 'none'}).".replace(
            "'", ""
        )
    ]
    lines.append(f"The finder is silent on {silent} of {len(ZOO)} of them.")
    wrong, tried = [], 0
    for name, make in ZOO.items():
        for seed, kind in enumerate(PLANTED):
            if found := planted(make, kind, seed):
                tried += 1
                if not found[0].found(found[1]):
                    wrong.append(f"{kind} in {name}: {found[1].phase} {found[1].operation} {found[1].module}")
    lines.append(
        f"Of {tried} faults planted at a random layer ({', '.join(PLANTED)}), the finder names {tried - len(wrong)} exactly"
        + "".join(f"; not: {w}" for w in wrong) + "."
    )  # fmt: skip
    return [*lines, f"{version('transformers')}, {version('timm')}, {version('torchvision')}."]

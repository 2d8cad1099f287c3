"""Callbacks beside the real libraries; numbers for loggers, valid JSON, and plots."""

from __future__ import annotations

import contextlib
import json
import math
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn.functional as F
from support import ROOT, library
from torch import nn

from labs.monitor import LayerReport, StabilityMonitor, StabilityReport
from labs.monitor.callbacks import AccelerateMonitor, lightning_callback, trainer_callback
from labs.monitor.series import plot, scalars


def net(depth: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    hidden = [layer for _ in range(depth) for layer in (nn.Linear(8, 8), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(8, 3))


def dataset() -> torch.utils.data.TensorDataset:
    g = torch.Generator().manual_seed(1)
    return torch.utils.data.TensorDataset(torch.randn(64, 8, generator=g), torch.arange(64) % 3)


def by_hand(every: int, steps: int, accumulate: int = 1, rate: float = 0.1) -> list[dict[str, float]]:
    """What a plain loop over the data set gives, 8 samples at a time."""
    model, batches = net(), list(torch.utils.data.DataLoader(dataset(), batch_size=8))
    optimizer, found = torch.optim.SGD(model.parameters(), lr=rate), []
    with StabilityMonitor(model, every=every) as monitor:
        for step in range(steps):
            optimizer.zero_grad()
            for x, y in (batches[(step * accumulate + i) % len(batches)] for i in range(accumulate)):
                (F.cross_entropy(model(x), y) / accumulate).backward()
            optimizer.step()
            monitor.step()
            if monitor.recorded:
                found.append(monitor.scalars())
    return found


def same(mine: list[dict[str, float]], theirs: list[dict[str, float]]) -> None:
    assert len(mine) == len(theirs) > 0
    for a, b in zip(mine, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def lightning_module(lightning: Any) -> Any:
    """The net as Lightning has it: its training step is a method."""

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Module()


@pytest.mark.rehearsal
def test_lightning() -> None:
    """The numbers of the plain loop, in the logger, with accumulated gradients; a training step that is a method."""
    lightning = library("lightning.pytorch")

    class Log(lightning.loggers.logger.Logger):
        name, version, rows = "log", 0, []

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            self.rows.append((step, metrics))

        def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
            pass

    callback, log = lightning_callback(every=2), Log()
    quiet = dict.fromkeys(("enable_progress_bar", "enable_checkpointing", "enable_model_summary"), False)
    trainer = lightning.Trainer(
        max_epochs=2, accumulate_grad_batches=2, logger=log, callbacks=[callback], accelerator="cpu", **quiet
    )
    trainer.fit(lightning_module(lightning), torch.utils.data.DataLoader(dataset(), batch_size=8))
    rows = [{k.replace("/net.", "/"): v for k, v in row.items()} for _, row in log.rows]
    assert [step for step, _ in log.rows] == [1, 3, 5, 7]
    same(rows, by_hand(2, 8, accumulate=2))
    assert not callback.monitor._hooks.handles


@pytest.mark.rehearsal
def test_accelerate() -> None:
    accelerate = library("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    rows: list[dict[str, float]] = []
    accelerator.log = lambda values, step=None, **_: rows.append(values)  # where its trackers would be
    model = net()
    optimizer, loader = (
        torch.optim.SGD(model.parameters(), lr=0.1),
        torch.utils.data.DataLoader(dataset(), batch_size=8),
    )
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    with AccelerateMonitor(accelerator, model, every=2) as monitor:
        for x, y in loader:
            with accelerator.accumulate(model):
                accelerator.backward(F.cross_entropy(model(x), y))
                optimizer.step()
                optimizer.zero_grad()
                monitor.step()
    same(rows, by_hand(2, 4, accumulate=2))


@pytest.mark.rehearsal
def test_trainer(tmp_path: Path) -> None:
    """Tied weights, accumulated gradients, numbers in the trainer's own log, and a warning once of what is wrong."""
    transformers = library("transformers")
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, n_positions=16))
    rows = [{"input_ids": t, "labels": t} for t in torch.randint(3, 50, (32, 8))]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=5, gradient_accumulation_steps=2, per_device_train_batch_size=2,
        report_to=[], use_cpu=True, disable_tqdm=True, logging_strategy="no", save_strategy="no", learning_rate=30.0,
        warmup_steps=0, max_grad_norm=0.0,
    )  # fmt: skip
    trainer = transformers.Trainer(model, arguments, train_dataset=rows)
    callback = trainer_callback(trainer, every=2)
    with pytest.warns(UserWarning, match="Step 0: step too large"):
        trainer.train()
    history = callback.monitor.history
    assert [report.step for report in history] == [0, 2, 4]
    logged = [row for row in trainer.state.log_history if "stability/healthy" in row]
    assert [row["stability/healthy"] for row in logged] == [float(r.verdict == "healthy") for r in history]
    assert {r.calls for r in history[0].layers} == {2}
    assert not callback.monitor._hooks.handles


def test_scalars_are_what_loggers_take() -> None:
    rows = [
        LayerReport("a.b → relu", std=0.5, dead=0.1),
        LayerReport("größe/ß x", std=math.inf, gradient=math.nan, finite=False),
        LayerReport("(model)", gradient=2.0, update_ratio=0.1, weight_gradient=1.0),
    ]
    for layers in (False, True):
        found = scalars(StabilityReport(tuple(rows), faults=("not finite",)), layers)
        assert all(type(v) is float and math.isfinite(v) for v in found.values())
        assert all(re.fullmatch(r"[A-Za-z0-9_./-]+", key) and key.count("/") == 1 for key in found)
        assert (found["stability/healthy"], found["stability/finite"]) == (0.0, 0.0)
        assert ("stability_std/a.b.relu" in found) == layers
    assert found["stability/gradient_max"] == found["stability_gradient/model"] == 2.0


@pytest.mark.parametrize("value", [1.0, math.nan, math.inf])
def test_json_is_valid(value: float) -> None:
    model = net()
    with torch.no_grad():
        model[2].weight[0, 0] = value  # type: ignore[index, operator]
    with StabilityMonitor(model, every=1) as monitor:
        F.cross_entropy(model(torch.randn(32, 8)), torch.arange(32) % 3).backward()
        monitor.step()
    assert json.loads(json.dumps(monitor.to_dict(), allow_nan=False))["layers"][0]["name"] == "0"
    json.dumps(monitor.scalars(), allow_nan=False)


@pytest.mark.slow
def test_plot_over_time() -> None:
    """Lines for a few layers, a heat map for many, nothing for a number that no layer has."""
    for depth, drawn in ((2, "lines"), (12, "collections")):
        model = net(depth)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with StabilityMonitor(model, every=2) as monitor:
            for _ in range(6):
                optimizer.zero_grad()
                F.cross_entropy(model(torch.randn(32, 8)), torch.arange(32) % 3).backward()
                optimizer.step()
                monitor.step()
        figure = monitor.plot()
        latest, signal, gradient, update = figure.axes[:4]
        assert latest.get_title() == "step 4"
        assert latest.lines[1].get_ydata()[0] == monitor.report.layers[0].gradient
        if drawn == "lines":
            assert list(signal.lines[0].get_xdata()) == [0, 2, 4]
            assert list(signal.lines[0].get_ydata()) == [report.layers[0].std for report in monitor.history]
            assert len(signal.lines) == 5 and len(gradient.lines) == len(update.lines) == 3
        else:
            shape = signal.collections[0].get_array().shape
            assert shape == (25, 3)
        plt.close(figure)
    figure = plot([StabilityReport((LayerReport("a", std=1.0),))])
    assert figure.axes[3].texts[0].get_text() == "none recorded"
    plt.close(figure)


# ------------------------------------------------------------------------------------------- what the page shows

PAGE = (ROOT / "book/appendix/watch-your-training.md").read_text("utf8")


def shown(section: str) -> str:
    """The code that the page shows in a section, for libraries that the book does not have."""
    found = re.search(rf"\(sec-watch-{section}\)=.*?```python\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.rehearsal
@pytest.mark.parametrize("section", ["trainer", "lightning", "accelerate"])
def test_what_the_page_shows(section: str, tmp_path: Path) -> None:
    """It runs as it stands, from the names that its text presupposes."""
    names: dict[str, Any] = {}
    if section == "trainer":
        transformers = library("transformers")
        sizes = {"vocab_size": 50, "n_embd": 16, "n_layer": 1, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2}
        names["model"] = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, n_positions=16))
        names["data"] = [{"input_ids": t, "labels": t} for t in torch.randint(3, 50, (64, 8))]
        names["arguments"] = transformers.TrainingArguments(
            output_dir=str(tmp_path), max_steps=12, per_device_train_batch_size=2, report_to=[], use_cpu=True,
            disable_tqdm=True, logging_strategy="no", save_strategy="no",
        )  # fmt: skip
    elif section == "lightning":
        lightning = library("lightning")

        names |= {"module": lightning_module(lightning), "loader": torch.utils.data.DataLoader(dataset(), batch_size=4)}
    else:
        library("accelerate")
        names |= {"model": net(), "loss_function": F.cross_entropy}
        names["optimizer"] = torch.optim.SGD(names["model"].parameters(), lr=0.1)
        names["loader"] = torch.utils.data.DataLoader(dataset(), batch_size=4)
    with contextlib.chdir(tmp_path):
        exec(shown(section), names)
    assert [report.step for report in names["watch"].monitor.history] == (
        [0, 10, 20, 30] if section == "lightning" else [0, 10]
    )

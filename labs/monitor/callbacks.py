"""The monitor where the loop is somebody else's: Hugging Face's Trainer and Accelerate, and Lightning.

Each records every ``every``-th step of the optimiser, sends the numbers to the loggers that the trainer has, and warns once of
each new verdict. Other arguments are those of :class:`~labs.monitor.StabilityMonitor`. The libraries are imported when called.
"""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from labs.monitor.series import scalars
from labs.monitor.watch import StabilityMonitor
from labs.words import say

__all__ = ["AccelerateMonitor", "lightning_callback", "trainer_callback"]


class _Watch:
    """A monitor that is opened late, closed by whoever comes first, and tells what is new."""

    monitor: StabilityMonitor | None = None

    def open(self, model: nn.Module, **settings: Any) -> StabilityMonitor:
        self.close()
        self.said: set[str] = set()
        self.seen = -1
        self.monitor = StabilityMonitor(model, **settings).__enter__()
        return self.monitor

    def step(self, *, layers: bool) -> dict[str, float]:
        """Close a step; its numbers if it was recorded."""
        assert self.monitor is not None
        self.monitor.step()
        if not self.monitor.recorded:
            return {}
        report = self.monitor.report
        if report.verdict not in {"healthy"} | self.said:
            self.said.add(report.verdict)
            told = say("Step {step}: {verdict}. {advice}")
            told = told.format(step=report.step, verdict=say(report.verdict), advice=report.advice)
            warnings.warn(told, stacklevel=2)
        return scalars(report, layers)

    def close(self) -> None:
        if self.monitor is not None:
            self.monitor.__exit__()


def trainer_callback(trainer: Any, every: int = 10, *, layers: bool = False, **settings: Any) -> Any:
    """Adds a callback to a ``transformers.Trainer`` and returns it; its ``monitor`` is there while and after it trains.

    The numbers go where the trainer reports to and into ``trainer.state.log_history``: those of the net, and with ``layers=True``
    those of every layer.
    """
    from transformers import TrainerCallback

    class Callback(_Watch, TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            scaler = getattr(trainer.accelerator, "scaler", None)
            self.open(trainer.model, every=every, scaler=scaler, **settings)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if numbers := self.step(layers=layers):
                trainer.log(numbers)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.close()

    callback = Callback()
    trainer.add_callback(callback)
    return callback


def lightning_callback(every: int = 10, *, layers: bool = True, **settings: Any) -> Any:
    """A callback for ``lightning.Trainer(callbacks=[…])``; its ``monitor`` is there while and after it trains."""
    try:
        from lightning.pytorch import Callback as Base
    except ModuleNotFoundError:
        from pytorch_lightning import Callback as Base  # type: ignore[no-redef]

    class Callback(_Watch, Base):  # type: ignore[misc, valid-type]
        def on_train_start(self, trainer: Any, module: Any) -> None:
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            self.open(module, every=every, scaler=scaler, **settings)
            self.steps = trainer.global_step

        def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
            if trainer.global_step == self.steps:  # gradients are still accumulated
                return
            self.steps = trainer.global_step
            if numbers := self.step(layers=layers):
                for logger in trainer.loggers:
                    logger.log_metrics(numbers, step=trainer.global_step)

        def on_train_end(self, trainer: Any, module: Any) -> None:
            self.close()

        def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
            self.close()

    return Callback()


class AccelerateMonitor(_Watch):
    """A monitor for a loop with ``accelerate``: around the loop, and ``step()`` after each ``optimizer.step()``.

    A step in which Accelerate only accumulates gradients does not count. Numbers go to ``accelerator.log``.
    """

    def __init__(
        self, accelerator: Any, model: nn.Module, every: int = 10, *, layers: bool = True, **settings: Any
    ) -> None:
        self.accelerator, self.model, self.layers = accelerator, model, layers
        self.settings = {"every": every, "scaler": getattr(accelerator, "scaler", None)} | settings
        self.count = 0

    def __enter__(self) -> AccelerateMonitor:
        self.open(self.model, **self.settings)
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def step(self) -> None:  # type: ignore[override]
        """Close this step, if the optimiser has made one."""
        if self.accelerator.sync_gradients:
            self.count += 1
            if numbers := super().step(layers=self.layers):
                self.accelerator.log(numbers, step=self.count)

r"""How healthy is *your* model: signal, gradient and update of every layer, a verdict in words, and the section that explains it.

:func:`stability_report` looks at one batch and leaves the model as it was; :class:`StabilityMonitor` watches a training
loop. Both read the outputs of the modules that compute something, and of ``relu``, ``sigmoid`` and ``tanh`` called as functions.
Where a loss or a gradient is NaN already, :func:`find_nonfinite_origin` names the operation that made it so;
:func:`~labs.monitor.trap_nonfinite` lies in wait for the step in which that happens, keeps it and hands it over.

Numbers come from 1024 entries of each tensor, spread evenly over it and its units: a share has a standard error of about
0.016 at most, and a standard deviation is within 10 % of the exact one in 99 of 100 layers of a deep ReLU net. With
``exact=True`` moments, norms and extremes come from all entries, so that a single NaN is seen; shares stay sampled, and the
gradient is also taken behind each activation, not only at the layer before it. Dead units and the test for symmetric weights
always use all entries.

What ``torch.compile`` compiled runs eagerly in recorded steps. With DDP and FSDP2 each process reports what it computes and
holds. :mod:`labs.monitor.callbacks` watches where the loop is a trainer's. Not seen: the inside of a fused module (the steps of an
``nn.LSTM``, attention scores), and functions in a segment under re-entrant checkpointing. TorchScript raises ValueError; models on
several devices are out of scope.
"""

from labs.monitor.origin import Origin, find_nonfinite_origin
from labs.monitor.report import BAND, LayerReport, StabilityReport
from labs.monitor.trap import NonFiniteError, trap_nonfinite
from labs.monitor.watch import StabilityMonitor, stability_report

__all__ = [
    "BAND",
    "LayerReport",
    "NonFiniteError",
    "Origin",
    "StabilityMonitor",
    "StabilityReport",
    "find_nonfinite_origin",
    "stability_report",
    "trap_nonfinite",
]

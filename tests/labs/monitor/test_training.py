"""The monitor where people train: compiled, in parallel, sharded, accumulated, checkpointed, in mixed precision, with adapters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from support import library
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from labs.monitor import StabilityMonitor, stability_report


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(0)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Chain(nn.Sequential):
    """One's own class: torch's is never compiled by ``model.compile()``."""

    def forward(self, x: Tensor) -> Tensor:
        for module in self:
            x = module(x)
        return x


def mlp() -> Chain:
    return Chain(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def batch(rows: int = 32) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(rows, 8, generator=g), torch.arange(rows) % 3


def train(
    model: nn.Module, monitor: StabilityMonitor, steps: int, step: Callable[[Tensor, Tensor], Tensor] | None = None
) -> None:
    x, y = batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with monitor:
        for _ in range(steps):
            optimizer.zero_grad()
            (step(x, y) if step else F.cross_entropy(model(x), y)).backward()
            optimizer.step()
            monitor.step()


def numbers(monitor: StabilityMonitor) -> dict[str, float]:
    keys = ("std", "gradient", "weight_gradient", "update_ratio")
    return {f"{r.name} {key}": v for r in monitor.report.layers for key in keys if (v := getattr(r, key)) is not None}


def alike(a: dict[str, float], b: dict[str, float], rel: float = 1e-4) -> None:
    assert a.keys() == b.keys()
    assert a == pytest.approx(b, rel=rel)


# ------------------------------------------------------------------------------------------------------------ compiled


@pytest.mark.slow
@pytest.mark.parametrize("how", ["torch.compile", "model.compile", "a layer", "the step"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled(how: str, backend: str) -> None:
    """Recorded steps run eagerly and give the numbers of an uncompiled model; the others run what was compiled once."""
    plain = mlp()
    model: nn.Module = mlp()
    model.load_state_dict(plain.state_dict())
    from torch._dynamo.testing import CompileCounterWithBackend  # seconds, which not every process spends

    counter, step = CompileCounterWithBackend(backend), None
    watched = model
    if how == "torch.compile":
        model = watched = torch.compile(model, backend=counter)  # type: ignore[assignment]
    elif how == "model.compile":
        model.compile(backend=counter)
    elif how == "a layer":
        model[2] = torch.compile(model[2], backend=counter)  # type: ignore[operator, index]
    else:
        step = torch.compile(lambda x, y: F.cross_entropy(model(x), y), backend=counter)
    monitor, reference = StabilityMonitor(watched, every=4), StabilityMonitor(plain, every=4)
    train(model, monitor, 3, step)
    compiled = counter.frame_count
    assert compiled >= 1  # steps 1 and 2
    recorded = StabilityMonitor(watched, every=4)
    train(model, recorded, 10, step)
    assert len(recorded.history) == 3
    assert counter.frame_count == compiled
    train(plain, StabilityMonitor(plain, every=4), 3)
    train(plain, reference, 10)
    alike(numbers(recorded), numbers(reference))


@pytest.mark.slow
def test_report_of_a_compiled_model() -> None:
    plain = mlp()
    from torch._dynamo.testing import CompileCounterWithBackend  # seconds, which not every process spends

    counter = CompileCounterWithBackend("eager")
    model = torch.compile(plain, backend=counter)
    report = stability_report(model, batch(), F.cross_entropy)
    assert report.layers == stability_report(plain, batch(), F.cross_entropy).layers
    assert counter.frame_count == 0
    model(batch()[0])
    assert counter.frame_count == 1  # compiles again, once the report is done


def test_torchscript_is_refused() -> None:
    with pytest.raises(ValueError, match="TorchScript"):
        StabilityMonitor(torch.jit.trace(mlp(), batch()[0]))


# -------------------------------------------------------------------------------------------------- no synchronisation


class Reads(TorchDispatchMode):
    """Counts what makes a device wait: numbers read from tensors, and copies to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        copies = name == "aten::_to_copy" and (kwargs or {}).get("device") is not None
        self.count += name in ("aten::_local_scalar_dense", "aten::equal", "aten::nonzero") or copies
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("exact", [False, True])
def test_an_unrecorded_step_never_waits_for_the_device(exact: bool) -> None:
    model, counts = mlp(), []
    x, y = batch()
    with StabilityMonitor(model, every=3, exact=exact) as monitor:
        for _ in range(7):
            with Reads() as reads:
                F.cross_entropy(model(x), y).backward()
            inside = reads.count
            if monitor._step % 3:
                assert not monitor._hooks.handles
            with Reads() as reads:
                monitor.step()
            counts.append((inside, reads.count))
    assert all(inside == 0 for step, (inside, _) in enumerate(counts) if step % 3)
    assert all(at_step > 0 for _, at_step in counts[::3])
    assert counts[1][1] == counts[4][1] == 0  # a recorded step follows counts[2] and is prepared in it


# ---------------------------------------------------------------------------------------- accumulation and checkpoints


def test_accumulated_gradients() -> None:
    """Two halves of a batch: each layer is called twice, and its weights' gradient is that of the whole batch."""
    whole, halves = mlp(), mlp()
    halves.load_state_dict(whole.state_dict())
    monitors = [StabilityMonitor(whole, every=1, exact=True), StabilityMonitor(halves, every=1, exact=True)]
    (x, y), found = batch(), []
    for model, monitor, parts in zip((whole, halves), monitors, (1, 2), strict=True):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with monitor:
            for xs, ys in zip(x.chunk(parts), y.chunk(parts), strict=True):
                (F.cross_entropy(model(xs), ys) / parts).backward()
            optimizer.step()
            monitor.step()
        found.append(monitor.report)
    assert {r.calls for r in found[1].layers} == {2}
    alike(numbers(monitors[0]), numbers(monitors[1]))


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.inner, self.head, self.reentrant = mlp()[:4], nn.Linear(16, 3), reentrant

    def forward(self, x: Tensor) -> Tensor:
        h = torch.utils.checkpoint.checkpoint(self.inner, x.requires_grad_(), use_reentrant=self.reentrant)
        return self.head(h)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed(reentrant: bool) -> None:
    """A layer counts once, and not-re-entrant checkpointing changes no number."""
    model, plain = Checkpointed(reentrant), nn.Sequential()
    plain.inner, plain.head = mlp()[:4], nn.Linear(16, 3)
    plain.load_state_dict(model.state_dict())
    monitors = [StabilityMonitor(model, every=1), StabilityMonitor(plain, every=1)]
    train(model, monitors[0], 2)
    train(plain, monitors[1], 2)
    assert {r.calls for r in monitors[0].report.layers} == {1}
    if not reentrant:
        alike(numbers(monitors[0]), numbers(monitors[1]))


# ---------------------------------------------------------------------------------------------------- mixed precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_and_scaler(dtype: torch.dtype) -> None:
    model, (x, y) = mlp(), batch()
    reference = StabilityMonitor(mlp_like(model), every=1)
    train(reference._hooks.model, reference, 1)
    scaler = torch.amp.GradScaler("cpu", enabled=dtype == torch.float16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with StabilityMonitor(model, every=1, scaler=scaler) as monitor:
        with torch.autocast("cpu", dtype):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        monitor.step()
    assert monitor.report.verdict == "healthy"
    alike(numbers(monitor), numbers(reference), rel=0.05)


def mlp_like(model: nn.Module) -> nn.Module:
    twin = mlp()
    twin.load_state_dict(model.state_dict())
    return twin


# ------------------------------------------------------------------------------------------ adapters and quantisation


class LoRA(nn.Module):
    """A frozen layer with a low-rank update that starts at zero (Hu et al. 2021)."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Linear(base.in_features, rank, bias=False)
        self.B = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.B.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.B(self.A(x))


class Int8(nn.Module):
    """A frozen weight in eight bits, with a scale for each row."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        scale = base.weight.detach().abs().amax(1, keepdim=True) / 127
        self.register_buffer("scale", scale)
        self.register_buffer("weight", (base.weight.detach() / scale).round().to(torch.int8))

    def forward(self, x: Tensor) -> Tensor:
        return x @ (self.weight * self.scale).T


@pytest.mark.parametrize("quantised", [False, True])
def test_adapters_on_a_frozen_model(quantised: bool) -> None:
    model = mlp()
    for i in (0, 2, 4):
        adapter = LoRA(model[i])  # type: ignore[arg-type]
        if quantised:
            adapter.base = Int8(model[i])  # type: ignore[assignment, arg-type]
        model[i] = adapter
    monitor = StabilityMonitor(model, every=1)
    train(model, monitor, 10)
    assert [report.verdict for report in monitor.history] == ["healthy"] * 10
    trained = {r.name for r in monitor.report.layers if r.update_ratio}
    assert trained == {f"{i}.{part}" for i in (0, 2, 4) for part in "AB"}
    assert monitor.report.layers[0].update_ratio is None  # the frozen base


@pytest.mark.rehearsal
def test_adapters_of_peft() -> None:
    transformers, peft = library("transformers"), library("peft")
    sizes = {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2}
    base = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, n_positions=16))
    model = peft.get_peft_model(base, peft.LoraConfig(r=4, target_modules=["c_attn"], fan_in_fan_out=True))
    tokens = torch.randint(3, 50, (8, 12))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with StabilityMonitor(model, every=1) as monitor:
        for _ in range(10):
            optimizer.zero_grad()
            model(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()
            monitor.step()
    assert [report.verdict for report in monitor.history] == ["healthy"] * 10
    moved = [r.name for r in monitor.report.layers if r.update_ratio]
    assert len(moved) == 4 and all(".lora_" in name for name in moved)


# --------------------------------------------------------------------------------------- a training step as a method


class Module(nn.Module):
    """The root's own ``forward`` never runs, and the activations are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def training_step(self, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(self.head(torch.tanh(self.b(F.relu(self.a(x))))), y)


def test_a_training_step_that_is_a_method() -> None:
    model = Module()
    monitor = StabilityMonitor(model, every=1)
    train(model, monitor, 2, model.training_step)
    kinds = {r.name: r.kind for r in monitor.report.layers}
    assert list(kinds) == ["a", "a → relu", "b", "b → tanh", "head"]
    assert kinds["a → relu"] == "relu" and kinds["b → tanh"] == "tanh"


# ----------------------------------------------------------------------------------------------------- two processes


SHARED = ("DDP", "FSDP2")


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    # they meet in a file: a store in one of the two would be gone when that one ends first, and the other waits for it
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    for how in SHARED:
        _train_half(rank, how, folder)
        dist.barrier()
    dist.destroy_process_group()


def _train_half(rank: int, how: str, folder: str) -> None:
    torch.manual_seed(0)
    model: nn.Module = mlp()
    if how == "DDP":
        model = nn.parallel.DistributedDataParallel(model)
    else:
        from torch.distributed.fsdp import fully_shard

        mesh = dist.device_mesh.init_device_mesh("cpu", (2,))
        for i in (0, 2, 4):
            fully_shard(model[i], mesh=mesh)  # type: ignore[index]
        fully_shard(model, mesh=mesh)
    x, y = (t.chunk(2)[rank] for t in batch())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with StabilityMonitor(model, every=2) as monitor:
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            monitor.step()
    torch.save([report.to_dict() for report in monitor.history], f"{folder}/{how}-{rank}.pt")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes report that train a model together, one way after the other: their start takes longest."""
    folder = tmp_path_factory.mktemp("trained")
    both = torch.multiprocessing.spawn(_worker, (str(folder),), nprocs=2, join=False)
    deadline = time.monotonic() + 600
    while not both.join(timeout=60):
        if time.monotonic() > deadline:
            for process in both.processes:
                process.kill()
            pytest.fail("the two processes wait for each other")
    return folder


@pytest.mark.slow
@pytest.mark.xdist_group("two processes")
@pytest.mark.parametrize("how", SHARED)
def test_two_processes(how: str, trained: Path) -> None:
    """Each process reports its own half of the batch; weights and updates are those of the whole model, or of its shard."""
    torch.manual_seed(0)
    model, (x, y) = mlp(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with StabilityMonitor(model, every=1) as alone:
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        alone.step()
    updates = {r.name: r.update_ratio for r in alone.report.layers}  # of the averaged gradient
    for rank in range(2):
        reports = torch.load(trained / f"{how}-{rank}.pt")
        assert [report["step"] for report in reports] == [0, 2]
        assert [report["verdict"] for report in reports] == ["healthy"] * 2
        torch.manual_seed(0)
        half = stability_report(mlp(), (x.chunk(2)[rank], y.chunk(2)[rank]), F.cross_entropy)
        for mine, theirs in zip(reports[0]["layers"], half.layers, strict=True):
            assert mine["name"] == theirs.name
            assert mine["std"] == pytest.approx(theirs.std, rel=1e-4)
            if theirs.kind:
                continue
            assert mine["gradient"] == pytest.approx(theirs.gradient, rel=1e-4)
            if how == "DDP":
                assert mine["update_ratio"] == pytest.approx(updates[theirs.name], rel=1e-4)
            else:  # its shard's
                assert mine["weight_gradient"] > 0 and mine["update_ratio"] > 0

"""The trap catches the step that goes wrong, as it was, and a file of it runs nothing."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labs.monitor import NonFiniteError, trap_nonfinite
from labs.monitor.__main__ import main
from labs.monitor.saved import read_step


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def model_of(width: int = 8) -> nn.Module:
    body = [nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2)]
    return nn.Sequential(*body, nn.Linear(width, 3))


def batches(n: int = 80):
    return [(torch.randn(6, 4), torch.randint(0, 3, (6,))) for _ in range(n)]


def train(model, optimizer, data, compute, *, scaler=None, rate=None, clip=None, kept=None, **options):
    """A loop; ``kept`` is called with the model before each step."""
    with trap_nonfinite(model, optimizer, scaler=scaler, **options) as trap:
        for i, batch in enumerate(data):
            if rate is not None:
                optimizer.param_groups[0]["lr"] = rate(i)
            if kept is not None:
                kept(i)
            optimizer.zero_grad()
            loss = trap(compute, *batch)
            (loss if scaler is None else scaler.scale(loss)).backward()
            if clip is not None:
                clip()
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()
    return trap


def plain(model):
    return lambda x, y: F.cross_entropy(model(x), y)


def test_a_sound_loop_is_the_same_with_and_without():
    def weights(watch: bool):
        torch.manual_seed(1)
        model, data = model_of(), batches(30)
        optimizer = torch.optim.Adam(model.parameters())
        if watch:
            train(model, optimizer, data, plain(model), every=7)
        else:
            for x, y in data:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        return [*model.state_dict().values(), torch.get_rng_state()]

    assert all(map(torch.equal, weights(True), weights(False)))


@pytest.mark.parametrize("bad", ["forward", "backward", "data", "raises"])
@pytest.mark.parametrize("at", [0, 3, 7, 20])
def test_a_pass_that_goes_wrong_is_caught_before_its_update(bad, at):
    model, data = model_of(), batches(30)
    data[at][0][2, 1] = float("nan") if bad == "data" else 77.0
    states = {}

    def compute(x, y):
        h = model(x)
        if bad == "raises" and (x == 77).any():
            torch.distributions.Normal((h - 100).sqrt(), 1.0, validate_args=True)
        special = {"forward": lambda: (h * 0).log().sum(), "backward": lambda: (h * 0).sqrt().sum()}
        return F.cross_entropy(h, y) + (special[bad]() if bad in special and (x == 77).any() else 0)

    kept = lambda i: states.update({i: [t.clone() for t in [*model.state_dict().values(), torch.get_rng_state()]]})  # noqa: E731
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(NonFiniteError) as error:
        train(model, optimizer, data, compute, every=5, kept=kept)
    origin = error.value.origin
    assert error.value.step == at and origin.phase == {"data": "input", "raises": "forward"}.get(bad, bad), origin
    assert origin.operation == {"forward": "log", "backward": "sqrt", "data": "linear", "raises": "sqrt"}[bad]
    # the model is as before that step
    assert all(map(torch.equal, [*model.state_dict().values(), torch.get_rng_state()], states[at]))


@pytest.mark.parametrize("at, every", [(0, 5), (3, 5), (4, 5), (5, 5), (9, 5), (23, 10), (23, 1), (6, 50)])
@pytest.mark.parametrize("clip", [False, True])
def test_an_update_that_goes_wrong_is_undone(at, every, clip):
    model, data, states = model_of(), batches(30), {}
    optimizer = torch.optim.Adam(model.parameters())
    rate = lambda i: float("nan") if i == at else 1e-3 * (1 + i)  # noqa: E731
    kept = lambda i: states.update({i: [t.clone() for t in model.state_dict().values()]})  # noqa: E731
    norm = (lambda: nn.utils.clip_grad_norm_(model.parameters(), 0.1)) if clip else None
    with pytest.raises(NonFiniteError) as error:
        train(model, optimizer, data, plain(model), every=every, rate=rate, clip=norm, before_update=norm, kept=kept)
    origin = error.value.origin
    assert (error.value.step, origin.phase, origin.operation) == (at, "optimiser", "Adam.step"), error.value
    assert "schedule" in origin.message and "other losses" not in str(error.value)
    assert all(map(torch.equal, model.state_dict().values(), states[at]))


def test_what_is_not_kept_is_said():
    model, data = model_of(), batches(30)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rate = lambda i: float("nan") if i == 13 else 0.1  # noqa: E731
    clip = lambda: nn.utils.clip_grad_norm_(model.parameters(), 1e-3)  # noqa: E731 and the trap is not told of it
    with pytest.raises(NonFiniteError, match="other losses"):
        train(model, optimizer, data, plain(model), every=10, rate=rate, clip=clip)
    model = model_of()
    with pytest.raises(NonFiniteError, match="No copy"):
        train(model, torch.optim.SGD(model.parameters(), lr=float("nan")), data, plain(model), every=0)
    with pytest.raises(ValueError, match="every"):
        trap_nonfinite(model, every=-1)


def test_going_on():
    model, data = model_of(), batches(12)
    data[4][0][0, 0] = float("nan")
    with pytest.warns(RuntimeWarning, match="step 4: input") as told:
        trap = train(model, torch.optim.SGD(model.parameters(), lr=0.1), data, plain(model), raises=False)
    assert trap.step == 4 and trap.origin.sample == 0 and len(told) == 1


def test_going_on_without_the_update_that_spoils():
    model, data = model_of(), batches(12)
    rate = lambda i: float("nan") if i == 6 else 0.1  # noqa: E731
    with pytest.warns(RuntimeWarning, match="step 6: optimiser"):
        train(model, torch.optim.SGD(model.parameters(), lr=0.1), data, plain(model), rate=rate, raises=False)
    assert all(bool(p.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("at", [0, 7, 11])
def test_a_gradient_that_is_bad_at_one_large_weight_alone(at):
    model, data = (
        nn.Sequential(nn.Linear(4, 80), nn.ReLU(), nn.Linear(80, 80), nn.ReLU(), nn.Linear(80, 3)),
        batches(12),
    )
    data[at][0][0, 0] = 77.0

    def compute(x, y):
        W = model[2].weight
        return F.cross_entropy(model(x), y) + ((W - W.detach()).abs().sqrt().sum() if (x == 77).any() else 0)

    optimizer, states = torch.optim.SGD(model.parameters(), lr=0.1), {}
    kept = lambda i: states.update({i: [t.clone() for t in model.parameters()]})  # noqa: E731
    with pytest.raises(NonFiniteError) as error:
        train(model, optimizer, data, compute, every=5, kept=kept)
    assert (error.value.step, error.value.origin.operation) == (at, "sqrt")
    assert all(map(torch.equal, model.parameters(), states[at]))


def test_masks_and_infinities_inside_are_none_of_its_business():
    model, data = nn.Linear(4, 5), batches(5)

    def compute(x, y):
        scores = model(x).masked_fill(torch.arange(5) > 2, -float("inf"))
        return (scores.log_softmax(-1)[:, :3] * 1.0).mean() + 0 * torch.full((), 1e38).mul(1e10).reciprocal()

    trap = train(model, torch.optim.SGD(model.parameters(), lr=0.1), data, compute)
    assert trap.origin is None


def half(model, read):
    def compute(x, y):
        with torch.autocast("cpu", dtype=torch.float16):
            h = model(x)
        return read(h.float())

    return compute


def test_a_scale_that_is_too_large_is_not_caught_and_a_genuine_nan_is():
    model, data = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), batches(30)
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.01), torch.amp.GradScaler("cpu", init_scale=2.0**26)
    trap = train(model, optimizer, data, half(model, lambda h: h.square().mean()), scaler=scaler)
    assert trap.origin is None and scaler.get_scale() < 2.0**26
    with pytest.raises(NonFiniteError) as error:
        train(
            model, optimizer, data, half(model, lambda h: (h - h.detach()).square().sum(1).sqrt().mean()), scaler=scaler
        )
    assert error.value.step == 2 and (error.value.origin.phase, error.value.origin.operation) == ("backward", "sqrt")


def test_an_update_under_a_scaler_is_undone():
    model, data, states = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), batches(30), {}
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.01), torch.amp.GradScaler("cpu", init_scale=2.0**26)
    kept = lambda i: states.update({i: [t.clone() for t in model.parameters()]})  # noqa: E731
    rate = lambda i: float("nan") if i == 17 else 0.01  # noqa: E731
    with pytest.raises(NonFiniteError) as error:
        train(model, optimizer, data, half(model, lambda h: h.square().mean()), scaler=scaler, rate=rate, kept=kept)
    assert error.value.step == 17 and all(map(torch.equal, model.parameters(), states[17]))


def test_gradients_that_add_up_over_passes():
    model, data = model_of(), batches(12)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data[9][0][1, 0] = float("inf")
    with pytest.raises(NonFiniteError) as error, trap_nonfinite(model, optimizer) as trap:
        for i, batch in enumerate(data):
            trap(plain(model), *batch).backward()
            if i % 3 == 2:
                optimizer.step()
                optimizer.zero_grad()
    assert error.value.step == 3 and error.value.origin.entry == (1, 0)


def test_batches_that_are_large_are_not_held_for_long():
    model, data = model_of(), batches(40)
    trap = trap_nonfinite(model, optimizer := torch.optim.SGD(model.parameters(), lr=0.1), memory=500)
    with trap:
        for batch in data:
            optimizer.zero_grad()
            trap(plain(model), *batch).backward()
            optimizer.step()
            assert len(trap._steps) <= 4  # of 96 + 48 bytes a batch
    assert len(trap._steps) == 1


# ---------------------------------------------------------------------------------------------------------------- a file

BUILD = """
import torch.nn.functional as F
from torch import nn, optim

def build():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    return model, lambda x, y: F.cross_entropy(model(x), y), optim.Adam(model.parameters())

def smaller():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(9), nn.Linear(8, 3))
    return model, lambda x, y: F.cross_entropy(model(x), y)

def nothing():
    return None
"""


@pytest.fixture
def saved(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(BUILD)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    model, data = model_of(), batches(9)
    data[6][0][2, 3] = float("nan")
    with pytest.raises(NonFiniteError, match="saved"):
        train(model, torch.optim.Adam(model.parameters()), data, plain(model), path=tmp_path / "step.pt")
    return tmp_path / "step.pt"


@pytest.mark.slow
def test_a_saved_step_is_replayed_elsewhere(saved):
    command = [sys.executable, "-m", "labs.monitor", "replay", str(saved), "mine:build"]
    path = os.pathsep.join([str(saved.parent), *filter(None, sys.path)])
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, check=False)
    assert done.returncode == 0 and done.stdout.startswith("input: linear in 0"), done
    assert "sample 2" in done.stdout and read_step(saved)["step"] == 6


@pytest.mark.parametrize("how", ["forward", "update"])
def test_a_saved_step_says_what_the_trap_said(tmp_path, monkeypatch, how, capsys):
    (tmp_path / "mine.py").write_text(BUILD)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    model, data = model_of(), batches(9)
    rate = lambda i: float("nan") if how == "update" and i == 5 else 1e-3  # noqa: E731
    if how == "forward":
        model[0].weight.data[0] = 1e3
        data[5][0][1, 1] = 3e38
    with pytest.raises(NonFiniteError) as error:
        train(model, torch.optim.Adam(model.parameters()), data, plain(model), rate=rate, path=tmp_path / "step.pt")
    assert main(["replay", str(tmp_path / "step.pt"), "mine:build"]) == 0
    assert capsys.readouterr().out.split("\n")[0] == str(error.value.origin).split("\n")[0]


@pytest.mark.parametrize(
    "file, build, said",
    [
        ("none.pt", "mine:build", "no such file"),
        ("text.pt", "mine:build", "not a step that the trap has saved"),
        ("weights.pt", "mine:build", "not a step that the trap has saved"),
        (
            "step.pt",
            "mine:smaller",
            "not in it: 4.weight, 4.bias; not in the file: 2.weight, 2.bias; of another shape: 1.weight",
        ),
        ("step.pt", "mine:absent", "has no function 'absent'"),
        ("step.pt", "mine:nothing", "expected it to return (model, loss)"),
        ("step.pt", "yours:build", "no module 'yours'"),
        ("step.pt", "mine", None),
    ],
)
def test_what_cannot_be_replayed_is_said_in_one_line(saved, capsys, file, build, said):
    (saved.parent / "text.pt").write_text("hello")
    torch.save(nn.Linear(2, 2).state_dict(), saved.parent / "weights.pt")
    code = main(["replay", str(saved.parent / file), build])
    told = capsys.readouterr().err
    assert (code, told) == (0, "") if said is None else code == 2 and said in told and told.count("\n") == 1, told


class Stranger:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("how", ["pickle", "torch", "within"])
def test_a_file_from_a_stranger_runs_nothing(saved, capsys, how):
    trace = saved.parent / "it ran"
    if how == "pickle":
        saved.write_bytes(pickle.dumps(Stranger(str(trace))))
    else:
        content = read_step(saved) | {"batch": Stranger(str(trace))} if how == "within" else Stranger(str(trace))
        torch.save(content, saved)
    assert main(["replay", str(saved), "mine:build"]) == 2
    assert not trace.exists() and "not a step" in capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how != "pickle":
            torch.load(saved, weights_only=False)  # it would have
            assert trace.exists()

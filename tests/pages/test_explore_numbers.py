"""What the explorables compute, in a real browser, beside what labs computes: for the presets and for 20 random settings each."""

from __future__ import annotations

import base64
import random
from itertools import pairwise

import numpy as np
import pytest
from bookext.pages import explore
from test_explore import open_page

from labs import derivations, init

pytestmark = pytest.mark.site


# Numbers come over as bytes: each one by itself would be looked at in a dozen steps.
SENT = """(function sent(v) {
  if (ArrayBuffer.isView(v)) {
    const bytes = Array.from(new Uint8Array(v.buffer, v.byteOffset, v.byteLength), b => String.fromCharCode(b)).join('');
    return { array: v.constructor.name.slice(0, -5).toLowerCase(), bytes: btoa(bytes) };
  }
  if (Array.isArray(v)) return v.map(sent);
  if (typeof v === 'function') return null;
  if (!v || typeof v !== 'object') return v;
  return Object.fromEntries(Object.entries(v).filter(([k]) => k !== 'layers').map(([k, w]) => [k, sent(w)]));
})"""  # without whole layers


def received(value):
    """What was sent, with lists for arrays."""
    if isinstance(value, list):
        return [received(each) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"array", "bytes"}:
        return np.frombuffer(base64.b64decode(value["bytes"]), value["array"]).tolist()
    return {key: received(each) for key, each in value.items()}


class Page:
    """An explorable in a page: ``at(…)`` is what it computes for the preset with some settings changed."""

    def __init__(self, tab, name):
        self.tab, self.first = tab, tab.evaluate("one.state()")
        self.presets = tab.evaluate(f"explore.specs.{name}.presets.map(p => p[1])")

    def at(self, **settings):
        self.tab.evaluate("s => one.set(s)", self.first | settings)
        state = self.tab.evaluate("one.state()")
        assert state == self.first | settings  # they are settings that a reader can choose
        return state, self.got("one.result()")

    def got(self, expression):
        """The value of an expression in the page."""
        return received(self.tab.evaluate(f"{SENT}({expression})"))

    def settings(self, draw):
        """The presets, and 20 settings drawn by a function of a random generator."""
        rng = random.Random(0)
        return [*self.presets, *(draw(rng) for _ in range(20))]


def residual_net(page, seed, depth):
    """The net of the explorables of residual nets, as the page draws it: input, top, and two matrices a block."""
    import torch

    x, top, flat = page.got(
        f"(n => [n.input, n.top, n.blocks.slice(0, {depth}).flat()])(residual.net({seed}, {depth}))"
    )
    matrices = [torch.tensor(values, dtype=torch.float64) for values in flat]
    n = len(x)
    assert all(abs(W.square().mean().item() * n / 2 - 1) < 0.05 for W in matrices)  # He's
    vectors = (torch.tensor(values, dtype=torch.float64) for values in (x, top))
    return *vectors, [(matrices[k].view(n, n), matrices[k + 1].view(n, n)) for k in range(0, 2 * depth, 2)]


@pytest.fixture
def page(browser, request):
    name = request.node.name.removeprefix("test_")
    return Page(open_page(browser, name), name)


def close(ours, theirs, rtol=1e-5):
    np.testing.assert_allclose(np.array(ours, float), np.asarray(theirs, float), rtol=rtol, atol=1e-300)


def test_every_explorable_is_compared_here():
    assert {f"test_{name}" for name in explore.NEEDS} <= set(globals())


def test_widths(page):
    middle = {k: v for k, v in derivations.compromises().items()}
    names = {"xavier": "harmonic mean", "geometric": "geometric mean", "least": "least squares"}

    def gamma(rule, n_in, n_out):
        if rule == "forward":
            return init.lecun_std(n_in) ** 2
        if rule == "backward":
            return init.lecun_std(n_out) ** 2
        return float(middle[names[rule]].subs({derivations.N_IN: n_in, derivations.N_OUT: n_out}, simultaneous=True))

    def draw(rng):
        rule = rng.choice(["forward", "backward", *names])
        return {"rule": rule} | {f"n{t}": round(10 ** rng.uniform(0, 4)) for t in range(5)}

    for settings in page.settings(draw):
        state, result = page.at(**settings)
        n = [state[f"n{t}"] for t in range(5)]
        gammas = [gamma(state["rule"], *pair) for pair in pairwise(n)]
        if state["rule"] == "xavier":
            close(gammas, [init.xavier_std(*pair) ** 2 for pair in pairwise(n)])
        close(result["gamma"], gammas)
        forward = [a * g for a, g in zip(n, gammas, strict=False)]
        backward = [a * g for a, g in zip(n[1:], gammas, strict=True)]
        close(result["forward"], forward)
        close(result["backward"], backward)
        close(result["signal"], np.cumprod([1, *forward]))
        close(result["gradient"], np.cumprod([1, *backward[::-1]])[::-1])
        equal = [a == b for a, b in pairwise(n)]
        both = [
            abs(f - 1) < 1e-9 and abs(b - 1) < 1e-9 for f, b in zip(result["forward"], result["backward"], strict=True)
        ]
        assert both == equal


def test_formats(page):
    """Exactly: every rounding, both products, and where they end."""
    import torch

    from labs import formats

    names = ("fp32", "bf16", "fp16", "e5m2", "e4m3")

    def draw(rng):
        return {
            "format": rng.choice(names),
            "number": float(f"{10 ** rng.uniform(*rng.choice([(-46, 40), (-9, 6)])):.4g}"),
            "factor": float(f"{10 ** rng.uniform(-1, 1):.4g}"),
            "steps": rng.randint(5, 300),
        }

    for settings in page.settings(draw):
        state, result = page.at(**settings)
        number, name, factor, steps = (state[key] for key in ("number", "format", "factor", "steps"))
        for each in names:
            landed = result["landed"][each]
            rounded = formats.round_to(torch.tensor([number], dtype=torch.float64), each).item()
            assert (float(landed["value"]), landed["kind"]) == (rounded, formats.classify(number, each))
        product = formats.running_product(factor, steps, name).double().tolist()
        assert [*map(float, result["product"])] == [1.0, *product]
        assert [*map(float, result["once"])] == [1.0, *formats.direct_cast(factor, steps, name).double().tolist()]
        end = formats.sticking_point(factor, name)
        assert (result["end"]["from"], float(result["end"]["last"])) == end
        first = {
            "Inf": formats.overflow_depth(factor, name) if end[1] == np.inf else None,
            "0": formats.underflow_depth(factor, name) if end[1] == 0 else None,
        }
        assert all(step in (None, end[0]) for step in first.values())


def test_jacobians(page):
    """Matrices by numpy's SVD, their product by labs; the other factors keep the singular values of the first."""
    import torch

    from labs import jacobians

    def draw(rng):
        angles = {name: rng.randint(-180, 180) for name in ("from", "to", "vector")}
        stretches = {name: round(rng.uniform(0.05, 3), 2) for name in ("s1", "s2")}
        mode = rng.choice(("repeated", "turns", "independent"))
        return {"mode": mode, "factors": rng.randint(2, 60), "seed": rng.randint(0, 9999)} | angles | stretches

    for settings in page.settings(draw):
        state, result = page.at(**settings)
        chain = [torch.tensor(J, dtype=torch.float64).reshape(2, 2) for J in result["chain"]]

        def turn(degrees):
            c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
            return np.array([[c, -s], [s, c]])

        A = turn(state["to"]) @ np.diag([state["s1"], state["s2"]]) @ turn(state["from"]).T
        np.testing.assert_allclose(chain[0], A, atol=1e-12)
        for k, J in enumerate(chain):
            if state["mode"] != "independent":
                assert torch.equal(J, chain[0].T if k % 2 and state["mode"] == "turns" else chain[0])
            found = sorted(torch.linalg.svdvals(J).tolist())
            np.testing.assert_allclose(found, sorted([state["s1"], state["s2"]]), rtol=1e-5, atol=1e-12)
        assert (state["mode"] == "independent") == (len({tuple(map(float, J.flatten())) for J in chain}) > 2)
        matrix, log_scale = jacobians.chained_jacobian(chain)
        start = torch.tensor(turn(state["vector"])[:, 0])
        length = (matrix @ start).norm().item() * np.exp(log_scale)
        np.testing.assert_allclose(result["length"][-1], length, rtol=1e-5, atol=1e-12)
        logs = jacobians.log_singular_values(chain).tolist()
        close(result["first"][-1], np.exp(logs[0]))
        if logs[1] > -600:
            close(result["second"][-1], np.exp(logs[1]))
        else:
            assert result["second"][-1] == 0
        found = sorted(np.abs(np.linalg.eigvals(A)))
        ours = sorted(np.hypot(*v) if isinstance(v, list) else abs(v) for v in result["lambda"])
        np.testing.assert_allclose(ours, found, rtol=1e-5, atol=1e-7)  # two equal ones come back as a root of rounding


def test_clipping(page):
    """labs where the gradient is finite; where it is not, torch's own functions, from which labs keeps."""
    import torch
    from torch.nn import functional

    from labs import stabilisers

    def draw(rng):
        weights = {name: round(rng.uniform(-3, 3), 2) for name in ("w1", "w2")}
        scales = {"a": float(f"{10 ** rng.uniform(0, 2):.4g}"), "threshold": float(f"{10 ** rng.uniform(-1, 1):.4g}")}
        return weights | scales | {"entry": rng.choice(["finite"] * 4 + ["inf"])}

    def turned(a, b):
        return np.degrees(abs(np.angle(complex(*b) / complex(*a))))

    for settings in page.settings(draw):
        state, result = page.at(**settings)
        finite = state["entry"] == "finite"
        g = torch.tensor([state["a"] * state["w1"] if finite else np.inf, state["w2"]], dtype=torch.float64)
        by_value, by_norm, standardised, unit = (g.clone() for _ in range(4))
        stabilisers.clip_by_value_(by_value, state["threshold"], error_if_nonfinite=False)
        stabilisers.clip_by_norm_(by_norm, state["threshold"], error_if_nonfinite=False)
        if finite:
            stabilisers.standardise_(standardised)
            stabilisers.unit_norm_(unit)
        else:
            standardised, unit = functional.layer_norm(g, g.shape, eps=0), functional.normalize(g, dim=0)
        theirs = {"value": by_value, "norm": by_norm, "standardised": standardised, "unit": unit}
        close(result["g"], g.tolist())
        for name, step in theirs.items():
            close(result["steps"][name]["v"], step.tolist())
            if finite:
                close(result["steps"][name]["length"], step.norm().item())
                angle = turned(g.tolist(), step.tolist())
                np.testing.assert_allclose(result["steps"][name]["angle"], angle, rtol=1e-5, atol=1e-5)


def test_activation(page):
    """Taylor coefficients by SymPy; the mean field by labs, of the same formula in torch."""
    import sympy
    import torch

    from labs import activations, propagation

    own = {
        "sin(x)": torch.sin,
        "x*sigmoid(x)": lambda z: z * torch.sigmoid(z),
        "exp(-x^2) + x/3": lambda z: torch.exp(-(z**2)) + z / 3,
        "softplus(x) - log(2)": lambda z: torch.nn.functional.softplus(z) - np.log(2),
        "sqrt(1 + x^2) - 1 + 0.5*x": lambda z: torch.sqrt(1 + z**2) - 1 + 0.5 * z,
        "tanh(2*x)*cos(x/4)": lambda z: torch.tanh(2 * z) * torch.cos(z / 4),
    }
    known = {
        "4/(1 + exp(-x)) - 2": "scaled_sigmoid",
        "1/(1 + exp(-x))": "sigmoid",
        "tanh(x)": "tanh",
        "relu(x)": "relu",
        "x*(1 + erf(x/sqrt(2)))/2": "gelu",
        "x/(1 + abs(x))": "softsign",
    }
    names = {"sigmoid": lambda x: 1 / (1 + sympy.exp(-x)), "softplus": lambda x: sympy.log(1 + sympy.exp(x))}

    def draw(rng):
        scale = {"w": round(rng.choice([rng.uniform(0.3, 3), rng.uniform(3, 12)]), 2), "b": round(rng.uniform(0, 1), 2)}
        return {"formula": rng.choice([*own, *known]), "order": rng.randint(0, 9)} | scale

    for settings in page.settings(draw):
        state, result = page.at(**settings)
        formula, order, w, b = (state[key] for key in ("formula", "order", "w", "b"))
        f = activations.get(known[formula]) if formula in known else activations.Activation("own", own[formula])
        x = sympy.Symbol("x")
        if formula == "relu(x)":
            assert not result["smooth"] or order == 0
        elif formula != "x/(1 + abs(x))":
            read = sympy.sympify(formula.replace("^", "**"), locals=names, rational=True)
            series = sympy.Poly(sympy.series(read, x, 0, order + 1).removeO(), x)
            theirs = [float(series.coeff_monomial(x**n)) for n in range(order + 1)]
            np.testing.assert_allclose(result["coefficients"], theirs, rtol=1e-5, atol=1e-12)
            if order:
                near = sum(c * 1.0**n for n, c in enumerate(theirs))
                np.testing.assert_allclose(
                    result["remainder"][1], float(f(torch.tensor(1.0).double())) - near, atol=1e-6
                )
        close(result["map"], propagation.q_map(torch.tensor(result["qs"]), f, w, b))
        close(result["keeps"], float(propagation.q_map(1.0, f, 1.0)) ** -0.5)
        settled = propagation.fixed_point(f, w, b)
        if settled > 1e-6:  # smaller ones are where labs, too, stops counting
            close(result["q"], settled)
        else:
            assert result["q"] < 1e-6
        close(result["chi"], propagation.chi_1(f, w, b))
    for wrong in ("tanh(x", "foo(x)", "1/x", ""):
        _, result = page.at(formula=wrong)
        assert result["error"]


def test_culprit(page):
    """What the chapter's own search printed, laid on the step that it searched; and what is said of every suspect."""
    found = explore.data("culprit")
    said = " ".join("".join(o.get("text", "") for o in explore.outputs("culprit")).split())
    for name, each in found.items():
        searched = said.partition(f"{name} {each['phase']}: ")[2]
        assert " -> ".join(each["chain"]) in searched[:900], name

    last = {name: len(page.at(patient=name, suspect=1)[1]["items"]) for name in found}

    def draw(rng):
        patient = rng.choice([*found])
        return {"patient": patient, "suspect": rng.randint(0, last[patient]), "chain": rng.randint(0, 1)}

    for settings in [*({"patient": name, "suspect": 1} for name in found), *page.settings(draw)]:
        state, result = page.at(**settings)
        each, items = found[state["patient"]], result["items"]
        nodes, way = each["nodes"], each["way"]
        computed = [k for k, node in enumerate(nodes) if node["phase"] in ("forward", "backward")]
        assert sorted(k for item in items if item["kind"] != "leaf" for k in item["nodes"]) == computed
        for item in items:
            own = [nodes[k] for k in item["nodes"]]
            for key in ("count", "nan", "inf", "zero"):
                assert item[key] == sum(node[key] for node in own)
            assert float(item["largest"]) == max(node["largest"] for node in own)
        assert result["way"] == way and all(a in nodes[b]["reads"] for a, b in pairwise(way))
        anything = any(node["nan"] + node["inf"] for node in nodes)
        spoiled = [
            node["nan"] + node["inf"] > 0 if anything else node["phase"] == "backward" and node["zero"] == node["count"]
            for node in nodes
        ]
        assert all(spoiled[k] for k in way) and not any(
            spoiled[k] for k in nodes[way[0]]["reads"] if state["patient"] != "3 attention"
        )
        chosen = result["chosen"]
        assert (chosen is None) == (state["suspect"] == 0)
        assert result["open"] == (result["verdict"] == "right" or state["chain"] == 1)
        if chosen and way[0] in chosen["nodes"]:
            assert result["verdict"] == "right"
        elif chosen and not any(spoiled[k] for k in chosen["nodes"]):
            assert result["verdict"] in ("sound", "right")


def test_streams(page):
    """Both passes by torch's autograd, of the page's own net; theory by labs."""
    import torch

    from labs.transformer import residual_stream, rms_norm

    def block(h, W1, W2, scale, norm):
        out = h + scale * torch.relu((rms_norm(h) if norm == "pre" else h) @ W1.T) @ W2.T
        return rms_norm(out) if norm == "post" else out

    def draw(rng):
        zeta, depth, rule = (
            rng.choice([0.0, round(rng.uniform(0, 1.5), 2)]),
            rng.randint(2, 48),
            rng.choice(["free", "root"]),
        )
        return {
            "kinds": rng.choice(["all", "normed"]),
            "depth": depth,
            "rule": rule,
            "zeta": zeta if rule == "free" else float(f"{depth**-0.5:.4g}"),
            "seed": rng.randint(0, 3),
        }

    for settings in page.settings(draw):
        state, result = page.at(**settings)
        depth, zeta = state["depth"], state["zeta"]
        x, top, blocks = residual_net(page, state["seed"], depth)
        assert [*result["curves"]] == (["none", "pre", "post"] if state["kinds"] == "all" else ["pre", "post"])
        for norm, curve in result["curves"].items():
            h = [x.requires_grad_()]
            for W1, W2 in blocks:
                h.append(block(h[-1], W1, W2, zeta, norm))
            gradients = torch.autograd.grad(h[-1], h, top)
            close(curve["M"], [v.square().mean().item() for v in h])
            close(curve["delta"], [(g.square().mean() / top.square().mean()).item() for g in gradients])
            M0, theory = h[0].square().mean().item(), residual_stream(depth, 2.0, scale=zeta, norm=norm).numpy()
            expected = {"none": M0 * theory, "pre": M0 - 1 + theory, "post": np.array([M0, *theory[1:]])}[norm]
            close(curve["theory"], expected)
            close(curve["back"], expected[-1] / expected)
            if norm != "post" and state["rule"] == "root":
                bound = result["bounds"][norm]  # zeta is rounded to four digits
                far = float(residual_stream(10**6, 2.0, scale=1e-3, norm=norm)[-1])
                assert expected[-1] / M0 < 1.001 * bound
                close(bound, np.exp(2) if norm == "none" else (M0 - 1 + far) / M0)
        assert (result["bounds"] is None) == (state["rule"] == "free")


def test_histograms(page):
    """Moments by labs' own measurement of the page's net, and counts by numpy."""
    import torch

    from labs.nets import DeepMLP
    from labs.propagation import measure

    def draw(rng):
        return {"sigma": float(f"{10 ** rng.uniform(-0.5, 1.45):.4g}"), "seed": rng.randint(0, 9999)}

    for settings in page.settings(draw):
        state, result = page.at(**settings)
        given = page.got("(n => [n.x, n.top, ...n.W])(one.result().net())")
        x, top, *weights = (torch.tensor(v, dtype=torch.float64).view(-1, 64) for v in given)
        net = DeepMLP((64, len(weights)), "sigmoid", dtype=torch.float64)
        with torch.no_grad():
            for layer, W in zip(net.layers, weights, strict=True):
                layer.weight.copy_(W * state["sigma"] / 8)
        found = measure(net, x, lambda out, top=top: (out * top).sum())
        shares, hidden = {each["t"]: each for each in result["shares"]}, net.hidden(x)
        gradients = torch.autograd.grad((hidden[-1] * top).sum(), [*hidden, *net.parameters()])
        for t, share in shares.items():
            h, below = hidden[t - 1].detach(), hidden[t - 2].detach() if t > 1 else x
            z = below @ net.layers[t - 1].weight.detach().T
            close(share["rmsDelta"], found.deltas.second_moment[t - 1].sqrt())
            close(share["rmsGradient"], found.weight_gradients.second_moment[t - 1].sqrt())
            total = (h - h.mean()).square().mean()
            np.testing.assert_allclose(share["between"], h.var(0, correction=0).mean() / total, rtol=1e-5, atol=1e-12)
            assert share["saturated"] == (z.abs() > 6).double().mean()
            sizes = [g.abs().log10().clamp(-16, 4) for g in (gradients[t - 1], gradients[len(weights) + t - 1])]
            expected = {"z": (z.clamp(-30, 30), -30, 30), "h": (h, 0, 1)}
            expected |= {name: (size, -16, 4) for name, size in zip(("delta", "gradient"), sizes, strict=True)}
            for name, (values, low, high) in expected.items():
                counts = np.histogram(values.flatten(), 30, (low, high))[0]
                assert np.abs(counts - np.array(share[name])).sum() <= 2, (
                    name,
                    t,
                )  # one value at an edge may fall on either side


def test_blocks(page):
    """The chapter's blocks in torch, of the page's own net; theory by labs."""
    import torch

    from labs.transformer import residual_stream, rms_norm

    relu = torch.relu
    blocks = {
        "one": lambda h, s, W1, W2: h + s * relu(h) @ W2.T,
        "two": lambda h, s, W1, W2: h + s * relu(h @ W1.T) @ W2.T,
        "inside": lambda h, s, W1, W2: h + s * relu(relu(h) @ W1.T) @ W2.T,
        "outside": lambda h, s, W1, W2: relu(h + s * relu(h @ W1.T) @ W2.T),
        "pre": lambda h, s, W1, W2: h + s * relu(rms_norm(h) @ W1.T) @ W2.T,
    }
    gains = {"one": 1.0, "two": 2.0, "inside": 1.0, "pre": 2.0}

    def draw(rng):
        return {"depth": rng.randint(2, 48), "scale": round(rng.uniform(0, 1), 2), "seed": rng.randint(0, 3)}

    for settings in page.settings(draw):
        state, result = page.at(**settings)
        depth, scale = state["depth"], state["scale"]
        x, _, matrices = residual_net(page, state["seed"], depth)
        assert set(result["curves"]) == set(blocks)
        for name, curve in result["curves"].items():
            M = [x.square().mean().item()]
            h = x
            for W1, W2 in matrices:
                h = blocks[name](h, scale, W1, W2)
                M.append(h.square().mean().item())
            close(curve["M"], M)
            close(curve["factor"], (M[-1] / M[0]) ** (1 / depth))
            assert (curve["theory"] is None) == (name not in gains)
            assert curve["expected"] == (1 + scale**2 * gains[name] if name in gains else None)
            if name in gains:
                norm = "pre" if name == "pre" else "none"
                theory = residual_stream(depth, gains[name], scale=scale, norm=norm).numpy()
                close(curve["theory"], M[0] - 1 + theory if norm == "pre" else M[0] * theory)

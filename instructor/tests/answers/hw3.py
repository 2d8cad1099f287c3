"""Wrong and right answers to homework 3."""

FACTOR = "def layer_factor(sigma_w):\n    h = sigmoid(np.sqrt(settled_variance(sigma_w)) * u)\n    return "
GRADIENTS = (
    "def linear_gradients(W, x, delta_top):\n    h, delta = [x], [delta_top]\n    for W_t in W:\n        h.append(W_t @ h[-1])\n"
    "    for W_t in reversed(W[1:]):\n        delta.insert(0, W_t.T @ delta[0])\n"
)
CLIPPED = "def checked_clip(g, tau):\n    wide = np.asarray(g, dtype=np.float64)\n"
USABLE = (
    "    if not np.isfinite(wide).all():\n        return np.zeros(wide.shape), False\n    norm = np.linalg.norm(wide)\n"
)
ANGLE = "def angle(a, b):\n    with np.errstate(all='ignore'):\n        cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))\n        return "
NORM = "after_norm = "
VALUE = "after_value = "
WRONG = [
    ("1a", "large weights can do it", "no_saturation = math.inf"),
    ("1a", "the factor is slope times weight", "no_saturation = r"),
    ("1a", "the factor is slope times weight", "no_saturation = 0.25"),
    ("1a", "this is the largest slope times r", "no_saturation = r / 4", "at most the largest slope"),
    ("1a", "least sigma_w", "no_saturation = 4 * r**2 if r < 0.85 else 2.5"),
    ("1b", "this is the slope alone", FACTOR + "np.sqrt((h * (1 - h)) ** 2 @ density)", "the slope alone"),
    ("1b", "this is chi_1", FACTOR + "sigma_w**2 * ((h * (1 - h)) ** 2 @ density)", "this is chi_1"),
    ("1b", "at small sigma_w it fits", FACTOR + "sigma_w * ((h * (1 - h)) @ density)"),
    ("1b", "layer_factor", FACTOR + "sigma_w * 0.236"),
    ("1c", "this is the bound without saturation", "sigma_w_needed = no_saturation"),
    ("1c", "with this sigma_w the layer's factor is too small", "sigma_w_needed = 0.85 * sigma_w_needed"),
    ("1c", "with this sigma_w the layer's factor is too large", "sigma_w_needed = 1.2 * sigma_w_needed"),
    ("2a", "between delta^d and delta^1 lie d - 1", "delta_ratio = sigma_w**d", "how many matrices"),
    ("2a", "this is top divided by bottom", "delta_ratio = 1 / delta_ratio"),
    ("2a", "this is the ratio of the mean squares", "delta_ratio = delta_ratio**2"),
    ("2a", "this is the ratio of the weight gradients", "delta_ratio = 1.0"),
    ("2a", "a small delta is not a small weight gradient", "weight_ratio = delta_ratio", "a small delta is not a small weight gradient"),
    ("2a", "delta and the forward signal make up", "weight_ratio = sigma_w"),
    ("2a", "weight gradient", "weight_ratio = 1 / sigma_w"),
    ("2b", "return two lists", GRADIENTS + "    return delta"),
    ("2b", "layer 1 comes first", GRADIENTS + "    return delta[::-1], [np.outer(a, b) for a, b in zip(delta, h)]"),
    ("2b", "delta^1 to delta^d are asked for",
     GRADIENTS + "    delta.insert(0, W[0].T @ delta[0])\n    return delta, [np.outer(a, b) for a, b in zip(delta[1:], h)]"),
    ("2b", "delta^1 to delta^d are asked for",
     GRADIENTS + "    delta.insert(0, W[0].T @ delta[0])\n    return delta[:-1], [np.outer(a, b) for a, b in zip(delta[1:], h)]"),
    ("2b", "this is the transpose", GRADIENTS + "    return delta, [np.outer(b, a) for a, b in zip(delta, h)]"),
    ("2b", "the forward signal is the one that goes", GRADIENTS + "    return delta, [np.outer(a, b) for a, b in zip(delta, h[1:])]"),
    ("2b", "layer 1 comes first", GRADIENTS + "    return delta, [np.outer(a, b) for a, b in zip(delta, h)][::-1]"),
    ("2b", "the gradient by a weight is delta times", GRADIENTS + "    return delta, [np.outer(a, np.ones_like(b)) for a, b in zip(delta, h)]"),
    ("3a", "an accuracy between 0 and 1", "deep_accuracy = 100 * deep_accuracy"),
    ("3a", "a deep sigmoid network under SGD", "deep_accuracy = 0.97", "'Only the top trains'"),
    ("3a", "one in ten is chance", "deep_accuracy = 0.1", "chance when all digits are equally frequent"),
    ("3b", "from layer 1 to layer 7", "spread_7 = spread_1 * 0.236**7", "count again"),
    ("3b", "0.236 is the factor of the standard deviation", "spread_7 = spread_1 * 0.236**3"),
    ("3c", "one too many or too few", "merged_from = merged_from + 1"),
    ("3c", "one too many or too few", "merged_from = merged_from - 1"),
    ("3c", "vanished is not 'below the smallest", "merged_from = next(t for t in range(4000) if spread_1 * keep**t < 2.0**-149)"),
    ("3c", "vanished is not 'below the smallest", "merged_from = next(t for t in range(4000) if spread_1 * keep**t < 2.0**-126)"),
    ("4a", "the step is the rate times the gradient", "rate_needed = 0.01 * g_bottom"),
    ("4a", "the step is the rate times the gradient", "rate_needed = g_bottom / 0.01"),
    ("4a", "the same rate acts on the top weight", "top_move = 0.01", "SGD has one rate for all layers"),
    ("4a", "the rate you found, times the top gradient", "rate_needed = 0.1\ntop_move = 0.1 * g_top"),
    ("4a", "top", "top_move = rate_needed * g_bottom / g_top"),
    ("4b", "these steps are proportional", "adam_bottom = 0.01 * g_bottom\nadam_top = 0.01 * g_top", "proportional to the gradients, as SGD's are"),
    ("4b", "for the bottom weight epsilon is not small", "adam_bottom = adam_top = 0.01"),
    ("4b", "Adam's first step", "adam_bottom = 0.01 * g_bottom / (g_bottom + 1e-7)"),
    ("5a", "it changes g itself", "def clip_value(g, tau):\n    g[:] = np.clip(g, -tau, tau)\n    return g\nangle(g, clip_value(g, 1.0))"),
    ("5a", "entries below -tau", "def clip_value(g, tau):\n    return np.minimum(g, tau)"),
    ("5a", "this clips by norm", "def clip_value(g, tau):\n    return g * min(1, tau / np.linalg.norm(g))"),
    ("5a", "an entry beyond the threshold becomes", "def clip_value(g, tau):\n    return np.where(abs(g) > tau, tau, g)"),
    ("5a", "an entry beyond the threshold becomes", "def clip_value(g, tau):\n    return np.where(abs(g) > tau, 0, g)"),
    ("5b", "it changes g itself", "def clip_norm(g, tau):\n    g *= min(1, tau / np.linalg.norm(g))\n    return g\nclip_norm(g, 1.0)"),
    ("5b", "a gradient below the threshold passes", "def clip_norm(g, tau):\n    return g * tau / np.linalg.norm(g)", "clipping is not normalising"),
    ("5b", "this clips each entry", "def clip_norm(g, tau):\n    return np.clip(g, -tau, tau)", "one factor for all"),
    ("5b", "the factor is tau over the norm", "def clip_norm(g, tau):\n    return g * min(1.0, tau / (g @ g))"),
    ("5c", "radians", ANGLE + "float(np.arccos(np.clip(cosine, -1, 1)))", "in radians"),
    ("5c", "this is the cosine", ANGLE + "float(cosine)"),
    ("5c", "for parallel vectors it gives no number", ANGLE + "float(np.degrees(np.arccos(cosine)))"),
    ("5c", "for parallel vectors it gives no number",
     "def angle(a, b):\n    with np.errstate(all='ignore'):\n        a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)\n        return float(np.degrees(np.arccos(a @ b)))"),
    ("5c", "for parallel vectors it gives no number",
     "def angle(a, b):\n    with np.errstate(all='ignore'):\n        return float(np.degrees(np.arccos(a @ b / np.sqrt((a @ a) * (b @ b)))))"),
    ("5c", "stops with ValueError", "def angle(a, b):\n    return math.degrees(math.acos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))"),
    ("5c", "for opposite vectors it gives no number", ANGLE + "float(np.degrees(np.arccos(min(1.0, cosine))))"),
    ("5c", "an angle beyond 90 degrees", ANGLE + "float(np.degrees(np.arccos(min(1.0, abs(cosine)))))"),
    ("5d", "value clipping does not keep the direction", "turn_value = 0.0", "does not keep the direction"),
    ("5d", "radians", "turn_value, turn_norm = math.radians(turn_value), 0.0"),
    ("5d", "norm clipping multiplies all entries", "turn_norm = turn_value"),
    ("6a", "clipping by norm does not cure an Inf", NORM + "[tau if math.isinf(v) else 0.0 for v in g_inf]", "does not cure an Inf"),
    ("6a", "clipping by norm does not cure an Inf", NORM + "[0.0, 0.0, 0.0]", "does not cure an Inf"),
    ("6a", "clipping by norm does not cure an Inf", NORM + "[math.inf if math.isinf(v) else 0.0 for v in g_inf]"),
    ("6a", "the other entries are multiplied by 1/Inf", NORM + "[math.nan] * 3"),
    ("6a", "the other entries are multiplied by 1/Inf", NORM + "[math.nan if math.isinf(v) else v for v in g_inf]"),
    ("6a", "there is no threshold for single entries", NORM + "[math.copysign(tau, v) for v in g_inf]"),
    ("6a", "value clipping looks at each entry alone", VALUE + "[math.nan if math.isinf(v) else math.copysign(tau, v) for v in g_inf]"),
    ("6a", "value clipping looks at each entry alone", VALUE + "[math.nan if math.isinf(v) else 0.0 for v in g_inf]"),
    ("6a", "value clipping looks at each entry alone", VALUE + "[0.0 if math.isinf(v) else math.copysign(tau, v) for v in g_inf]"),
    ("6a", "entries keep their signs", VALUE + "[tau, tau, tau]"),
    ("6b", "return a pair", CLIPPED + "    norm = np.linalg.norm(wide)\n    return wide * (tau / norm) if norm > tau else wide"),
    ("6b", "an Inf or NaN was replaced", CLIPPED + "    wide = np.nan_to_num(wide)\n    return wide * min(1, tau / max(np.linalg.norm(wide), 1e-300)), True", "hide the accident"),
    ("6b", "an Inf or NaN was replaced", CLIPPED + "    return wide * min(1, tau / max(np.linalg.norm(wide), 1e-300)), True", "hide the accident"),
    ("6b", "zeros where the step is to be skipped",
     CLIPPED + "    norm = np.linalg.norm(wide)\n    return (wide * (tau / norm) if norm > tau else wide), bool(np.isfinite(wide).all())"),
    ("6b", "a float16 gradient",
     "def checked_clip(g, tau):\n    with np.errstate(all='ignore'):\n        norm = np.sqrt((g * g).sum())\n    if not np.isfinite(norm):\n"
     "        return np.zeros(g.shape), False\n    return (g * (tau / norm) if norm > tau else g), True", "wider format"),
    ("6b", "a gradient of 0 stays 0", CLIPPED + USABLE + "    with np.errstate(all='ignore'):\n        return wide * np.minimum(1, tau / norm) if norm else wide * np.nan, True"),
    ("6b", "a gradient of 0 stays 0", CLIPPED + USABLE + "    return (wide * (tau / norm) if norm > tau else wide), norm > 0"),
    ("6b", "a float64 gradient with entries of 1e60",
     "def checked_clip(g, tau):\n    with np.errstate(all='ignore'):\n        wide = np.asarray(g, dtype=np.float32)\n" + USABLE + "    return (wide * (tau / norm) if norm > tau else wide), True"),
    ("6b", "the threshold is tau, not 1", CLIPPED + USABLE + "    return (wide / norm if norm > 1 else wide), True"),
    ("6b", "a norm below tau: nothing changes", CLIPPED + USABLE + "    return (wide * (tau / norm) if norm > 0 else wide), True"),
    ("7a", "skips are not free", "growth_one = 1.0", "skips are not free"),
    ("7a", "skips are not free", "growth_two = 1.0", "skips are not free"),
    ("7a", "2 and 3 are for He's", "growth_one = 2.0", "yours is another"),
    ("7a", "2 and 3 are for He's", "growth_two = 3.0", "yours is another"),
    ("7a", "this is the branch alone", "growth_one = ngamma / 2"),
    ("7a", "this is the branch alone", "growth_two = ngamma**2 / 2"),
    ("7a", "a ReLU keeps one half", "growth_one = 1 + ngamma"),
    ("7a", "this is the factor of the root mean square", "growth_one = math.sqrt(1 + ngamma / 2)"),
    ("7a", "the factor depends on how the block", "growth_two = growth_one"),
    ("7a", "there is one ReLU in the branch", "growth_two = 1 + ngamma**2 / 4"),
    ("7a", "h + W2 relu(W1 h)", "growth_two = 1 + ngamma**2"),
    ("7b", "the mean square grows by this factor", "def overflow_block(growth, rms_0):\n    return math.floor(math.log(65504 / rms_0) / math.log(growth)) + 1"),
    ("7b", "one too few or too many", "def overflow_block(growth, rms_0):\n    return math.floor(2 * math.log(65504 / rms_0) / math.log(growth))"),
    ("7b", "one too few or too many", "def overflow_block(growth, rms_0):\n    return math.floor(2 * math.log(65504 / rms_0) / math.log(growth)) + 2"),
    ("7b", "the start counts too", "def overflow_block(growth, rms_0):\n    return math.floor(2 * math.log(65504) / math.log(growth)) + 1"),
    ("7c", "each block adds a little", "scaled_growth = 1.0"),
    ("7c", "the branch is multiplied by 1/sqrt(1000)", "scaled_growth = (1 + ngamma / 2 / 1000**0.5) ** 1000"),
    ("7c", "the branch is multiplied by 1/sqrt(1000)", "scaled_growth = float(np.exp(np.minimum(1000 * np.log(1 + ngamma / 2), 700)))"),
    ("7c", "this is one block of the thousand", "scaled_growth = 1 + ngamma / 2000"),
    ("7c", "this is the factor of the root mean square", "scaled_growth = math.sqrt(scaled_growth)"),
    ("7c", "1000 scaled blocks", "scaled_growth = 1 + ngamma / 2"),
]  # fmt: skip

# Right answers in other words, types and ways: each has every point.
RIGHT = [
    ("1a", """
import torch
no_saturation = torch.tensor(r) / 0.25
"""),
    ("1b", """
import torch
def layer_factor(sigma_w):
    z = math.sqrt(settled_variance(sigma_w)) * torch.as_tensor(u, dtype=torch.float32)
    slope = torch.sigmoid(z) * torch.sigmoid(-z)
    return sigma_w * (slope.square() * torch.as_tensor(density, dtype=torch.float32)).sum().sqrt()
"""),
    ("1c", """
_low, _high = 0.0, 20.0
for _ in range(30):
    _middle = (_low + _high) / 2
    _low, _high = (_middle, _high) if layer_factor(_middle) < r else (_low, _middle)
sigma_w_needed = np.float32(_low)
"""),
    ("2a", """
import torch
delta_ratio = torch.tensor(sigma_w) ** (d - 1)
weight_ratio = 1
"""),
    ("2b", """
import torch
def linear_gradients(W, x, delta_top):
    W = [torch.tensor(w, dtype=torch.float32, requires_grad=True) for w in W]
    h = [torch.tensor(x, dtype=torch.float32, requires_grad=True)]
    for W_t in W:
        h.append(W_t @ h[-1])
    gradients = torch.autograd.grad(h[-1] @ torch.tensor(delta_top, dtype=torch.float32), h[1:] + W)
    return gradients[:len(W)], gradients[len(W):]
"""),
    ("3a", 'deep_accuracy = np.max(counts) / np.sum(counts)'),
    ("3a", 'deep_accuracy = round(max(counts) / sum(counts), 4)'),
    ("3b", 'spread_7 = np.float32(spread_1 * math.exp(6 * math.log(0.236)))'),
    ("3c", 'merged_from = math.ceil(1 + math.log(spread_1 * 2**24) / -math.log(keep))'),
    ("4a", """
rate_needed = 1e-2 / g_bottom
top_move = -rate_needed * g_top
"""),
    ("4b", """
_g = np.array([g_bottom, g_top])
adam_bottom, adam_top = 0.01 / (1 + 1e-8 / _g)
"""),
    ("5a", """
import torch
def clip_value(g, tau):
    return torch.clamp(torch.as_tensor(g), -tau, tau)
"""),
    ("5b", """
def clip_norm(g, tau):
    norm = float(np.sqrt((g.astype(np.float32) ** 2).sum()))
    return g.astype(np.float32) / max(1.0, norm / tau)
"""),
    ("5c", """
def angle(a, b):
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return math.degrees(2 * math.atan2(np.linalg.norm(a - b), np.linalg.norm(a + b)))
"""),
    ("5d", 'turn_value, turn_norm = np.float32(angle(g, np.sign(g) * np.minimum(abs(g), 1))), 0'),
    ("6a", """
import torch
_p = torch.nn.Parameter(torch.zeros(3))
_p.grad = torch.tensor(g_inf)
torch.nn.utils.clip_grad_norm_([_p], tau)
after_norm = _p.grad
_p.grad = torch.tensor(g_inf)
torch.nn.utils.clip_grad_value_([_p], tau)
after_value = _p.grad.numpy()
"""),
    ("6b", """
import torch
def checked_clip(g, tau):
    g = torch.as_tensor(g).double()
    usable = g.isfinite().all()
    factor = torch.clamp(tau / (g.norm() + 1e-6), max=1)
    return torch.where(usable, g * factor, torch.zeros_like(g)), usable
"""),
    ("7a", """
growth_one = (2 + ngamma) / 2
growth_two = 0.5 * (ngamma**2 + 2)
"""),
    ("7b", """
def overflow_block(growth, rms_0):
    return np.floor(2 * np.log(65504 / rms_0) / np.log(growth)) + 1
"""),
    ("7c", 'scaled_growth = np.exp(ngamma / 2)'),
]  # fmt: skip

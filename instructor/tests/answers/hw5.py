"""Wrong and right answers to homework 5."""

BACK = "def norm_backward(h, delta):\n    r = np.sqrt((h**2).mean(axis=1, keepdims=True))\n    u = h / r\n    a = (u * delta).mean(axis=1, keepdims=True)\n    return "
WEIGHTS = """
def attention_weights(q, k, theta):
    T, d = q.shape
    later = np.triu(np.ones((T, T), dtype=bool), 1)
    z = q @ k.T
    {}
    e = np.exp(z - z.max(axis={axis}, keepdims=True))
    return e / e.sum(axis={axis}, keepdims=True)
"""


def weights(lines: str, axis: int = 1) -> str:
    return WEIGHTS.format(lines.replace("; ", "\n    "), axis=axis)


CAP, MASK = "z = theta * np.tanh(z / np.sqrt(d) / theta)", "z = np.where(later, -np.inf, z)"
WRONG = [
    ("1a", "without the normalisation the blocks would multiply", "stream_top = M_0 * ((1 + C_1) * (1 + C_2)) ** layers", "lower"),
    ("1a", "each layer adds twice", "stream_top = M_0 + layers * C_1", "higher"),
    ("1a", "each layer adds twice", "stream_top = M_0 + layers * C_2"),
    ("1a", "each layer adds twice", "stream_top = M_0 + layers * (C_1 + C_2) / 2"),
    ("1a", "the stream does not begin at 0", "stream_top = layers * (C_1 + C_2)"),
    ("1a", "the stream begins with your M_0", "stream_top = 1 + layers * (C_1 + C_2)"),
    ("1a", "this is post-norm", "stream_top = 1.0"),
    ("1a", "this is post-norm", "stream_top = M_0"),
    ("1a", "the factors of the blocks multiply to", "delta_growth = stream_top"),
    ("1a", "the factors of the blocks multiply to", "delta_growth = 1 + layers * (C_1 + C_2)"),
    ("1a", "delta grows on its way down", "delta_growth = M_0 / stream_top", "from the top down"),
    ("1a", "pre-norm is not level backward", "delta_growth = 1.0"),
    ("1a", "this is the factor of the root", "delta_growth = math.sqrt(delta_growth)", "of the root mean square"),
    ("1a", "each block's own factor", "delta_growth = ((1 + C_1) * (1 + C_2)) ** layers"),
    ("1a", "each block's own factor", "delta_growth = ((1 + C_1 / M_0) * (1 + C_2 / M_0)) ** layers"),
    ("1b", "the layers do not have the same factor", "low_quarter = (1 + layers * (C_1 + C_2) / M_0) ** 0.25", "a fourth root"),
    ("1b", "this is the upper quarter", "_added = layers * (C_1 + C_2)\nlow_quarter = (M_0 + _added) / (M_0 + 3 * _added / 4)"),
    ("1b", "a quarter of the layers does not give", "low_quarter = (1 + layers * (C_1 + C_2) / M_0) / 4"),
    ("1b", "this is the stream itself", "low_quarter = M_0 + layers * (C_1 + C_2) / 4"),
    ("1b", "M_0 is not 1", "low_quarter = 1 + layers * (C_1 + C_2) / 4"),
    ("1c", "this is the approximation for wide networks", BACK + "delta / r", "does not change along h"),
    ("1c", "divide by the root mean square as well", BACK + "delta - u * a", "ten times h"),
    ("1c", "divide by the root mean square, once", BACK + "(delta - u * a) / r**2"),
    ("1c", "divide by the root mean square, once", BACK + "(delta - h * a) / r"),
    ("1c", "divide by the root mean square, once", BACK + "(delta - u * a) * r"),
    ("1c", "the mean of norm(h) times delta", BACK + "(delta - u * (u * delta).sum(axis=1, keepdims=True)) / r"),
    ("1c", "the root of the mean of the squares", BACK + "(delta - u * a) / np.linalg.norm(h, axis=1, keepdims=True)", "a small change of h"),
    ("1c", "this is layer normalisation", "def norm_backward(h, delta):\n    s = h.std(axis=1, keepdims=True)\n    u = (h - h.mean(axis=1, keepdims=True)) / s\n    return (delta - delta.mean(axis=1, keepdims=True) - u * (u * delta).mean(axis=1, keepdims=True)) / s"),
    ("1c", "each row has a root mean square", "def norm_backward(h, delta):\n    r = np.sqrt((h**2).mean(axis=0))\n    return (delta - h * (h * delta).mean(axis=0) / r**2) / r"),
    ("1c", "the part along h is taken out", BACK + "(delta + u * a) / r"),
    ("1c", "3 rows, n = 7", BACK + "0 * delta"),
    ("2a", "without a normalisation the branches multiply", "zeta_plain = math.sqrt((target - 1) / (2 * layers_2 * C))"),
    ("2a", "a layer has two branches", "zeta_plain = math.sqrt((target ** (1 / layers_2) - 1) / C)"),
    ("2a", "zeta multiplies the branch", "zeta_plain = zeta_plain**2", "the root of your number"),
    ("2a", "the branch's own C is missing", "zeta_plain = zeta_plain * math.sqrt(C)"),
    ("2a", "this is the limit of many blocks", "zeta_plain = math.sqrt(math.log(target) / (2 * layers_2 * C))"),
    ("2a", "1/√(2L) keeps the stream", "zeta_plain = 1 / math.sqrt(2 * layers_2)"),
    ("2b", "with pre-norm the branches add", "zeta_pre = math.sqrt((target ** (0.5 / layers_2) - 1) / C)"),
    ("2b", "a layer has two branches", "zeta_pre = math.sqrt((target - 1) / (layers_2 * C))"),
    ("2b", "zeta multiplies the branch", "zeta_pre = zeta_pre**2", "the root of your number"),
    ("2b", "the branch's own C is missing", "zeta_pre = zeta_pre * math.sqrt(C)"),
    ("2b", "the stream begins at 1", "zeta_pre = math.sqrt(target / (2 * layers_2 * C))"),
    ("2b", "1/√(2L) lets the branches", "zeta_pre = 1 / math.sqrt(2 * layers_2)"),
    ("2c", "with two zeros", "first = dict(A=['W2'], B=['zeta'], C=['W2', 'zeta'])", "start C"),
    ("2c", "with two zeros", "later = dict(A=['W1', 'W2', 'zeta'], B=['W1', 'W2', 'zeta'], C=['W1', 'W2', 'zeta'])", "start C"),
    ("2c", "a part that is 0 has a gradient", "first = dict(A=['W1', 'zeta'], B=['zeta'], C=[])", "start A"),
    ("2c", "a part that is 0 has a gradient", "first = dict(A=['W2'], B=['W1', 'W2'], C=[])", "start B"),
    ("2c", "a gradient that contains the zero", "first = dict(A=['W1', 'W2', 'zeta'], B=['zeta'], C=[])"),
    ("2c", "a gradient that contains the zero", "first = dict(A=['W2'], B=['W1', 'W2', 'zeta'], C=[])"),
    ("2c", "a network that is the identity", "first = dict(A=[], B=[], C=[])"),
    ("2c", "the first step has left the zero", "later = dict(A=['W2'], B=['zeta'], C=[])", "after 2 steps"),
    ("2c", "the first step has left the zero", "later = dict(A=['W1', 'W2'], B=['W1', 'W2', 'zeta'], C=[])"),
    ("2c", "the first step", "first = dict(A=['W2'], B=['zeta'])", "three keys"),
    ("3a", "1 is for queries and keys of variance 1", "score_variance = 1.0", "it is 1 for"),
    ("3a", "query and key both have", "score_variance = n_3 * s_3**2"),
    ("3a", "this is before the division", "score_variance = score_variance * d_k", "before the division"),
    ("3a", "the score is divided by the root", "score_variance = score_variance / d_k", "once"),
    ("3a", "the score is divided by the root", "score_variance = score_variance * math.sqrt(d_k)"),
    ("3a", "this is the fourth power of s", "score_variance = s_3**4"),
    ("3b", "this is the variance with the divisor", "entropy_below = score_variance / 2 * (1 - 1 / T_3)"),
    ("3b", "divided by d_k the scores' variance", "entropy_below = entropy_below / d_k"),
    ("3b", "this is the entropy", "entropy_below = math.log(T_3) - entropy_below", "this is the entropy"),
    ("3b", "half of the variance", "entropy_below = 2 * entropy_below"),
    ("3b", "the even mean of T tokens", "entropy_below = score_variance / d_k / 2"),
    ("3b", "in nats", "entropy_below = entropy_below / math.log(2)"),
    ("3b", "query and key both have", "entropy_below = n_3 * s_3**2 / d_k / 2 * (1 - 1 / T_3)"),
    ("3c", "the others may be as low as -θ", "cap = 2 * cap", "can they be lower"),
    ("3c", "T - 1 others", "cap = 0.5 * math.log(T_cap * p_most / (1 - p_most))"),
    ("3c", "the weight's share of the denominator", "cap = 0.5 * math.log((T_cap - 1) * p_most)"),
    ("3c", "the weight's share of the denominator", "cap = 0.5 * math.log(T_cap * p_most)"),
    ("3c", "the others are T - 1 together", "cap = 0.5 * math.log(p_most / (1 - p_most))"),
    ("3c", "the others are T - 1 together", "cap = math.log(p_most / (1 - p_most))"),
    ("3c", "this is QK-norm's bound", "cap = math.sqrt(d_k)"),
    ("3c", "normalised, with this factor", "qk_factor = cap", "QK-norm"),
    ("3c", "a score is up to √d_k times the factor", "qk_factor = cap * math.sqrt(d_k)"),
    ("3c", "the sum is up to d_k", "qk_factor = cap / d_k"),
    ("3c", "queries and keys normalised", "qk_factor = 1.0"),
    ("3c", "the others may be as low as the one", "qk_factor = 2 * qk_factor"),
    ("3d", "the mask comes after the cap", weights("z = np.where(later, -np.inf, z); " + CAP), "minus infinity"),
    ("3d", "a masked score is minus infinity", weights(CAP + "; z = np.where(later, 0, z)")),
    ("3d", "later tokens are masked", weights(CAP + "; z = np.where(later.T, -np.inf, z)")),
    ("3d", "without the mask", weights(CAP)),
    ("3d", "the weights of a row sum to 1", weights(CAP + "; " + MASK, axis=0), "each row should sum"),
    ("3d", "first the division", weights("z = theta * np.tanh(z / theta) / np.sqrt(d); " + MASK), "which comes first"),
    ("3d", "the scores are not divided", weights("z = theta * np.tanh(z / theta); " + MASK), "nothing is capped"),
    ("3d", "divide by √d_k, not by d_k", weights("z = theta * np.tanh(z / d / theta); " + MASK), "nothing is capped"),
    ("3d", "the scores are not capped", weights("z = z / np.sqrt(d); " + MASK)),
    ("3d", "soft-capping is θ tanh", weights("z = np.clip(z / np.sqrt(d), -theta, theta); " + MASK), "tanh(1) = 0.76"),
    ("3d", "tanh ends at 1", weights("z = np.tanh(z / np.sqrt(d) / theta); " + MASK)),
    ("3d", "a token looks at itself", weights(CAP + "; later |= np.eye(T, k=0) > (np.arange(T) == 0); z = np.where(later, -np.inf, z)")),
    ("4a", "ln K is the least", "loss_bound = math.log(K)"),
    ("4a", "half of the variance", "loss_bound = math.log(K) + n_4 * s_4**2"),
    ("4a", "a logit is a sum of n products", "loss_bound = math.log(K) + s_4**2 / 2"),
    ("4a", "s is the standard deviation", "loss_bound = math.log(K) + n_4 * s_4 / 2"),
    ("4a", "s is the standard deviation", "loss_bound = math.log(K) + math.sqrt(n_4) * s_4 / 2"),
    ("4a", "in nats", "loss_bound = loss_bound / math.log(2)", "in nats"),
    ("4a", "in nats", "loss_bound = math.log10(K)"),
    ("4b", "the stream holds the place", "own_logit = n_4 * s_4", "embedding alone"),
    ("4b", "the stream is normalised", "own_logit = n_4 * s_4**2"),
    ("4b", "variances add", "own_logit = n_4 * s_4**2 / (s_4 + s_place)"),
    ("4b", "the head's row is", "own_logit = n_4 * math.hypot(s_4, s_place)"),
    ("4b", "the normalisation sets the mean square", "own_logit = own_logit / math.sqrt(n_4)"),
    ("4b", "on average 0", "own_logit = 0.0"),
    ("4c", "the mean of e^z is e^(q/2), not 1: the", "repeat_chance = math.exp(own_logit) / (math.exp(own_logit) + K - 1)"),
    ("4c", "the mean of e^z is e^(q/2)", "_o = (K - 1) * math.exp(n_4 * s_4**2)\nrepeat_chance = math.exp(own_logit) / (math.exp(own_logit) + _o)"),
    ("4c", "the logit of 4b", "_z = math.exp(n_4 * s_4)\nrepeat_chance = _z / (_z + (K - 1) * math.exp(n_4 * s_4**2 / 2))"),
    ("4c", "the others are K - 1 together", "repeat_chance = math.exp(own_logit) / (math.exp(own_logit) + math.exp(n_4 * s_4**2 / 2))"),
    ("4c", "the others are K - 1 together", "repeat_chance = 1.0", "between 0 and 1"),
    ("4c", "the token just read has a logit", "repeat_chance = 1 / K"),
    ("4c", "this is the probability of the others", "repeat_chance = 1 - repeat_chance"),
    ("4c", "this is the bound of 4a", "tied_loss = math.log(K) + n_4 * s_4**2 / 2", "whole denominator"),
    ("4c", "the other tokens are in", "tied_loss = own_logit"),
    ("4c", "a logarithm of a sum", "tied_loss = own_logit + math.log(K) + n_4 * s_4**2 / 2"),
    ("4c", "the loss is that of another token", "tied_loss = -math.log(repeat_chance)"),
    ("4c", "the mean of e^z is e^(q/2), not 1", "tied_loss = math.log(math.exp(own_logit) + K - 1)"),
    ("5a", "the changes in a row all push", "rate = change / math.sqrt(n_5 * v / 2)", "random signs"),
    ("5a", "the changes in a row all push", "rate = rate * math.sqrt(n_5)", "random signs"),
    ("5a", "the sum has |h| in it", "rate = change / (n_5 * math.sqrt(v / 2))"),
    ("5a", "the sum has |h| in it", "rate = change / (n_5 * v / 2)"),
    ("5a", "half of the units are 0", "rate = rate / 2"),
    ("5a", "h is not 1", "rate = change / n_5"),
    ("5a", "v is the variance", "rate = change / (n_5 * v / math.sqrt(2 * math.pi))"),
    ("5a", "there are n terms", "rate = rate * n_5"),
    ("5b", "Adam does see the size", "loss_factor = 1.0"),
    ("5b", "the step is not in proportion", "loss_factor = share * (tiny + 1e-8) / tiny"),
    ("5b", "this is the gradient in units", "loss_factor = share * 1e-8 / tiny"),
    ("5b", "this is the gradient in units", "loss_factor = 1e-8 / tiny"),
    ("5b", "the gradient stands above and below", "loss_factor = 1e-8 / ((1 - share) * tiny)"),
    ("5b", "the gradient stands above and below", "loss_factor = 1e-8 * (1 - share) / (share * tiny)"),
    ("5b", "the gradient that is needed", "loss_factor = 1e-8 * share / (1 - share)"),
    ("5b", "the gradient that is needed", "loss_factor = 1 / loss_factor"),
    ("5c", "half of the distance is enough", "lost_below = 2 * lost_below", "a little below yours moves"),
    ("5c", "the distance is that between powers of 2", "lost_below = w_0 / 256 / abs(g_5)", "a little below yours moves"),
    ("5c", "the distance is that between powers of 2", "lost_below = w_0 / 512 / abs(g_5)", "still lost"),
    ("5c", "the distance is that between powers of 2", "lost_below = w_0 / 128 / abs(g_5)"),
    ("5c", "8 bits of precision", "lost_below = lost_below / 2", "still lost"),
    ("5c", "these are float16's digits", "lost_below = lost_below / 8"),
    ("5c", "an update is the rate times", "lost_below = lost_below * abs(g_5)"),
    ("5c", "the spacing beside 1", "lost_below = 1 / 256 / abs(g_5)"),
    ("5c", "a rate is positive", "lost_below = -lost_below", "a positive rate"),
    ("5c", "the way from one neighbour", "move_chance = 2 * move_chance"),
    ("5c", "this is the probability that it stays", "move_chance = 1 - move_chance"),
    ("5c", "the distance to the neighbour counts", "move_chance = update / w_0"),
    ("5c", "the distance to the neighbour counts", "move_chance = update / (w_0 / 128)"),
    ("5c", "stochastic rounding does not lose it", "move_chance = 0.0"),
]  # fmt: skip

# Right answers in other words, types and ways: each has every point.
RIGHT = [
    ("1a", """
stream_top, delta_growth = M_0, 1
for _ in range(layers):
    for _C in (C_1, C_2):
        delta_growth *= 1 + _C / stream_top
        stream_top += _C
"""),
    ("1b", "low_quarter = np.float32((M_0 + layers / 4 * (C_1 + C_2)) / M_0)"),
    ("1c", """
def norm_backward(h, delta):
    h = torch.tensor(h, requires_grad=True)
    out = torch.nn.functional.rms_norm(h, h.shape[1:], eps=0.0)
    return torch.autograd.grad(out, h, torch.tensor(delta))[0]
"""),
    ("1c", """
def norm_backward(h, delta):
    n = h.shape[1]
    rows = []
    for x, d in zip(h, delta):
        size = np.sqrt(x @ x / n)
        rows.append((np.eye(n) - np.outer(x, x) / (x @ x)) @ d / size)
    return np.array(rows)
"""),
    ("2a", "zeta_plain = torch.tensor(math.expm1(math.log(target) / 2 / layers_2) / C).sqrt()"),
    ("2b", "zeta_pre = np.sqrt(target - 1) / np.sqrt(2 * C * layers_2)"),
    ("2c", """
first = {"A": ("W2",), "B": ["zeta"], "C": ()}
later = {"C": set(), "B": {"zeta", "W2", "W1"}, "A": ["zeta", "W1", "W2"]}
"""),
    ("3a", "score_variance = n_3**2 * s_3**4"),
    ("3b", "entropy_below = np.float64(n_3 * s_3**2) ** 2 * (T_3 - 1) / (2 * d_k * T_3)"),
    ("3c", """
cap = -math.log((1 / p_most - 1) / (T_cap - 1)) / 2
qk_factor = np.array(cap * d_k**-0.5)
"""),
    ("3d", """
def attention_weights(q, k, theta):
    q, k = torch.tensor(q), torch.tensor(k)
    z = theta * torch.tanh(q @ k.T / math.sqrt(q.shape[1]) / theta)
    later = torch.ones(z.shape, dtype=torch.bool).triu(1)
    return z.masked_fill(later, -math.inf).softmax(dim=1)
"""),
    ("3d", """
def attention_weights(q, k, theta):
    T, d = q.shape
    out = np.zeros((T, T), dtype=np.float32)
    for i in range(T):
        e = np.exp([theta * math.tanh(q[i] @ k[j] / (theta * d**0.5)) for j in range(i + 1)])
        out[i, : i + 1] = e / e.sum()
    return out
"""),
    ("4a", "loss_bound = round(math.log(K * math.exp(n_4 * s_4**2 / 2)), 3)"),
    ("4b", "own_logit = n_4 * s_4 / math.sqrt(1 + (s_place / s_4) ** 2)"),
    ("4c", """
_z, _w = n_4 * s_4**2 / math.sqrt(s_4**2 + s_place**2), math.log(K - 1) + n_4 * s_4**2 / 2
repeat_chance = 1 / (1 + math.exp(_w - _z))
tied_loss = round(np.logaddexp(_z, _w), 3)
"""),
    ("5a", "rate = change * math.sqrt(2 * math.pi / v) / n_5"),
    ("5b", "loss_factor = 1e-8 / tiny / (1 / share - 1)"),
    ("5c", """
_next = torch.nextafter(torch.tensor(w_0, dtype=torch.bfloat16), torch.tensor(9.0, dtype=torch.bfloat16))
lost_below = (float(_next) - w_0) / -g_5 / 2
move_chance = np.float32(update / (float(_next) - w_0))
"""),
]  # fmt: skip

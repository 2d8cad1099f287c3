"""Wrong and right answers to homework 4."""

NORMAL = "def xavier_normal(z):\n    return "
UNIFORM = "def xavier_uniform(u):\n    a = np.sqrt(6 / sum(u.shape))\n    return "
BACK = "def backward(W, delta, alpha, beta):\n    return "
LOSS = "def fresh_loss(logits, labels):\n    rows = np.arange(len(labels))\n"
SHIFTED = (
    "    z = logits - logits.max(axis=1, keepdims=True)\n    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)\n"
)
NORMED = "def batch_norm(z):\n    return "
WRONG = [
    ("1a", "the layer passes on E[x²]", "var_h = n * gamma * v", "the mean has gone"),
    ("1a", "that is the variance of a sum whose weights", "var_h = n * gamma * v + m**2"),
    ("1a", "that is the variance of a sum whose weights", "var_h = n * (gamma + m**2) * v"),
    ("1a", "the square of the mean is subtracted", "var_h = n * gamma * (v - m**2)"),
    ("1a", "the cross terms vanish whatever the mean", "var_h = n * gamma * v + n**2 * gamma * m**2"),
    ("1a", "gamma is the variance", "var_h = n * gamma**2 * (v + m**2)"),
    ("1a", "the mean enters with its square", "var_h = n * gamma * (v + m)"),
    ("1a", "var_h", "var_h = n * gamma * v + gamma * m**2"),
    ("1b", "this is n gamma Var[h]", "var_next = n_gamma * s**2 * (0.5 - 0.5 / math.pi)", "this is n gamma Var[h]"),
    ("1b", "a ReLU passes on half", "var_next = n_gamma * s**2"),
    ("1b", "s is the standard deviation", "var_next = n_gamma * s / 2"),
    ("1b", "var_next", "var_next = s**2 / 2"),
    ("2a", "D: zero-mean", "needed = dict(A=True, B=False, C=True, D=True, E=False)"),
    ("2a", "D: zero-mean", "needed = dict(A=False, B=False, C=True, D=True, E=True)"),
    ("2a", "something must remove the cross terms", "needed = dict.fromkeys('ABCDE', False)"),
    ("2a", "E: the result has E[x²]", "needed = dict(A=True, B=True, C=False, D=False, E=True)"),
    ("2a", "A: with a mean in the weights", "needed = dict(A=False, B=True, C=True, D=False, E=False)"),
    ("2a", "B: with equal weights", "needed = dict(A=True, B=False, C=True, D=False, E=False)"),
    ("2a", "C: the mean of a product", "needed = dict(A=True, B=True, C=False, D=False, E=False)"),
    ("2b", "equal inputs do not matter", "factor_equal_inputs = n_2 * n_gamma_2"),
    ("2b", "the n terms of the sum", "factor_equal_inputs = n_gamma_2 / n_2"),
    ("2b", "equal inputs", "factor_equal_inputs = 1.0"),
    ("2c", "here no cross term vanishes", "factor_all_equal = n_gamma_2"),
    ("2c", "n²γ is n times nγ", "factor_all_equal = n_2**2 * n_gamma_2"),
    ("2c", "n²γ is n times nγ", "factor_all_equal = n_gamma_2**2"),
    ("3a", "this is one of the two conditions", "xavier_gamma = 1 / n_in", "one of the two conditions"),
    ("3a", "this is one of the two conditions", "xavier_gamma = 1 / n_out\nxavier_std = xavier_gamma**0.5\nxavier_bound = (3 * xavier_gamma) ** 0.5", "one of the two conditions"),
    ("3a", "this is the standard deviation; gamma", "xavier_gamma = xavier_std"),
    ("3a", "the average of the widths", "xavier_gamma = 1 / (n_in + n_out)\nxavier_std = xavier_gamma**0.5\nxavier_bound = (3 * xavier_gamma) ** 0.5"),
    ("3a", "gamma is the variance", "xavier_std = xavier_gamma"),
    ("3a", "the bound is not the standard deviation", "xavier_bound = xavier_std"),
    ("3a", "this is a²", "xavier_bound = 3 * xavier_gamma"),
    ("3a", "the width of the interval is 2a", "xavier_bound = 2 * xavier_bound"),
    ("3b", "gamma is the variance, and it was made", NORMAL + "2 / sum(z.shape) * z", "it was made the standard deviation"),
    ("3b", "the widths are those of the array", NORMAL + "np.sqrt(xavier_gamma) * z", "normal: the variance is"),
    ("3b", "the two widths are the two lengths", NORMAL + "np.sqrt(1 / z.shape[1]) * z"),
    ("3b", "normal", NORMAL + "np.sqrt(2 / sum(z.shape)) * z.T"),
    ("3b", "the weights lie between 0 and a", UNIFORM + "a * u", "should have mean 0"),
    ("3b", "the bound of U[-a, a] is not", UNIFORM + "a / np.sqrt(3) * (2 * u - 1)", "is your a the standard deviation"),
    ("3b", "the interval is [-a, a]", UNIFORM + "a * (u - 0.5)", "from end to end"),
    ("3b", "the widths are those of the array", UNIFORM + "xavier_bound * (2 * u - 1)", "uniform: the variance is"),
    ("4a", "Xavier does not satisfy the forward", "forward_layer_1 = 1.0"),
    ("4a", "forward the sum runs over", "forward_layer_1 = 2 * narrow / (wide + narrow)"),
    ("4a", "this is the factor of the standard deviation", "forward_layer_1 = math.sqrt(forward_layer_1)"),
    ("4a", "one layer's gain is not the next one's loss", "forward_both = 1.0"),
    ("4a", "this is the factor of the standard deviation", "forward_both = math.sqrt(forward_both)"),
    ("4a", "the two factors are multiplied", "forward_both = 2.0"),
    ("4b", "Xavier does not satisfy the backward", "backward_layer_1 = 1.0"),
    ("4b", "backward the sum runs over", "backward_layer_1 = forward_layer_1"),
    ("4b", "this is the factor of the standard deviation", "backward_layer_1 = math.sqrt(backward_layer_1)"),
    ("4b", "one layer's gain is not the next one's loss", "backward_both = 1.0"),
    ("4b", "backward the two factors only change places", "backward_both = 1 / backward_both"),
    ("5a", "alpha need not be 1", "gain = 1.0", "alpha need not be 1"),
    ("5a", "the sign of alpha does not change", "gain = 1 / alpha", "the sign of alpha"),
    ("5a", "the weights must undo", "gain = abs(alpha)"),
    ("5a", "this is the factor for the variance", "gain = alpha**-2", "the root of your number"),
    ("5b", "forward, β does matter", "mean_square = 1.0", "β does matter"),
    ("5b", "each of the layers adds β²", "mean_square = 1 + beta**2", "this is the first layer"),
    ("5b", "the layers add β²", "mean_square = beta ** (2 * depth)"),
    ("5b", "the layers add β²", "mean_square = (1 + beta**2) ** depth"),
    ("5b", "the inputs' mean square", "mean_square = depth * beta**2"),
    ("5b", "what adds up is the square", "mean_square = 1 + depth * beta"),
    ("5c", "β is a constant", BACK + "alpha * (W.T @ delta) + beta", "derivative of a constant"),
    ("5c", "β is a constant", BACK + "W.T @ (alpha * delta + beta)"),
    ("5c", "a column of gradients goes through", BACK + "alpha * (W @ delta)", "ValueError"),
    ("5c", "the slope alpha multiplies", BACK + "W.T @ delta"),
    ("5c", "the slope is alpha, whatever its sign", BACK + "abs(alpha) * (W.T @ delta)"),
    ("5c", "W is n_out x n_in", BACK + "alpha * ((W if W.shape[0] != W.shape[1] else W.T) @ delta[: W.shape[1]])"),
    ("5d", "β does not change delta", "beta_changes_delta = True"),
    ("5d", "a weight's gradient is delta times", "beta_changes_weight_gradient = False"),
    ("5d", "β does not change delta", "beta_changes_delta, beta_changes_weight_gradient = True, False"),
    ("6a", "ln K is for logits of 0", "loss_small = math.log(K)", "logits of 0"),
    ("6a", "this is the bound", "loss_small = math.log(K) + v_small / 2"),
    ("6a", "half of the variance", "loss_small = math.log(K) + v_small"),
    ("6a", "in nats", "loss_small = loss_small / math.log(2)"),
    ("6a", "in nats", "loss_small = math.log10(K)"),
    ("6a", "random logits cost more", "loss_small = math.log(K) - v_small / 2"),
    ("6b", "ln K is the least", "loss_at_most = math.log(K)", "the least it can be"),
    ("6b", "this holds for small v only", "loss_at_most = math.log(K) + v_large / 2 * (1 - 1 / K)"),
    ("6b", "half of the variance", "loss_at_most = math.log(K) + v_large"),
    ("6b", "v is the variance already", "loss_at_most = math.log(K) + v_large**2 / 2"),
    ("6c", "the mean over the batch", "_mean = fresh_loss\ndef fresh_loss(logits, labels):\n    return len(labels) * _mean(logits, labels)"),
    ("6c", "in nats", "_mean = fresh_loss\ndef fresh_loss(logits, labels):\n    return _mean(logits, labels) / math.log(2)"),
    ("6c", "a softmax of a softmax", LOSS + SHIFTED + "    return float(-np.mean(p[rows, labels] - np.log(np.exp(p).sum(axis=1))))"),
    ("6c", "the sign", "_mean = fresh_loss\ndef fresh_loss(logits, labels):\n    return -_mean(logits, labels)"),
    ("6c", "for large logits the exponential overflows", LOSS + "    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)\n    return float(-np.log(p[rows, labels]).mean())", "overflows"),
    ("6c", "for logits of -900", LOSS + "    z = logits - logits.max()\n    return float((np.log(np.exp(z).sum(axis=1) + 1e-300) - z[rows, labels]).mean())"),
    ("6c", "a label far below the largest logit", LOSS + SHIFTED + "    return float(-np.log(p[rows, labels] + 1e-12).mean())", "its probability is 0 in float64"),
    ("6c", "a label far below the largest logit", LOSS + SHIFTED + "    return float(-np.log(np.maximum(p[rows, labels], 1e-30)).mean())"),
    ("6c", "a label far below the largest logit", LOSS + SHIFTED + "    return float(-np.log(p[rows, labels]).mean())"),
    ("7a", "this is the variance over the units", NORMED + "(z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, keepdims=True)", "over the units of each input"),
    ("7a", "each unit has a mean", NORMED + "(z - z.mean()) / z.std()"),
    ("7a", "divide by the standard deviation", NORMED + "(z - z.mean(axis=0)) / z.var(axis=0)"),
    ("7a", "the variance divides by the number", NORMED + "(z - z.mean(axis=0)) / z.std(axis=0, ddof=1)"),
    ("7a", "the mean is subtracted as well", NORMED + "z / z.std(axis=0)"),
]  # fmt: skip

# Right answers in other words, types and ways: each has every point.
RIGHT = [
    ("1a", 'var_h = sp.expand(n * (gamma * v + gamma * m**2))'),
    ("1a", """
_n, _g, _m, _v = sp.symbols('n gamma m v')
var_h = sp.Sum(_g * _v + _g * _m**2, (sp.Symbol('j'), 1, _n))
"""),
    ("1b", 'var_next = np.float32(n_gamma * (s**2 * (0.5 - 0.5 / np.pi) + s**2 / (2 * np.pi)))'),
    ("2a", 'needed = dict(A=1, B=1, C=np.True_, D=0, E=False)'),
    ("2b", 'factor_equal_inputs = np.array(n_gamma_2)'),
    ("2c", 'factor_all_equal = sp.Integer(n_2) * sp.Float(n_gamma_2)'),
    ("3a", """
xavier_gamma = sp.Rational(2, n_in + n_out)
xavier_std, xavier_bound = sp.sqrt(xavier_gamma), sp.sqrt(3 * xavier_gamma)
"""),
    ("3b", """
import torch
def xavier_normal(z):
    z = torch.as_tensor(z, dtype=torch.float32)
    return z * (2 / sum(z.shape)) ** 0.5
def xavier_uniform(u):
    a = (6 / (len(u) + len(u[0]))) ** 0.5
    return (a - 2 * a * u).astype(np.float32)
"""),
    ("4a", """
_g = 2 / (wide + narrow)
forward_layer_1 = _g * wide
forward_both = np.float32(_g**2 * wide * narrow)
"""),
    ("4b", """
_q = wide / narrow
backward_layer_1 = 2 / (1 + _q)
backward_both = 4 / (2 + _q + 1 / _q)
"""),
    ("5a", 'gain = (alpha**2) ** -0.5'),
    ("5b", """
mean_square = 1
for _ in range(depth):
    mean_square = alpha**2 * gain**2 * mean_square + beta**2
"""),
    ("5c", """
import torch
def backward(W, delta, alpha, beta):
    h = torch.zeros(W.shape[1], requires_grad=True)
    out = alpha * (torch.tensor(W, dtype=torch.float32) @ h) + beta
    return torch.autograd.grad(out @ torch.tensor(delta, dtype=torch.float32), h)[0]
"""),
    ("5d", """
beta_changes_delta = np.False_
beta_changes_weight_gradient = 1
"""),
    ("6a", 'loss_small = np.log(K) + (v_small - v_small / K) / 2'),
    ("6b", 'loss_at_most = np.log(K * np.exp(v_large / 2))'),
    ("6c", """
import torch
def fresh_loss(logits, labels):
    return torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))
"""),
    ("7a", """
import torch
def batch_norm(z):
    z = torch.tensor(z, dtype=torch.float32)
    return torch.nn.functional.batch_norm(z, None, None, training=True, eps=1e-10)
"""),
]  # fmt: skip

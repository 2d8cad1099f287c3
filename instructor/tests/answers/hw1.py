"""Wrong and right answers to homework 1."""

NAMES = "dl_dh2, dh2_dh1, dh1_dh0, dh1_dW1, dl_dW1 = "
WRONG = [
    ("1", "this is the transpose", NAMES + "(1, 2), (5, 2), (3, 5), (5, 5, 3), (5, 3)"),
    ("1", "this is the transpose", NAMES + "(1, 2), (2, 5), (3, 5), (5, 5, 3), (5, 3)"),
    ("1", "this is the column δ", NAMES + "(2, 1), (2, 5), (5, 3), (5, 5, 3), (5, 3)"),
    ("1", "a row has two axes", NAMES + "(2,), (2, 5), (5, 3), (5, 5, 3), (5, 3)"),
    ("1", "a vector by a matrix has three axes", NAMES + "(1, 2), (2, 5), (5, 3), (5, 3), (5, 3)", "has three axes"),
    ("1", "the axes of the numerator, h1, come first", NAMES + "(1, 2), (2, 5), (5, 3), (5, 3, 5), (5, 3)"),
    ("1", "the gradient by a matrix", NAMES + "(1, 2), (2, 5), (5, 3), (5, 5, 3), (3, 5)"),
    ("1", "the gradient by a matrix", NAMES + "(1, 2), (2, 5), (5, 3), (5, 5, 3), (1, 5, 3)"),
    ("2", "this is the transpose", "def layer_jacobian(W, h):\n    return ((1 - np.tanh(W @ h)**2)[:, None] * W).T", "this is the transpose"),
    ("2", "this is W alone", "def layer_jacobian(W, h):\n    return W", "the slopes are missing"),
    ("2", "slope i belongs to row i", "def layer_jacobian(W, h):\n    return (1 - np.tanh(W @ h)**2) * W", "slope i belongs to row i"),
    ("2", "diag(slopes) multiplies W", "def layer_jacobian(W, h):\n    return np.diag(1 - np.tanh(W @ h)**2) @ W.T"),
    ("2", "these are the slopes of the sigmoid",
     "def layer_jacobian(W, h):\n    s = 1 / (1 + np.exp(-W @ h))\n    return (s * (1 - s))[:, None] * W"),
    ("3a", "that is what it was meant to return", "a, b = 6, 2", "what it should return"),
    ("3a", "both ends are one too low", "a, b = 5, 2"),
    ("3a", "both ends are one too low", "a, b = 6, 1"),
    ("3a", "J[i] is the derivative of h^i", "a, b = 4, 0"),
    ("3a", "J[i] is the derivative of h^i", "a, b = 4, 1"),
    ("3b", "this is one layer too low", "product = suspicious", "one layer too low"),
    ("3b", "this has one factor too many",
     "def product(J, t):\n    P = np.eye(J[max(t, 1)].shape[1])\n    for j in J[max(t, 1):]:\n        P = j @ P\n    return P"),
    ("3b", "the top factor is missing",
     "def product(J, t):\n    P = np.eye(J[t + 1].shape[1])\n    for j in J[t + 1:-1]:\n        P = j @ P\n    return P"),
    ("3b", "the factors stand in the wrong order",
     "def product(J, t):\n    P = np.eye(J[t + 1].shape[0])\n    for j in J[t + 1:]:\n        P = P @ j\n    return P"),
    ("3b", "Expecting at least two arrays", "def product(J, t):\n    return np.linalg.multi_dot(J[:t:-1])"),
    ("3b", "t = 0 of 0 to 4", "_right = product\ndef product(J, t):\n    return _right(J, t) if t else _right(J, 1)"),
    ("4a", "this multiplies by W",
     "def backward(W, h, delta):\n    for t in range(len(W) - 1, 0, -1):\n        delta = W[t] @ ((1 - h[t]**2) * delta)\n    return delta"),
    ("4a", "the slopes are missing",
     "def backward(W, h, delta):\n    for t in range(len(W) - 1, 0, -1):\n        delta = W[t].T @ delta\n    return delta"),
    ("4a", "δ meets the slope of layer t first",
     "def backward(W, h, delta):\n    for t in range(len(W) - 1, 0, -1):\n        delta = (1 - h[t]**2) * (W[t].T @ delta)\n    return delta"),
    ("4a", "a one-dimensional array is asked for",
     "def backward(W, h, delta):\n    delta = delta[:, None]\n    for t in range(len(W) - 1, 0, -1):\n"
     "        delta = W[t].T @ ((1 - h[t]**2)[:, None] * delta)\n    return delta"),
    ("4a", "this multiplies matrices with each other",
     "def backward(W, h, delta):\n    P = np.eye(len(h[0]))\n    for t in range(1, len(W)):\n"
     "        P = (1 - h[t]**2)[:, None] * W[t] @ P\n    return delta @ P", "this forms the product of matrices"),
    ("4b", "k matrices take k - 1 products", "flops_matrix_first, flops_row_first = 2 * width**3 * factors + 2 * width**2, 2 * width**2 * factors"),
    ("4b", "k matrices take k - 1 products", "flops_matrix_first, flops_row_first = 2 * width**3 * factors, 2 * width**2 * factors"),
    ("4b", "the row has to be multiplied too", "flops_matrix_first, flops_row_first = 2 * width**3 * (factors - 1), 2 * width**2 * factors", "the row has to be multiplied"),
    ("4b", "each term is a multiplication", "flops_matrix_first, flops_row_first = width**3 * (factors - 1) + width**2, 2 * width**2 * factors", "a multiplication and an addition"),
    ("4b", "each term is a multiplication", "flops_row_first = width**2 * factors", "a multiplication and an addition"),
    ("4b", "the two are exchanged", "flops_matrix_first, flops_row_first = flops_row_first, flops_matrix_first"),
    ("4b", "no two matrices are multiplied", "flops_row_first = 2 * width**3 * factors"),
    ("4b", "no two matrices are multiplied", "flops_row_first = flops_matrix_first"),
    ("4b", "each of the k factors meets the row", "flops_row_first = 2 * width**2 * (factors - 1)"),
    ("5a", "two 2 x 2 matrices of finite real numbers", "A = B = np.eye(3) / 2"),
    ("5a", "two 2 x 2 matrices of finite real numbers", "A, B = np.array([[0, np.inf], [0, 0]]), np.array([[0, 0], [1, 0]])"),
    ("5a", "with a matrix of zeros nothing grows", "A = B = np.zeros((2, 2))"),
    ("5a", "an eigenvalue is not below 1", "A = B = math.sqrt(growth) * np.eye(2)", "not below 1"),
    ("5a", "the product is 0", "A = B = np.array([[0, math.sqrt(growth)], [0, 0]])"),
    ("5a", "this grows by growth squared", "A = np.array([[0, growth], [0, 0]])\nB = A.T"),
    ("5a", "it shrinks", "A = B = np.array([[0.9, 1.0], [0, 0.9]]) @ np.diag([0.9, 0.9])"),
    ("5a", "the first pair is right", "A, B = np.array([[0, 1.0], [0, 0]]), np.array([[0, 0], [1.0, 0.5]])\nA = A * growth / np.linalg.norm(A @ B, 2)"),
    ("5b", "eigenvalues below 1 do not make", "below_one = 1", "only in the long run"),
    ("5b", "eigenvalues below 1 do not make", "below_one = 0", "only in the long run"),
    ("5b", "this is where the norm is largest",
     "below_one = 1 + int(np.argmax([np.linalg.norm(np.linalg.matrix_power([[diagonal, corner], [0, diagonal]], k), 2) for k in range(1, 199)]))"),
    ("5b", "this is the last power whose norm", "below_one = below_one - 1"),
    ("6", "this is log10", "_ln = log_norm\ndef log_norm(J):\n    return _ln(J) / math.log(10)"),
    ("6", "the logarithms of the factors' norms", "def log_norm(J):\n    return sum(np.log(np.linalg.norm(j)) for j in J)", "the factors' norms bound"),
    ("6", "the factors are in the wrong order", "_ln = log_norm\ndef log_norm(J):\n    return _ln(J[::-1])"),
    ("6", "this is the log of the largest singular value",
     "def log_norm(J):\n    P, total = np.eye(3), 0.0\n    for j in J:\n        P = j @ P\n        s = np.linalg.norm(P)\n"
     "        P, total = P / s, total + np.log(s)\n    return total + np.log(np.linalg.norm(P, 2))"),
    ("6", "the scale of the last step is missing",
     "def log_norm(J):\n    P = np.eye(3)\n    for j in J:\n        P = j @ P\n        P = P / np.linalg.norm(P)\n    return np.log(np.linalg.norm(P))"),
    ("6", "the product over- or underflows", "import functools\ndef log_norm(J):\n    with np.errstate(all='ignore'):\n        return np.log(np.linalg.norm(functools.reduce(lambda P, j: j @ P, J)))", "take the log of each scale"),
]  # fmt: skip

# Right answers in other words, types and ways: each has every point.
RIGHT = [
    ("1", """
dl_dh2, dh2_dh1, dh1_dh0, dh1_dW1, dl_dW1 = [1, 2], torch.Size([2, 5]), np.array([5, 3]), torch.tensor([5, 5, 3]), (5, 3)
"""),
    ("2", """
def layer_jacobian(W, h):
    f = lambda v: torch.tanh(torch.as_tensor(W) @ v)
    return torch.func.jacrev(f)(torch.as_tensor(h))
"""),
    ("2", """
def layer_jacobian(W, h):
    W, h = np.float32(W), np.float32(h)
    return np.diag(1 / np.cosh(W @ h)**2) @ W
"""),
    ("3a", 'a, b = np.array(5), torch.tensor(1.0)'),
    ("3b", """
def product(J, t):
    P = torch.eye(J[-1].shape[0], dtype=torch.float64)
    for j in J[:t:-1]:
        P = P @ torch.as_tensor(j)
    return P
"""),
    ("4a", """
def backward(W, h, delta):
    row = torch.as_tensor(delta).float()[None]
    for t in range(len(W) - 1, 0, -1):
        row = row * (1 - torch.as_tensor(h[t]).float()**2) @ torch.as_tensor(W[t]).float()
    return row[0]
"""),
    ("4b", """
flops_matrix_first = torch.tensor(2 * width**2 * ((factors - 1) * width + 1))
flops_row_first = np.float64(2 * width * width * factors)
"""),
    ("5a", """
A = torch.tensor([[0, 0], [growth, 0]])
B = [[0.0, 1.0], [0.0, 0.0]]
"""),
    ("5a", """
A = np.float32([[0.5, growth / 0.5], [0, -0.5]])
A, B = A * 0, A * 0
A[1, 0] = B[0, 1] = growth**0.5
"""),
    ("5b", """
below_one = 900
while np.linalg.norm(np.linalg.matrix_power(np.array([[diagonal, corner], [0, diagonal]]), below_one - 1), 2) < 1:
    below_one = np.int64(below_one - 1)
"""),
    ("6", """
def log_norm(J):
    P, total = torch.as_tensor(J[-1]).float(), torch.tensor(0.0)
    for j in J[-2::-1]:
        P = P @ torch.as_tensor(j).float()
        s = P.abs().max()
        P, total = P / s, total + s.log()
    return total + P.norm().log()
"""),
]  # fmt: skip

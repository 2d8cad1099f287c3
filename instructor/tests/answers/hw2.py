"""Wrong and right answers to homework 2."""

LOGS = "step_fp16, step_bf16, step_fp32 = (math.floor(f(torch.finfo(d).max)) + 1 for d in (torch.float16, torch.bfloat16, torch.float32))"
WRONG = [
    ("1", "bf16 has eight exponent bits", "step_bf16 = step_fp16"),
    ("1", "bf16 has eight exponent bits", "step_bf16 = step_fp16 - 1"),
    ("1", "at this step the power still fits", "step_fp16, step_bf16, step_fp32 = step_fp16 - 1, step_bf16 - 1, step_fp32 - 1", "which still fits"),
    ("1", "at this step the power still fits", "step_bf16 = step_bf16 - 1", "which still fits"),
    ("1", "this takes the smallest normal number", "step_fp16 = math.ceil(14 / math.log2(factor))"),
    ("1", "this takes the smallest normal number", "step_fp32 = math.ceil(126 / math.log2(factor))"),
    ("1", "the logarithms of the range", "f = lambda most: math.log10(most) / math.log(factor)\n" + LOGS),
    ("1", "the logarithms of the range", "f = lambda most: math.log2(most) / math.log(factor)\n" + LOGS),
    ("1", "this follows a product that is rounded", "from labs.formats import overflow_depth\nstep_bf16 = overflow_depth(factor, 'bf16')"),
    ("2a", "2^-11 fits into fp16", "one_plus = 1 + 2**-11", "but not beside 1"),
    ("2a", "a tie goes to the neighbour", "one_plus = 1 + 2**-10"),
    ("2a", "that is 1 plus half of the spacing", "k_fp16 = 11"),
    ("2a", "that is 1 plus half of the spacing", "k_bf16 = 8"),
    ("2a", "this counts fp16's digits", "k_bf16 = 10", "pays for its range"),
    ("2a", "that is the smallest number", "k_fp16 = 24"),
    ("2a", "that is the smallest number", "k_fp16 = 14"),
    ("2a", "k in fp16", "k_fp16 = 9"),
    ("2a", "k in bf16", "k_bf16 = 6"),
    ("2b", "the sum stops long before", "stall = 65504", "never comes near"),
    ("2b", "the sum stops long before", "stall = math.inf", "never comes near"),
    ("2b", "at this value the step still counts", "stall = stall / 2"),
    ("2b", "where the spacing equals the step", "stall = stall * 2"),
    ("2b", "the addition that changes nothing", "additions = additions + 1", "changes nothing"),
    ("2b", "this is the sum divided by the step", "additions = round(float(stall) / step)"),
    ("3a", "here the power becomes subnormal", "cast_zero = next(k for k in range(999) if shrink**k < 2**-14)", "is subnormal, not 0"),
    ("3a", "the power is below the smallest number", "cast_zero = next(k for k in range(999) if shrink**k < 2**-24)"),
    ("3a", "this is the last step that is not 0", "cast_zero = cast_zero - 1"),
    ("3a", "first 0", "cast_zero = cast_zero + 1"),
    ("3b", "vanished is not exactly 0", "product_end = 0.0", "never reaches 0"),
    ("3b", "vanished is not exactly 0", "product_end, product_step = 0.0, cast_zero", "never reaches 0"),
    ("3b", "this is the smallest number of fp16", "product_end = 2.0**-24"),
    ("3b", "this is the smallest normal number", "product_end = 2.0**-14"),
    ("3b", "this is where the power rounded once", "product_step = cast_zero"),
    ("3b", "the factor is rounded to fp16, too",
     "_p = [np.float16(1)]\nfor _k in range(2000):\n    _p.append(np.float16(float(_p[-1]) * shrink))\nproduct_step = _p.index(_p[-1])"),
    ("3b", "count from 1", "product_step = product_step + 1"),
    ("3b", "count from 1", "product_step = product_step - 1"),
    ("4", "this ranks by the largest entry", "ranking = order", "ranks by the largest entry"),
    ("4", "this ranks by the largest singular value", "ranking = ''.join(order[i] for i in (1, 3, 0, 2))", "only bounds the product"),
    ("4", "this is the reverse order", "ranking = ranking[::-1]", "grows least comes first"),
    ("4", "the signs of the matrix", "ranking = ''.join(order[i] for i in (1, 0, 3, 2))"),
    ("4", "ranking", "ranking = ranking[0] + ranking[2] + ranking[1] + ranking[3]"),
    ("4", "ranking", "ranking = ranking[1] + ranking[0] + ranking[2:]"),
    ("4", "this is the entry", "fastest = entry"),
    ("4", "this is one step's largest entry", "fastest = 1"),
    ("4", "the permutation never grows", "fastest = 7.2"),
    ("5", "this is where NaN or Inf shows", "unavoidable = next(k for k, w in enumerate(weights) if not np.isfinite(w))"),
    ("5", "this is where NaN or Inf shows", "unavoidable = next(k for k, w in enumerate(weights) if np.isnan(w))"),
    ("5", "this is where NaN or Inf shows", "unavoidable = next(k for k, w in enumerate(weights) if not np.isfinite(w**4))"),
    ("5", "the last checkpoint with a finite loss", "unavoidable = next(k for k, w in enumerate(weights) if not np.isfinite(w**4)) - 1"),
    ("5", "this checkpoint can still be rescued", "unavoidable = unavoidable - 1", "can still be rescued"),
    ("5", "this checkpoint can still be rescued", "unavoidable = 0", "can still be rescued"),
    ("5", "this checkpoint can still be rescued", "unavoidable = 1", "can still be rescued"),
    ("5", "step", "unavoidable = 13"),
    ("5", "step", "unavoidable = -1"),
    ("5", "that is the tenth", "largest_rate = rate / 10"),
    ("5", "that is the run's own rate", "largest_rate = rate"),
    ("5", "at this rate the weight reaches 0", "largest_rate = largest_rate / 2"),
    ("5", "one step multiplies w by", "largest_rate = 2 / abs(float(weights[unavoidable]))"),
    ("5", "this is the largest rate for the checkpoint before", "largest_rate = 2 / float(weights[unavoidable - 1]) ** 2"),
    ("6a", "this keeps the smallest gradient from 0", "k_low = math.ceil(math.log2(2**-24 / smallest))", "it has lost digits"),
    ("6a", "this keeps the smallest gradient from 0", "k_low = k_low - 11"),
    ("6a", "one power less leaves", "k_low = k_low + 1"),
    ("6a", "the smallest gradient is still just below", "k_low = k_low - 1"),
    ("6a", "k_low and k_high are exchanged", "k_low, k_high = k_high, k_low"),
    ("6a", "at this scale the largest gradient is Inf", "k_high = k_high + 1", "is Inf in fp16"),
    ("6a", "one power more still fits", "k_high = k_high - 1"),
    ("6a", "this looks at the smallest gradient", "k_high = math.floor(math.log2(65504 / smallest))"),
]  # fmt: skip

# Right answers in other words, types and ways: each has every point.
RIGHT = [
    ("4", "ranking = list(ranking)"),
    ("4", "ranking = f' {ranking.lower()} '"),
    ("1", """
step_fp16, step_bf16, step_fp32 = (np.array(next(k for k in range(999) if factor**k > torch.finfo(d).max)) for d in (torch.float16, torch.bfloat16, torch.float32))
"""),
    ("2a", """
one_plus = np.float16(1) + np.float16(2**-11)
k_fp16 = np.array(10)
k_bf16 = torch.tensor(7)
"""),
    ("2b", """
stall = torch.zeros((), dtype=torch.float16)
sums = [stall]
for _ in range(9000):
    sums.append(sums[-1] + torch.tensor(step).half())
stall = sums[-1]
additions = torch.tensor(sums.index(stall))
"""),
    ("3a", """
cast_zero = torch.tensor(int((torch.tensor(shrink, dtype=torch.float64) ** torch.arange(2000)).half().count_nonzero()))
"""),
    ("3b", """
from labs.formats import sticking_point
product_step, product_end = sticking_point(shrink, 'fp16')
"""),
    ("3b", """
from labs.formats import sticking_point
product_step, product_end = sticking_point(shrink, 'fp16')
product_end = float(np.format_float_scientific(product_end, precision=1))
"""),
    ("4", """
_g = {n: np.linalg.norm(np.linalg.matrix_power(m, 20)) for n, m in M.items()}
ranking = ''.join(sorted(_g, key=_g.get))
fastest = torch.tensor(M[ranking[-1]]).sum(1)[0].float()
"""),
    ("5", """
unavoidable = np.int64(0)
while rate / 10 * weights[unavoidable]**2 < 2:
    unavoidable += 1
largest_rate = np.float32(2 / weights[unavoidable]**2)
"""),
    ("6a", """
k_low, k_high = -40, 60
while smallest * 2.0**k_low < 2**-14:
    k_low += 1
while largest * 2.0**k_high > 65504:
    k_high -= 1
k_low, k_high = np.float32(k_low), torch.tensor(k_high)
"""),
]  # fmt: skip

"""The cases of the float model's ops: the inputs that hunt their bugs.

A function for each op draws its inputs from a seed of its own, so that a new op changes no file of another (add cases
at the end of a function). `exact` marks results whose float32 bits follow from the op's definition; for all others
PyTorch's own float32 error against float64 is the measure. formulas.py says what is right.
"""

import numpy as np

import formulas
from case import generator, op, token_ids
from cases_states import kept_as_f16, kept_as_i8


@op("embedding", formulas.embedding, exact="true")
def embedding(case, rng):
    w = rng.normal(size=(11, 24))
    case("basic", "first, last and repeated rows", {"tokens": token_ids(0, 10, 3, 3, 7), "w": w})
    case("one-token", "a chunk of one", {"tokens": token_ids(10), "w": w})


@op("add", formulas.add, exact="true")
def add(case, rng):
    x, y = rng.normal(size=(2, 3, 17))
    case("basic", "sums rounded once", {"x": x, "y": y}, flags=["basic", "odd-size"])
    case(
        "one-token",
        "cancellation to almost nothing",
        {"x": x[:1], "y": -x[:1] * (1 + 1e-6)},
        flags=["one-token", "cancel"],
    )
    case("outlier", "a large term that swallows a small one", {"x": x * 1e8, "y": y})


@op("rms-norm", formulas.rms_norm)
def rms_norm(case, rng):
    def inputs(l, m, size=1.0):
        return {"x": rng.normal(size=(l, m)) * size, "w": rng.normal(1, 0.3, m)}

    case("basic", "mean over the row and the weight", inputs(3, 64))
    case("odd-size", "a row that fills no lane evenly", inputs(2, 33))
    case("one-token", "the model's width in a chunk of one", inputs(1, 384))
    case("no-weight", "the weight may be left out", {"x": rng.normal(size=(3, 48))})
    x = rng.normal(size=(3, 32))
    x[1] = 0
    case("zero-row", "eps keeps a row of zeros from 0/0", {"x": x, "w": rng.normal(1, 0.3, 32)})
    x = rng.normal(size=(2, 96))
    x[0, 17], x[1, 95] = 4000, -3e4
    case("outlier", "one channel that dominates the sum", {"x": x, "w": rng.normal(1, 0.3, 96)})
    case(
        "small",
        "eps inside the root, not outside: mean(x²) is of eps's size",
        inputs(3, 40, 3e-3),
        flags=["eps"],
    )
    case("eps", "eps is an attribute", inputs(2, 40), {"eps": 0.1})


@op("linear", formulas.linear)
def linear(case, rng):
    def inputs(l, i, o, bias=True):
        x, w = rng.normal(size=(l, i)), rng.normal(size=(o, i)) / i**0.5
        return {"x": x, "w": w, **({"b": rng.normal(size=o)} if bias else {})}

    case("basic", "rows of w against rows of x, and the bias", inputs(5, 24, 16))
    case("no-bias", "the bias may be left out", inputs(3, 24, 16, False))
    case("one-token", "a chunk of one", inputs(1, 64, 48))
    case("odd-size", "sizes that fill no lane evenly", inputs(3, 33, 17))
    case("large-k", "the sum of 5120 products", inputs(1, 5120, 5, False), flags=["K large"])
    outlier = inputs(2, 40, 9)
    outlier["x"][1, 33] = 5000
    case("outlier", "one input that dominates the sum", outlier)


@op("causal-conv1d", formulas.causal_conv1d, exact="past")
def causal_conv1d(case, rng):
    def inputs(l, d, k=4, bias=True, past=False):
        values = {"x": rng.normal(size=(l, d)), "w": rng.normal(size=(d, k)) / 2}
        values.update({"b": rng.normal(size=d)} if bias else {})
        return {**values, **({"past": rng.normal(size=(d, k - 1))} if past else {})}

    none = {"activation": "none"}
    case("basic", "the text's start: zeros before it", inputs(9, 16))
    case("with-state", "a chunk continues where the last one ended", inputs(9, 16, past=True))
    case("decode-step", "one token: the state moves by one", inputs(1, 24, past=True))
    case("one-token", "one token at the text's start", inputs(1, 16))
    case("shorter-than-conv", "two tokens leave one old input in the state", inputs(2, 16, past=True))
    case(
        "shorter-than-conv-start",
        "two tokens at the text's start leave a zero in the state",
        inputs(2, 16),
        flags=["shorter-than-conv"],
    )
    case("no-bias", "the bias may be left out", inputs(5, 16, bias=False))
    case("activation-none", "no silu", inputs(5, 16), none, ["activation none"])
    case("odd-size", "17 channels and three taps", inputs(6, 17, 3, past=True))
    case("one-tap", "a convolution of width one has no state", inputs(4, 5, 1), flags=["k=1"])
    impulse = {"x": np.eye(1, 6).T * np.ones((1, 3)), "w": np.arange(1.0, 13).reshape(3, 4)}
    case(
        "impulse",
        "an impulse gives the taps from last to first: cross-correlation",
        impulse,
        none,
        exact="true",
    )


@op("softplus", formulas.softplus)
def softplus(case, rng):
    case("basic", "around zero", {"x": rng.normal(size=(3, 65)) * 3}, flags=["basic", "odd-size"])
    case(
        "large",
        "beyond 20 it is x, and exp must not overflow",
        {"x": rng.uniform(20.01, 300, (2, 32))},
        flags=["large-dt"],
        exact="true",
    )
    case("threshold", "both sides of 20", {"x": rng.uniform(19, 21, (2, 48))})
    for low, high in ((-12, -5), (-17, -12), (-40, -25), (-87, -80)):
        case(
            f"negative{low}",
            "log(1 + exp(x)) loses its digits, log1p does not",
            {"x": rng.uniform(low, high, (1, 48))},
            flags=["small-dt"],
        )
    case("edges", "±0, underflow", {"x": np.array([[0.0, -0.0, 1e-30, -1e-30, -104, -120, -1e30]])})
    case("denormal", "results below the smallest normal float", {"x": rng.uniform(-103, -88, (1, 32))})


@op("silu", formulas.silu)
def silu(case, rng):
    case("basic", "around zero", {"x": rng.normal(size=(3, 65)) * 3}, flags=["basic", "odd-size"])
    case("large", "beyond the range of exp it is x", {"x": rng.uniform(90, 3e4, (2, 32))}, exact="true")
    for low, high in ((-12, -5), (-40, -25), (-87, -80)):
        case(f"negative{low}", "small results keep their digits", {"x": rng.uniform(low, high, (1, 48))})
    case(
        "edges",
        "±0 and an exp that overflows",
        {"x": np.array([[0.0, -0.0, 1e-30, -1e-30, -88, -89, -100, -1e4, -1e30]])},
    )


@op("neg-exp", formulas.neg_exp)
def neg_exp(case, rng):
    case(
        "basic",
        "A_log as it is initialised, log 1 … log 16",
        {"x": np.log(np.arange(1.0, 17)) + rng.normal(size=(6, 16)) * 0.1},
    )
    case("odd-size", "a row that fills no lane evenly", {"x": rng.normal(size=(3, 5))})
    for low, high in ((-100, -90), (-20, -18), (5, 6), (86, 88.5)):
        case(
            f"range{low}",
            "the relative error far from zero",
            {"x": rng.uniform(low, high, (1, 48))},
            flags=["range"],
        )


@op("selective-scan", formulas.selective_scan)
def selective_scan(case, rng):
    def inputs(l, d, n=16, h=False, low=0.001, high=0.1):
        dt = np.exp(rng.uniform(np.log(low), np.log(high), (l, d)))
        values = {
            "u": rng.normal(size=(l, d)),
            "dt": dt,
            "A": -np.exp(np.log(np.arange(1.0, n + 1)) + rng.normal(size=(d, n)) * 0.2),
            "B": rng.normal(size=(l, n)),
            "C": rng.normal(size=(l, n)),
            "D": rng.normal(1, 0.2, d),
            "z": rng.normal(size=(l, d)),
        }
        return {**values, **({"h": rng.normal(size=(d, n))} if h else {})}

    def without(values, name):
        return {key: value for key, value in values.items() if key != name}

    case("basic", "the recurrence, the skip and the gate", inputs(12, 8))
    case("with-state", "a chunk continues where the last one ended", inputs(7, 8, h=True))
    case("decode-step", "one token on a state", inputs(1, 24, h=True))
    case("one-token", "one token at the text's start", inputs(1, 8))
    case("odd-size", "five channels of three states", inputs(9, 5, 3, h=True))
    case("one-state", "n = 1: the sum over n is one product", inputs(6, 3, 1, h=True), flags=["n=1"])
    case("no-skip", "D may be left out", without(inputs(6, 8), "D"))
    case("no-gate", "z may be left out", without(inputs(6, 8), "z"))
    case(
        "large-dt",
        "decays that underflow: the state forgets everything",
        inputs(8, 6, h=True, low=5, high=60),
    )
    case(
        "small-dt",
        "decays near one over 64 tokens: errors that add up",
        inputs(64, 4, h=True, low=1e-5, high=1e-3),
    )
    outlier = inputs(10, 6)
    outlier["u"][3, 2] = 400
    case("outlier", "one large input, then its echo through the state", outlier)
    # Each kind of rounding draws from a stream of its own. The streams' names come from a time when each was an op.
    kept_as_f16(case, generator("selective-scan-f16"))
    kept_as_i8(case, generator("selective-scan-i8state"))


@op("slice", formulas.slice_, exact="true")
def slice_(case, rng):
    x = rng.normal(size=(3, 56))
    case("basic", "columns from the middle of every row", {"x": x}, {"start": 24, "size": 16})
    case("first", "from the first column", {"x": x}, {"start": 0, "size": 24})
    case("last", "up to the last column", {"x": x}, {"start": 40, "size": 16})
    case("one-token", "one column of one row", {"x": x[:1]}, {"start": 55, "size": 1})

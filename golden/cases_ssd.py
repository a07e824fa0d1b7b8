"""The cases of Mamba-2's ops: the scan whose decay is one number for each head, and the norm behind its gate.

As in cases_float.py. A step of exactly 1 comes from equal limits, lo = hi = 1, and a decay of exactly 1 from A = 0: then
every sum is exact, and so are the bits.
"""

import numpy as np
import torch

import formulas
from case import op

ONE = {"lo": 1, "hi": 1}


@op("gated-rms-norm", formulas.gated_rms_norm)
def gated_rms_norm(case, rng):
    def inputs(l, d, size=1.0):
        return {"x": rng.normal(size=(l, d)) * size, "z": rng.normal(size=(l, d)) * 2, "w": rng.normal(1, 0.3, d)}

    case("basic", "the gate comes before the mean, the weight after it", inputs(3, 64))
    case("two-groups", "each half of a row has a mean of its own", inputs(3, 64), {"g": 2}, ["groups"])
    case("eight-groups", "each eighth of a row has a mean of its own", inputs(2, 256), {"g": 8}, ["groups"])
    case("one-token", "the model's width in a chunk of one", inputs(1, 768))
    case("odd-size", "groups of 33, which fill no lane evenly", inputs(2, 99), {"g": 3})
    case("small-groups", "groups of 3, fewer than there are lanes", inputs(2, 24), {"g": 8}, ["odd-size"])
    values = inputs(3, 48)
    del values["w"]
    case("no-weight", "the weight may be left out", values, {"g": 2})
    values = inputs(4, 32)
    values["x"][1], values["z"][2] = 0, -200
    case("zero-row", "eps keeps a row of zeros from 0/0, and one whose gate is shut", values)
    values = inputs(2, 96)
    values["x"][0, 17], values["x"][1, 95] = 4000, -3e4
    values["z"][0, 17], values["z"][1, 95] = 3, 2
    case("outlier", "one channel that dominates its group, and no other group", values, {"g": 2})
    values = {**inputs(2, 40), "z": rng.uniform(-120, 120, (2, 40))}
    case("large-gate", "beyond the range of exp silu is z, or almost nothing", values)
    case("small", "eps inside the root, not outside: mean(v²) is of eps's size", inputs(3, 40, 3e-3), flags=["eps"])
    case("eps", "eps is an attribute", inputs(2, 40), {"eps": 0.1})


@op("ssd-scan", formulas.ssd_scan)
def ssd_scan(case, rng):
    case("basic", "the recurrence and the skip, one group", drawn(rng, 9, 3, 4, 8))
    case("two-groups", "the first half of the heads reads the first B and C", drawn(rng, 6, 4, 4, 8, g=2), {"g": 2}, ["groups"])
    case("eight-groups", "eight groups of one head", drawn(rng, 5, 8, 4, 4, g=8), {"g": 8}, ["groups"])
    case("head-32", "heads of 32 channels, 64 states", drawn(rng, 3, 2, 32, 64))
    case("head-64", "heads of 64 channels, 128 states: the sizes of published models", drawn(rng, 2, 1, 64, 128))
    case("state-256", "256 states: the longest sum", drawn(rng, 2, 1, 8, 256))
    case("odd-size", "three lanes of states and three channels, which fill no vector", drawn(rng, 7, 3, 3, 12, S=True))
    case("least-states", "n = 4: each lane has one product", drawn(rng, 5, 2, 4, 4, S=True), flags=["n=4"])
    case("one-channel", "heads of one channel", drawn(rng, 5, 3, 1, 8, S=True), flags=["p=1"])
    case("one-token", "one token at the text's start", drawn(rng, 1, 3, 4, 8))
    case("decode-step", "one token on a state", drawn(rng, 1, 4, 8, 16, g=2, S=True), {"g": 2})
    case("with-state", "a chunk continues where the last one ended", drawn(rng, 6, 3, 4, 8, S=True))
    case("no-skip", "D may be left out", without(drawn(rng, 5, 3, 4, 8), "D"))
    case("no-bias", "the bias may be left out", without(drawn(rng, 5, 3, 4, 8), "bias"))
    cut(case, drawn(rng, 6, 4, 4, 8, g=2), 1)
    limits(case, rng)
    steps_and_decays(case, rng)
    reading(case)
    kept_as_f16(case, rng)
    kept_as_i8(case, rng)
    case("middle-dt", "steps from 1 to 20: softplus is not yet its argument", drawn(rng, 8, 3, 4, 8, step=(1, 20), A=(0.01, 0.5)))


def drawn(rng, l, h, p, n, g=1, S=False, step=(1e-3, 0.1), A=(1, 16)):
    """Random inputs. `step`: the smallest and the largest step, before any limit; `A`: those of −A."""

    def spread(low, high, shape):
        return np.exp(rng.uniform(np.log(low), np.log(high), shape))

    bias = rng.normal(-3, 1, h)
    return {
        "x": rng.normal(size=(l, h * p)),
        "dt": inverse_softplus(spread(*step, (l, h))) - bias,
        "A": -spread(*A, (h, 1)),
        "B": rng.normal(size=(l, g * n)),
        "C": rng.normal(size=(l, g * n)),
        "D": rng.normal(1, 0.2, h),
        "bias": bias,
        **({"S": rng.normal(size=(h, n, p))} if S else {}),
    }


def inverse_softplus(step):
    return step + np.log(-np.expm1(-step))


def without(values, name):
    return {key: value for key, value in values.items() if key != name}


def cut(case, values, at):
    """One text whole and in two parts, the second of which starts from what the first one leaves."""
    attrs = {"g": 2}
    tokens = ("x", "dt", "B", "C")
    first = {key: value[:at] if key in tokens else value for key, value in values.items()}
    rest = {key: value[at:] if key in tokens else value for key, value in values.items()}
    float32 = {key: torch.from_numpy(value.astype(np.float32)) for key, value in first.items()}
    rest["S"] = formulas.ssd_scan(**float32, **attrs)["S"].numpy()
    case("whole", "the text that the two parts, cut-first and cut-rest, must give as well", values, attrs, ["cut"])
    case("cut-first", "its first token", first, attrs, ["cut", "one-token"])
    case("cut-rest", "the rest of it, from the state that the first token leaves", rest, attrs, ["cut", "with-state"])


def limits(case, rng):
    def inputs():
        return drawn(rng, 8, 3, 4, 8, step=(1e-4, 2))

    case("limits", "steps below lo and above hi, and some between", inputs(), {"lo": 0.001, "hi": 0.1})
    case("lower-limit", "a lower limit alone", inputs(), {"lo": 0.01}, ["limits"])
    case("upper-limit", "an upper limit alone", inputs(), {"hi": 0.25}, ["limits"])


def steps_and_decays(case, rng):
    case("small-dt", "decays near one over 48 tokens: errors that add up", drawn(rng, 48, 2, 4, 8, S=True, step=(1e-5, 1e-3)))
    case("large-dt", "softplus is its argument, and the state forgets everything", drawn(rng, 6, 3, 4, 8, S=True, step=(21, 90)))
    values = drawn(rng, 5, 2, 4, 8, S=True)
    values["dt"] = rng.uniform(-120, -60, (5, 2))
    case("vanishing-dt", "steps that underflow: the state stays as it is", values)
    case("threshold", "both sides of softplus's 20", drawn(rng, 6, 3, 4, 8, step=(19, 21), A=(1e-3, 0.1)))
    case("small-a", "heads that forget almost nothing in 48 tokens", drawn(rng, 48, 2, 4, 8, S=True, A=(1e-6, 1e-3)))
    case("large-a", "heads that forget all but the last tokens", drawn(rng, 6, 3, 4, 8, S=True, A=(60, 4000)))
    outlier = drawn(rng, 8, 3, 4, 8)
    outlier["x"][3, 5] = 400
    case("outlier", "one large input, then its echo in one channel of one head", outlier)


def reading(case):
    """Whole numbers, a different one at every place: what reads the wrong place gives another number."""
    l, h, p, n, g = 3, 6, 2, 4, 2
    place = np.arange
    values = {
        "x": np.concatenate([1 + place(h * p)[None], np.zeros((l - 1, h * p))]),
        "dt": np.zeros((l, h)),
        "A": np.zeros((h, 1)),
        "B": 1 + place(l * g * n).reshape(l, g * n) ** 2,
        "C": 5 + place(l * g * n).reshape(l, g * n) * 7,
    }
    case(
        "impulse",
        "which group a head reads: heads 0 to 2 the first, 3 to 5 the second",
        {key: value.astype(np.float32) for key, value in values.items()},
        {"g": g, **ONE},
        ["groups", "impulse"],
        exact="true",
    )
    values = drawn(np.random.default_rng(0), 1, 2, 3, 4, S=True)
    values.update(x=np.zeros((1, 6)), dt=np.full((1, 2), -200.0), bias=np.zeros(2), C=np.eye(1, 4, 2))
    values["S"] = 1 + place(24).reshape(2, 4, 3)
    case(
        "state-order",
        "S is [h, n, p]: C takes the third state of every channel",
        {key: np.float32(value) for key, value in values.items()},
        flags=["with-state"],
        exact="true",
    )


def kept_as_f16(case, rng):
    def rounded(name, why, inputs, attrs=None, exact="S"):
        case(f"f16-{name}", why, inputs, attrs, flags=[name], exact=exact, kept={"S": "f16"})

    random_states(rounded, rng, "a state of 11 bits after every token", scaled=False)
    step = 2.0**-10
    rounded(
        "ties",
        "halfway between two values, above and below, of both signs: to the even one",
        *added([1, 1 + step, 1, 1 + step, -1, -1 - step], [[step / 2, step / 2, -step / 4, 1.5 * step, -step / 2, -step / 2]]),
        exact="true",
    )
    rounded(
        "each-token",
        "what is less than half a step is lost at every token, and does not add up",
        *added([1, 1024], [[step / 4, 0.25]] * 16),
        exact="true",
    )
    rounded(
        "saturates",
        "beyond 65504 it stays there",
        *added([60000, -60000, 1], [[9000, -9000, 1e6], [1, -1, 1]], C=2.0**-20),
        exact="true",
    )


def kept_as_i8(case, rng):
    def rounded(name, why, inputs, attrs=None, exact="S"):
        case(f"i8-{name}", why, inputs, attrs, flags=[name], exact=exact, kept={"S": "i8"})

    random_states(rounded, rng, "a state of 8 bits after every token, each state of a head with its own step", scaled=True)
    step = 2.0**-6
    rounded(
        "ties",
        "halfway between two steps, above and below, of both signs: to the even one",
        *added(
            [0, step, 2 * step, -step, -2 * step, 126 * step, -127 * step],
            [[step / 2, step / 2, step / 2, -step / 2, -step / 2, step / 2, -step / 2]],
            step,
        ),
        exact="true",
    )
    rounded(
        "each-token",
        "what is less than half a step is lost at every token, and does not add up",
        *added([1, 0.5], [[step / 4, -step / 4]] * 16, step),
        exact="true",
    )
    rounded(
        "saturates",
        "beyond 127 steps, or −128, it stays there",
        *added([126 * step, -127 * step, 0, 0, 100], [[step, -step, 1000, -1000, 0], [step, -step, -step, step, 0]], step),
        exact="true",
    )
    h, n, p = 2, 4, 2
    rows = 1 + np.arange(h * n * p).reshape(h, n, p) / 3
    inputs = {
        "x": np.zeros((1, h * p)),
        "dt": np.zeros((1, h)),
        "A": np.zeros((h, 1)),
        "B": np.ones((1, n)),
        "C": np.ones((1, n)),
        "S.scale": 2.0 ** -np.arange(h * n),
        "S": rows,
    }
    rounded("rows", "a step for each state of each head, the state's place last: row h·n + s", inputs, ONE, exact="true")


def random_states(rounded, rng, why, scaled):
    """The cases with random inputs, which every kind of rounding has."""

    def inputs(l, h, p, n, **how):
        values = drawn(rng, l, h, p, n, step=(0.01, 0.5), A=(0.3, 3), **how)
        return {**values, **({"S.scale": rng.uniform(0.005, 0.05, h * n)} if scaled else {})}

    rounded("basic", why, inputs(6, 2, 3, 4))
    rounded("with-state", "the state that is given is rounded first", inputs(4, 2, 3, 4, S=True))
    rounded("decode-step", "one token on a state, two groups", inputs(1, 4, 4, 4, g=2, S=True), {"g": 2})
    rounded("odd-size", "twelve states of three channels", inputs(4, 2, 3, 12, S=True))
    rounded("no-skip", "y is made of S before it is rounded", without(inputs(5, 1, 4, 4), "D"))


def added(S, x, scale=None, C=1.0):
    """One head that forgets nothing, of whose four states one is written: x[t] is added to the channels of S."""
    x = np.array(x, np.float64)
    first = np.tile([1.0, 0, 0, 0], (len(x), 1))
    inputs = {
        "x": x,
        "dt": np.zeros((len(x), 1)),
        "A": np.zeros((1, 1)),
        "B": first,
        "C": first * C,
        **({} if scale is None else {"S.scale": np.full(4, scale)}),
        "S": np.stack([S, np.zeros_like(S), np.zeros_like(S), np.zeros_like(S)])[None].astype(np.float64),
    }
    return inputs, ONE

"""The cases of what transformers and hybrids have: attention, the turning of its queries and keys, and the products of their MLPs.

As in cases_float.py. A state that grows is an input with a row for each token before, and an output with those of the call too.
"""

import numpy as np
import torch

import formulas
from case import op, token_ids

BLOCK = 128
"""So many keys are summed before their sum is added to that of the others."""


@op("attention", formulas.attention, exact="K V")
def attention(case, rng):
    def inputs(l, h, g, p, past=0, spread=1.0):
        values = {name: rng.normal(size=(l, heads * p)) for name, heads in (("q", h), ("k", g), ("v", g))}
        values["q"] *= spread
        return {**values, **({name: rng.normal(size=(past, g, p)) for name in "KV"} if past else {})}

    case("basic", "two queries read each key; the scale is 1/√p", inputs(5, 4, 2, 16), heads(4, 2, 0.25))
    case("scale", "Granite's scale is 1/p", inputs(5, 4, 2, 16, spread=4), heads(4, 2, 1 / 16))
    case("no-scale", "a scale of 1", inputs(3, 2, 1, 8), heads(2, 1, 1), ["scale"])
    case("odd-scale", "a scale that is no power of two", inputs(3, 2, 2, 12), heads(2, 2, 12**-0.5), ["scale"])
    case("one-group", "all heads read the same keys", inputs(4, 6, 1, 8), heads(6, 1, 0.5), ["groups"])
    case("own-keys", "each head has keys of its own", inputs(4, 3, 3, 8), heads(3, 3, 0.5), ["groups"])
    case("head-64", "the width of published heads", inputs(3, 2, 1, 64), heads(2, 1, 0.125))
    case("head-4", "heads of 4: each lane has one product", inputs(4, 2, 1, 4), heads(2, 1, 0.5))
    case("one-token", "the first token sees itself alone: y is its value", inputs(1, 4, 2, 8), heads(4, 2, 0.5))
    for past in (1, 126, 127, 128, 129, 255, 256, 257):
        why = "keys in one block" if past < BLOCK else "keys in blocks of 128, of which the last may be short"
        case(f"past-{past}", f"one token behind {past}: {why}", inputs(1, 2, 1, 4, past), heads(2, 1, 0.5), ["with-state"])
    case("past-126-and-4", "a call that ends one block and begins the next", inputs(4, 2, 1, 4, 126), heads(2, 1, 0.5), ["with-state"])
    cut(case, inputs(131, 2, 1, 4), 127)
    scores(case, rng, inputs)
    reading(case)
    for dtype, why in (("f16", "11 bits"), ("i8-dynamic", "8 bits, with a step for each token and head")):
        kept = {"K": dtype, "V": dtype}

        def rounded(name, why, inputs, attrs):
            case(f"{dtype}-{name}", why, inputs, attrs, flags=[name], kept=kept)

        rounded("basic", f"keys and values of {why}: those of this call too", inputs(4, 4, 2, 8), heads(4, 2, 0.5))
        rounded("with-state", "what is given is rounded first", inputs(2, 2, 1, 8, 3), heads(2, 1, 0.5))
        rounded("decode-step", "one token behind a full block", inputs(1, 2, 2, 4, 128), heads(2, 2, 0.5))


def heads(h, g, scale):
    return {"h": h, "g": g, "scale": scale}


def cut(case, values, at):
    """One text whole and in two parts, the second of which starts from what the first one leaves."""
    attrs = heads(2, 1, 0.5)
    first = {key: value[:at] for key, value in values.items()}
    rest = {key: value[at:] for key, value in values.items()}
    for name in "KV":
        rest[name] = first[name.lower()].reshape(at, 1, -1)
    case("whole", "the text that the two parts, cut-first and cut-rest, must give as well", values, attrs, ["cut"])
    case("cut-first", f"its first {at} tokens", first, attrs, ["cut"])
    case("cut-rest", "the rest of it, which begins in the middle of a block", rest, attrs, ["cut", "with-state"])


def scores(case, rng, inputs):
    values = inputs(6, 2, 1, 8)
    values["q"], values["k"] = np.round(values["q"] * 24) , np.round(values["k"] * 24)
    case("large-scores", "scores of hundreds: exp of one would overflow without the maximum", values, heads(2, 1, 1))
    values = inputs(4, 2, 1, 8)
    values["k"][:] = values["k"][0]
    case("equal-scores", "all keys are one: y is the mean of the values", values, heads(2, 1, 0.5))
    values = inputs(5, 2, 1, 8)
    values["q"][:] = 0
    case("zero-query", "scores of zero", values, heads(2, 1, 0.5), ["equal-scores"])
    values = inputs(4, 2, 1, 8)
    values["k"][3], values["v"][3] = 1000, 1e6
    values["q"] = np.abs(values["q"])
    case("mask", "the last token is loud, and those before it do not see it", values, heads(2, 1, 0.5))
    values = inputs(4, 2, 1, 8)
    values["q"], values["k"] = np.round(np.abs(values["q"])) * 8 + 8, -8 * np.arange(4.0)[:, None] * np.ones(8)
    case("vanishing-weights", "weights that underflow to zero", values, heads(2, 1, 0.5))
    values = inputs(3, 2, 1, 8)
    values["v"][1, 3] = 3e4
    case("outlier", "one large value in one channel", values, heads(2, 1, 0.5))


def reading(case):
    """Whole numbers, a different one at every place: what reads the wrong place gives another number."""
    h, g, p, past = 6, 2, 4, 3
    K = np.zeros((past, g, p))
    V = 1 + np.arange(past * g * p, dtype=np.float64).reshape(past, g, p)
    K[1, 0], K[2, 1] = 64, 64
    values = {"q": np.full((1, h * p), 8.0), "k": np.zeros((1, g * p)), "v": np.full((1, g * p), 99.0), "K": K, "V": V}
    case(
        "impulse",
        "which keys a head reads: heads 0 to 2 the first, of which the second token wins; 3 to 5 the second, of which the third",
        values,
        heads(h, g, 1),
        ["groups", "impulse", "with-state"],
        exact="true",
    )


@op("rope", formulas.rope)
def rope(case, rng):
    def inputs(l, h, p, r, angle=None):
        angle = rng.uniform(-3, 3, (l, r)) if angle is None else angle
        return {"x": rng.normal(size=(l, h * p)), "cos": np.cos(angle), "sin": np.sin(angle)}

    case("basic", "halves of a head are turned against each other", inputs(5, 3, 8, 4), {"h": 3})
    case("one-token", "the width of published heads", inputs(1, 2, 64, 32), {"h": 2})
    case("one-head", "heads of one", inputs(3, 1, 6, 3), {"h": 1}, ["odd-size"])
    case("partial", "the first half of a head is turned, the rest passes", inputs(3, 2, 8, 2), {"h": 2})
    case("one-pair", "channels 0 and 1 alone", inputs(3, 2, 8, 1), {"h": 2}, ["partial"])
    case("standing", "an angle of zero changes no bit", inputs(2, 2, 8, 4, np.zeros((2, 4))), {"h": 2}, exact="true")
    values = inputs(2, 2, 4, 2)
    values["cos"][:], values["sin"][:] = 0, 1
    values["x"] = np.arange(1.0, 17).reshape(2, 8)
    case("quarter", "a quarter turn: (a, b) becomes (−b, a)", values, {"h": 2}, exact="true")
    values = inputs(2, 2, 8, 4)
    values["x"][1, 5] = 4000
    case("outlier", "a large value leaks into its pair and nowhere else", values, {"h": 2})


@op("rope-table", formulas.rope_table)
def rope_table(case, rng):
    def inputs(l, r, theta, fed=0):
        freq = theta ** (-np.arange(r) / r)
        return {"tokens": rng.integers(0, 100, l).astype(np.int32), "freq": freq, **({"fed": [float(fed)]} if fed else {})}

    for sine, word in ((False, "cosines"), (True, "sines")):
        attrs = {"sine": sine}
        short = word[:-1]
        case(f"{short}-basic", f"{word} from the start of a text, θ = 1e4", inputs(9, 8, 1e4), attrs)
        case(f"{short}-theta-1e11", "Falcon-H1's θ: most angles are tiny", inputs(5, 32, 1e11, 700), attrs, ["theta"])
        case(f"{short}-one-token", "the first token stands still", inputs(1, 4, 1e4), attrs)
        case(f"{short}-decode-step", "one token behind 1000 others", inputs(1, 32, 1e7, 1000), attrs, ["with-state"])
        case(f"{short}-after-a-cut", "the position goes on behind a cut", inputs(7, 16, 1e4, 125), attrs, ["with-state"])
        case(f"{short}-far", "positions to 2¹⁸: the argument is reduced exactly", inputs(5, 24, 1e4, 2**18 - 5), attrs, ["far"])
        case(f"{short}-one-frequency", "r = 1", inputs(6, 1, 1e4, 3), attrs, ["odd-size"])
    far = {"tokens": token_ids(*[0] * 64), "freq": [1.0, 0.7853981633974483, 1.5707963267948966, 3.141592653589793], "fed": [170000.0]}
    for sine, short in ((False, "cosine"), (True, "sine")):
        case(f"{short}-borders", "angles next to multiples of π/4: each eighth of a turn", far, {"sine": sine}, ["far"])


@op("swiglu", formulas.swiglu)
def swiglu(case, rng):
    def inputs(l, n, size=2.0):
        return {"gate": rng.normal(size=(l, n)) * size, "up": rng.normal(size=(l, n))}

    case("basic", "the gate goes through silu, not what it gates", inputs(3, 32))
    case("one-token", "the width of a model", inputs(1, 768))
    case("odd-size", "33 channels fill no vector", inputs(3, 33))
    case("large-gate", "beyond the range of exp silu is its argument, or almost nothing", {**inputs(2, 40), "gate": rng.uniform(-120, 120, (2, 40))})
    case("small-gate", "silu of almost nothing is half of it", inputs(2, 40, 1e-6))
    values = inputs(2, 32)
    values["gate"][0], values["up"][1] = 0, 0
    case("zero-row", "a shut gate, and nothing to gate", values)
    values = inputs(2, 32)
    values["gate"][1, 7], values["up"][1, 7] = 60, 500
    case("outlier", "the product of two large values", values)


@op("squared-relu", formulas.squared_relu)
def squared_relu(case, rng):
    case("basic", "what is negative becomes zero", {"x": rng.normal(size=(3, 32))})
    case("one-token", "the width of a model", {"x": rng.normal(size=(1, 768))})
    case("odd-size", "33 channels fill no vector", {"x": rng.normal(size=(3, 33))})
    case("whole", "whole numbers, whose squares are exact", {"x": np.arange(-20.0, 20).reshape(2, 20)}, exact="true")
    ends = [0.0, -0.0, 1e-30, -1e-30, 2.0**-149, 1e18, -1e18, 1.5e19]
    case("ends", "zeros of both signs, squares that underflow, and large ones", {"x": np.array([ends])})

"""The cases of what quantization adds to the float model.

A function for each op draws its inputs from a seed of its own, so that a new op changes no file of another (add cases
at the end of a function). `exact` marks results whose float32 bits follow from the op's definition; for all others
PyTorch's own float32 error against float64 is the measure. formulas.py says what is right.
"""

import numpy as np
import torch

import formulas
from case import OPS, generator, op, token_ids, write


def codes(rng, *shape):
    return rng.integers(-128, 128, shape).astype(np.int8)


def scales(rng, *shape):
    return rng.uniform(0.001, 0.1, shape)


@op("embedding-i8", formulas.embedding_i8, exact="true")
def embedding_i8(case, rng):
    w, scale = codes(rng, 11, 25), scales(rng, 11)
    w[3, :2] = -128, 127
    case(
        "basic",
        "each row with its own scale, codes at both ends",
        {"tokens": token_ids(0, 10, 3, 3, 7), "w": w, "scale": scale},
        flags=["basic", "per-row", "odd-size"],
    )
    case(
        "one-token",
        "the scale of the token, not of the position",
        {"tokens": token_ids(10), "w": w, "scale": scale},
    )


@op("linear-i8", formulas.linear_i8, exact="true")
def linear_i8(case, rng):
    def inputs(l, i, o, bias=True, tokens=1, rows=1, groups=1):
        values = {
            "x": codes(rng, l, i),
            "w": codes(rng, o, i),
            "xscale": scales(rng, tokens),
            "wscale": scales(rng, rows, groups),
        }
        return {**values, **({"b": rng.normal(size=o)} if bias else {})}

    case("basic", "one scale for each tensor, the paper's case", inputs(5, 64, 16))
    case("no-bias", "the bias may be left out", inputs(3, 64, 16, False))
    case("one-token", "a chunk of one", inputs(1, 64, 48))
    case("odd-size", "sizes that fill no lane evenly", inputs(3, 33, 17))
    case("per-row", "each output has its own weight scale", inputs(3, 24, 10, rows=10))
    case("per-token", "each token has its own input scale", inputs(4, 24, 10, tokens=4))
    case(
        "per-group",
        "groups are scaled first and added in ascending order",
        inputs(3, 48, 7, rows=7, groups=6),
    )
    case(
        "per-token-per-group",
        "which scale belongs to which axis",
        inputs(6, 20, 6, tokens=6, rows=6, groups=5),
        flags=["per-token", "per-group"],
    )
    one = {"xscale": np.array([0.5]), "wscale": np.array([[0.25]])}
    case(
        "saturate",
        "−128 · −128 over K = 5120: no pair may overflow 16 bits, and no sum 32",
        {
            "x": np.full((1, 5120), -128, np.int8),
            "w": np.stack([np.full(5120, -128), np.full(5120, 127)]).astype(np.int8),
            **one,
        },
        flags=["saturate", "K large"],
    )
    # 2²⁴ + 1 and 2²⁴ + 3 lie half way between two floats: half to even goes down for one, up for the other.
    x, w = np.full((1, 1042), 127, np.int8), np.full((4, 1042), 127, np.int8)
    x[0, 1041] = 1
    w[:, 1040] = 24
    w[:, 1041] = 9, 11, 9, 11
    w[2:] *= -1
    case("ties", "an int32 sum beyond 2²⁴ becomes a float half to even", {"x": x, "w": w, **one})
    case(
        "large-k",
        "sums beyond 2²⁴ are rounded before they are scaled",
        {
            "x": rng.integers(90, 128, (2, 5120)).astype(np.int8),
            "w": rng.integers(90, 128, (6, 5120)).astype(np.int8),
            "xscale": scales(rng, 1),
            "wscale": scales(rng, 1, 1),
            "b": rng.normal(size=6),
        },
        flags=["K large"],
    )


@op("linear-i4", formulas.linear_i4, exact="true")
def linear_i4(case, rng):
    def inputs(l, i, o, bias=True, tokens=1, groups=1):
        values = {
            "x": codes(rng, l, i),
            "w": codes(rng, o, (i + 1) // 2),
            "xscale": scales(rng, tokens),
            "wscale": scales(rng, o, groups) * rng.choice([-1, 1], (o, groups)),
        }
        return {**values, **({"b": rng.normal(size=o)} if bias else {})}

    case("basic", "groups of 128 columns, scales of both signs", inputs(5, 256, 16, groups=2))
    case("no-bias", "the bias may be left out", inputs(3, 64, 16, False))
    case("one-token", "a chunk of one", inputs(1, 384, 48, groups=3))
    case("odd-size", "an odd row: half of its last byte is nobody's", inputs(3, 33, 17))
    case("odd-groups", "groups that begin in the middle of a byte", inputs(3, 15, 5, groups=5))
    case(
        "per-token-per-group",
        "which scale belongs to which axis",
        inputs(6, 20, 6, tokens=6, groups=5),
        flags=["per-token", "per-group"],
    )
    # Each half of every byte, at its place in four bytes, by the ends of x.
    bytes_ = np.arange(256).astype(np.uint8).view(np.int8)
    case(
        "every-byte",
        "all 256 pairs of weights",
        {
            "x": np.stack([np.where(np.arange(512) % 3 == k, 127, -128) for k in range(3)]).astype(np.int8),
            "w": np.stack([np.roll(bytes_, k) for k in range(5)]),
            "xscale": np.array([0.5]),
            "wscale": scales(rng, 5, 4),
        },
        flags=["every-byte", "per-group"],
    )
    case(
        "saturate",
        "−128 · −8 over K = 5120: no sum may overflow 16 bits",
        {
            "x": np.full((1, 5120), -128, np.int8),
            "w": np.stack([np.full(2560, -120), np.full(2560, 0x77)]).astype(np.int8),
            "xscale": np.array([0.5]),
            "wscale": np.array([[0.25], [0.25]]),
        },
        flags=["saturate", "K large"],
    )


@op("fwht", formulas.fwht_fast, formulas.fwht_dense, exact="true")
def fwht(case, rng):
    flag = {12: "n=12·2^k", 20: "n=20·2^k", 28: "n=28·2^k", 40: "n=40·2^k", 1: "n=2^k"}
    for n in (1, 2, 8, 16, 128, 12, 24, 192, 768, 1536, 20, 40, 80, 640, 28, 56, 5120):
        l = 3 if n <= 80 else 1
        family = flag[formulas.split(n)[0]]
        x = rng.normal(size=(l, n))
        case(
            f"n={n}",
            "natural order, K slow, the base matrix and one final factor",
            {"x": x},
            flags=["basic", family],
        )
        if n in (16, 12, 24, 768, 20, 40, 80, 640, 28, 56):
            case(
                f"n={n}-inverse",
                "the transpose: M_20 and M_40 are not symmetric",
                {"x": x},
                {"inverse": True},
                ["inverse", family],
            )
    x = rng.normal(size=(3, 96))
    x[0], x[1] = 0, np.eye(1, 96, 37) * 50
    case(
        "outlier",
        "a row of zeros, an impulse that spreads evenly",
        {"x": x},
        flags=["outlier", "zero-row", flag[12]],
    )


@op("scale-channels", formulas.scale_channels, exact="true")
def scale_channels(case, rng):
    x, c = rng.normal(size=(3, 33)), rng.uniform(0.01, 5, 33)
    case("basic", "a factor for each column", {"x": x, "c": c}, flags=["basic", "odd-size"])
    case("inverse", "a division, not a multiplication by 1/c", {"x": x, "c": c}, {"inverse": True})
    case("one-token", "a chunk of one", {"x": x[:1], "c": c})


@op("absmax-scale", formulas.absmax_scale, exact="true")
def absmax_scale(case, rng):
    x = rng.normal(size=(4, 33))
    case("basic", "the largest size in each row", {"x": x}, flags=["basic", "odd-size"])
    case("negative", "the largest size belongs to a negative value", {"x": -np.abs(x)})
    case("one-token", "a chunk of one, its largest value last", {"x": np.arange(1.0, 18)[None]})
    case(
        "zero-row",
        "the floor of 1e-5, above, at and below it",
        {"x": np.array([[0.0, -0.0], [1e-6, -9e-6], [1e-5, 0], [1.1e-5, 0]])},
    )
    x[2, 32] = -6e4
    case("outlier", "one value that sets the scale of its row only", {"x": x})


@op("quantize", formulas.quantize)
def quantize(case, rng):
    case(
        "basic",
        "values between the steps",
        {"x": rng.normal(size=(3, 33)), "scale": np.array([0.021])},
        flags=["basic", "odd-size"],
    )
    halves = np.arange(-130, 130) + 0.5
    case(
        "ties",
        "half to even, on both sides of zero",
        {"x": np.stack([halves, -halves]) * 0.25, "scale": np.array([0.25])},
    )
    ends = np.array([126.49, 126.5, 126.51, 127.49, 127.5, 128, 128.5, 129, 200, 256, 1e4, 3e9, 1e30, 3e38])
    case(
        "saturate",
        "clamped to −128 … 127, never wrapped",
        {"x": np.stack([ends, -ends]), "scale": np.array([1.0])},
    )
    case(
        "saturate-infinite",
        "x / scale may overflow to infinity",
        {"x": np.array([[3e38, -3e38, 1, -1]]), "scale": np.array([0.01])},
        flags=["saturate"],
    )
    case(
        "zero-row",
        "zeros of both signs under the smallest scale",
        {"x": np.array([[0.0, -0.0, 1e-5, -1e-5]]), "scale": np.array([1e-5 / 127])},
    )
    case("per-token", "each row has its own scale", {"x": rng.normal(size=(5, 24)), "scale": scales(rng, 5)})
    case("one-token", "a chunk of one", {"x": rng.normal(size=(1, 24)), "scale": np.array([0.0173])})
    scale = np.concatenate([scales(rng, 40), [0.1, 0.01, 0.001]]).astype(np.float32)
    x = (np.arange(-127, 127)[None] + 0.5) * scale.astype(np.float64)[:, None]
    near = np.nextafter(x.astype(np.float32), np.float32(0))
    x = np.concatenate([x, near], 1).astype(np.float32)
    assert (np.round(x / scale[:, None]) != np.round(x * (1 / scale)[:, None])).sum() > 50
    case(
        "near-ties",
        "a true division: multiplying by 1/scale gives other codes",
        {"x": x, "scale": scale},
        flags=["ties", "per-token"],
    )


@op("dequantize", formulas.dequantize, exact="true")
def dequantize(case, rng):
    case(
        "basic",
        "all 256 codes",
        {"q": np.arange(-128, 128).astype(np.int8)[None], "scale": np.array([0.0173])},
    )
    case(
        "per-token",
        "each row has its own scale",
        {"q": codes(rng, 4, 33), "scale": scales(rng, 4)},
        flags=["per-token", "odd-size"],
    )


@op("dequantize-i4", formulas.dequantize_i4, exact="true")
def dequantize_i4(case, rng):
    def inputs(l, n, groups):
        return {
            "q": codes(rng, l, (n + 1) // 2),
            "scale": scales(rng, l, groups) * rng.choice([-1, 1], (l, groups)),
        }

    case("basic", "groups of 128 columns, scales of both signs", inputs(3, 256, 2), {"n": 256})
    case("odd-groups", "groups that begin in the middle of a byte", inputs(4, 15, 5), {"n": 15}, flags=["odd-size"])


PERCENTILES = [0.99999, 0.9999, 0.999, 0.95, 1.0]


def hashed(n, seed):
    """n heavy-tailed float32 values that any language makes alike: README.md, "The values of a quantile"."""
    h = np.arange(n, dtype=np.uint32) + np.uint32(seed)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        h = (h ^ (h >> np.uint32(shift))) * np.uint32(factor)
    v = ((h >> np.uint32(8)).astype(np.float32) - np.float32(2**23)) / np.float32(2**23)
    return v / (np.float32(1.0009765625) - np.abs(v))


def quantile():
    """torch.quantile of |x| in float32: what a percentile range is made from. No op, but bits to agree on."""
    rng = generator("quantile")

    def case(name, why, stored, values, flags, **attrs):
        a = torch.from_numpy(values.astype(np.float32)).abs()
        y = torch.stack([torch.quantile(a, p) for p in PERCENTILES])
        write(
            "quantile", name, why, {**stored, "f32.y": y.numpy()}, {"p": PERCENTILES, **attrs}, flags, "true"
        )

    for n in (1, 2, 10, 1000):
        x = (rng.standard_t(3, n)).astype(np.float32)
        case(f"n={n}", "position p · (n − 1) and the interpolation, in float32", {"in.x": x}, x, ["basic"])
    for n in (98304, 393216):
        case(
            f"n={n}",
            "a sample of the default model, of a larger one: float32 cannot hold every position",
            {},
            hashed(n, n),
            ["K large"],
            n=n,
            seed=n,
        )
    sigma, m, means = 0.01, None, []
    x = rng.standard_t(3, (60, 100)).astype(np.float32)
    for sample in torch.from_numpy(x).abs():
        q = torch.quantile(sample, 0.99)
        m = q if m is None else m + sigma * (q - m)
        means.append(m)
    write(
        "quantile",
        "moving-average",
        "starts at the first sample, then m + σ (p − m)",
        {"in.x": x, "f32.y": torch.stack(means).numpy()},
        {"p": [0.99], "ema": sigma},
        ["ema"],
        "true",
    )


OPS["quantile"] = quantile

"""The cases of a selective scan whose state is rounded after every token: what a float16 or an int8 state keeps."""

import numpy as np


def kept_as_f16(case, rng):
    def rounded(name, why, inputs, exact="h"):
        case(f"f16-{name}", why, inputs, flags=[name], exact=exact, kept={"h": "f16"})

    drawn(rounded, rng, "a state of 11 bits after every token", scaled=False)
    step = 2.0**-10
    rounded(
        "ties",
        "halfway between two values, above and below, of both signs: to the even one",
        added([1, 1 + step, 1, 1 + step, -1, -1 - step], [[step / 2, step / 2, -step / 4, 1.5 * step, -step / 2, -step / 2]]),
        exact="true",
    )
    rounded(
        "next-to-ties",
        "one part in 2¹² beside the middle",
        added([1, 1, 1, 1], [[step / 2 + 2.0**-22, step / 2 - 2.0**-22, 1.5 * step + 2.0**-22, 1.5 * step - 2.0**-22]]),
    )
    rounded(
        "each-token",
        "what is less than half a step is lost at every token, and does not add up",
        added([1, 1024], [[step / 4, 0.25]] * 16),
        exact="true",
    )
    rounded(
        "saturates",
        "beyond 65504 it stays there",
        added([60000, -60000, 0], [[9000, -9000, 1e6], [0, 0, 0]], C=2.0**-20),
    )
    tiny = 2.0**-24
    rounded(
        "subnormal",
        "steps of 2⁻²⁴ below 2⁻¹⁴, and ties among them",
        added([0, 0, 0, 0, 2.0**-14], [[tiny, tiny / 2, 1.5 * tiny, 2.5 * tiny, -tiny / 2]] * 2),
        exact="true",
    )


def kept_as_i8(case, rng):
    def rounded(name, why, inputs, exact="h"):
        case(f"i8-{name}", why, inputs, flags=[name], exact=exact, kept={"h": "i8"})

    drawn(rounded, rng, "a state of 8 bits after every token, each channel with its own step", scaled=True)
    step = 2.0**-6
    rounded(
        "ties",
        "halfway between two steps, above and below, of both signs: to the even one",
        added(
            [0, step, 2 * step, -step, -2 * step, 126 * step, -127 * step],
            [[step / 2, step / 2, step / 2, -step / 2, -step / 2, step / 2, -step / 2]],
            step,
        ),
        exact="true",
    )
    rounded(
        "next-to-ties",
        "one part in 2¹⁵ beside the middle",
        added([1, 1, 1, 1], [[step / 2 + 2.0**-22, step / 2 - 2.0**-22, 1.5 * step + 2.0**-22, 1.5 * step - 2.0**-22]], step),
    )
    rounded(
        "each-token",
        "what is less than half a step is lost at every token, and does not add up",
        added([1, 0.5], [[step / 4, -step / 4]] * 16, step),
        exact="true",
    )
    rounded(
        "saturates",
        "beyond 127 steps, or −128, it stays there",
        added([126 * step, -127 * step, 0, 0, 100], [[step, -step, 1000, -1000, 0], [step, -step, -step, step, 0]], step),
        exact="true",
    )


def drawn(rounded, rng, why, scaled):
    """The cases with random inputs, which every kind of rounding has."""

    def inputs(l, d, n, h=False):
        values = {
            "u": rng.normal(size=(l, d)),
            "dt": np.exp(rng.uniform(np.log(0.01), np.log(0.5), (l, d))),
            "A": -np.exp(rng.normal(size=(d, n)) * 0.5),
            "B": rng.normal(size=(l, n)),
            "C": rng.normal(size=(l, n)),
            **({"h.scale": rng.uniform(0.005, 0.05, d)} if scaled else {}),
            "D": rng.normal(1, 0.2, d),
            "z": rng.normal(size=(l, d)),
        }
        return {**values, **({"h": rng.normal(size=(d, n))} if h else {})}

    rounded("basic", why, inputs(6, 4, 4))
    rounded("with-state", "the state that is given is rounded first", inputs(4, 4, 4, h=True))
    rounded("decode-step", "one token on a state", inputs(1, 6, 16, h=True))
    rounded("odd-size", "five channels of three states", inputs(5, 5, 3, h=True))
    neither = {key: value for key, value in inputs(5, 3, 4).items() if key not in ("D", "z")}
    rounded("no-skip-no-gate", "y is made of h before it is rounded", neither)


def added(h, B, scale=None, C=1.0):
    """One channel that forgets nothing: B[t] is added to its states h."""
    B = np.array(B, np.float64)
    ones = np.ones((len(B), 1))
    return {
        "u": ones,
        "dt": ones,
        "A": np.zeros((1, B.shape[1])),
        "B": B,
        "C": np.full(B.shape, C),
        **({} if scale is None else {"h.scale": np.array([scale])}),
        "h": np.array([h], np.float64),
    }

"""Perplexity under each recipe, simulated in PyTorch: real arithmetic on values rounded to the int8 grid.

    python3 golden/perplexity.py --ids FILE --calibration-ids FILE [--windows 10] [--json]

Independent of the package: no integer kernels, no graph. Every quantizer is x → T⁻¹ fq(T x), and every weight that
reads it fq(W T⁻¹) T, so that one model (mamba.py) serves all recipes. Protocol: N windows of W tokens, one after
another, each from an empty state; the mean cross-entropy of the W − 1 predictions in each. Calibration: samples of C
tokens, likewise, or (--spread, as the package does) spread evenly over the text. Ids: .npy, or text of integers, which
ids.mjs makes. Needs torch and numpy.
"""

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

import formulas  # noqa: E402
import mamba  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
READERS = {
    "blockIn": "in_proj",
    "scanIn": "x_proj",
    "dtLow": "dt_proj",
    "scanOut": "out_proj",
    "convIn": "conv1d",
}
SIGMA = 0.01


@dataclass(frozen=True)
class Recipe:
    quantize: bool = True
    dynamic: bool = False
    percentile: bool = False
    smooth: tuple = ()
    rotate: tuple = ()
    head: bool = False


RECIPES = {
    "fp32": Recipe(quantize=False),
    "naive-static": Recipe(),
    "dynamic": Recipe(dynamic=True),
    "smoothquant": Recipe(smooth=("blockIn", "scanIn", "dtLow", "scanOut")),
    "percentile-only": Recipe(percentile=True),
    "hadamard-only": Recipe(rotate=("scanOut",)),
    "quamba": Recipe(percentile=True, rotate=("scanOut",)),
    "quamba-int8-head": Recipe(percentile=True, rotate=("scanOut",), head=True),
}


def linear(x, w):
    """x Wᵀ; oneDNN's product where PyTorch was built on the reference BLAS (measured: 25 times faster)."""
    if "BLAS_INFO=generic" not in torch.__config__.show():
        return F.linear(x, w)
    y = F.linear(x.reshape(-1, x.shape[-1]).to_mkldnn(), w.contiguous().to_mkldnn()).to_dense()
    return y.view(*x.shape[:-1], len(w))


def fake_quantize(x, absmax):
    scale = absmax.clamp(min=1e-5) / 127
    return torch.clamp(torch.round(x / scale), -128, 127) * scale


class Plain:
    """A basis T: activations go by apply and undo (T x, T⁻¹ x), rows of weights by fold and unfold (W T⁻¹, W T)."""

    def apply(self, x):
        return x

    undo = fold = unfold = apply


class Rotated:
    def __init__(self, n):
        self.Q = formulas.hadamard(n).float()

    def apply(self, x):
        return linear(x, self.Q)

    def undo(self, x):
        return linear(x, self.Q.t())

    fold, unfold = apply, undo


class Smoothed:
    """x / s with s = √(max |x_j| / max |W_j|), at least 1e-5 (SmoothQuant, α = 0.5)."""

    def __init__(self, channels, w):
        floor = 1e-5
        columns = w.abs().amax(0).clamp(min=floor)
        self.s = (channels.clamp(min=floor).sqrt() / columns.sqrt()).clamp(min=floor)

    def apply(self, x):
        return x / self.s

    def undo(self, x):
        return x * self.s

    fold, unfold = undo, apply


class Calibration:
    """What one float run over the samples tells every recipe, by (layer, site)."""

    def __init__(self, p, rotated):
        self.p, self.rotated = p, rotated
        self.channels = {}  # largest |x| of each channel
        self.turned = defaultdict(lambda: torch.tensor(0.0))  # largest |Q x|
        self.clipped = {}  # moving average over samples of the p-quantile of |x|

    def __call__(self, layer, name, x):
        at, size = (layer, name), x.abs()
        channels = size.amax((0, 1))
        self.channels[at] = torch.maximum(self.channels.get(at, channels), channels)
        if name == "scanOut":
            self.turned[at] = torch.maximum(self.turned[at], self.rotated.apply(x).abs().max())
        if name == "scanIn":
            for sample in size:
                q = torch.quantile(sample.flatten(), self.p)
                self.clipped[at] = (
                    self.clipped[at] + SIGMA * (q - self.clipped[at]) if at in self.clipped else q
                )
        return x


class Simulation:
    """The model under a recipe: weights already on their grids, and the quantizers at the sites."""

    def __init__(self, weights, config, recipe, seen):
        self.config, self.recipe, self.seen, self.w = config, recipe, seen, dict(weights)
        self.bases = defaultdict(Plain)
        if not recipe.quantize:
            return
        for layer in range(config["num_hidden_layers"]):
            for site, reader in READERS.items():
                name = f"backbone.layers.{layer}.mixer.{reader}.weight"
                w, at = weights[name], (layer, site)
                if site in recipe.rotate:
                    self.bases[at] = seen.rotated
                if site in recipe.smooth:
                    self.bases[at] = Smoothed(seen.channels[at], w)
                folded = self.bases[at].fold(w)
                self.w[name] = self.bases[at].unfold(fake_quantize(folded, folded.abs().max()))
        for name in ("backbone.embeddings.weight", "lm_head.weight"):
            if recipe.head and name in weights:
                self.w[name] = fake_quantize(weights[name], weights[name].abs().amax(1, keepdim=True))

    def absmax(self, at, x):
        if self.recipe.dynamic:
            return x.abs().amax(-1, keepdim=True)
        if self.recipe.percentile and at in self.seen.clipped:
            return self.seen.clipped[at]
        if self.bases[at] is self.seen.rotated:
            return self.seen.turned[at]
        return self.bases[at].apply(self.seen.channels[at]).max()

    def site(self, layer, name, x):
        if not self.recipe.quantize or (name == "headIn" and not self.recipe.head):
            return x
        at = (layer, name)
        turned = self.bases[at].apply(x)
        return self.bases[at].undo(fake_quantize(turned, self.absmax(at, turned)))

    def nats(self, windows, batch):
        """The summed cross-entropy of every token but the first of each window, int64 [windows, tokens]."""
        total = 0.0
        for ids in windows.split(batch):
            for h, tokens in zip(mamba.hidden(self.w, self.config, ids, self.site, linear), ids):
                logits = mamba.head(self.w, h[:-1], linear)
                total += F.cross_entropy(logits, tokens[1:], reduction="none").double().sum().item()
        return total


def read_ids(path, count, size, spread=False):
    """`count` runs of `size` ids, int64 [count, size]: the first ones, or spread evenly over the text."""
    ids = np.load(path) if path.suffix == ".npy" else np.array(path.read_text().split(), np.int64)
    if len(ids) < count * size:
        raise SystemExit(f"perplexity.py: {path} holds {len(ids)} ids; {count} x {size} needs {count * size}")
    last = len(ids) - size if spread else (count - 1) * size
    starts = [int(i * (last / max(count - 1, 1))) for i in range(count)]
    return torch.from_numpy(np.stack([ids[start : start + size] for start in starts]).astype(np.int64))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=ROOT / "models/mamba-books-15m")
    parser.add_argument("--ids", type=Path, required=True)
    parser.add_argument("--calibration-ids", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=10)
    parser.add_argument("--window", type=int, default=1024, help="tokens in a window")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--sample", type=int, default=512, help="tokens in a calibration sample")
    parser.add_argument("--spread", action="store_true", help="calibration samples from all over the text")
    parser.add_argument("--percentile", type=float, default=0.99999)
    parser.add_argument(
        "--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES), metavar="RECIPE"
    )
    parser.add_argument("--batch", type=int, default=8, help="windows at a time: memory against speed")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.backends.cuda.matmul.allow_tf32 = False

    weights, config = mamba.load(arguments.model, torch.float32)
    seen = Calibration(arguments.percentile, Rotated(config["intermediate_size"]))
    samples = read_ids(arguments.calibration_ids, arguments.samples, arguments.sample, arguments.spread)
    for ids in samples.split(arguments.batch):
        mamba.hidden(weights, config, ids, seen, linear)

    windows = read_ids(arguments.ids, arguments.windows, arguments.window)
    rows = []
    if not arguments.json:
        print(f"{'recipe':18}{'nats/token':>12}{'ppl':>10}{'change':>10}{'seconds':>9}")
    for name in arguments.recipes:
        start = time.perf_counter()
        nats = Simulation(weights, config, RECIPES[name], seen).nats(windows, arguments.batch)
        nats /= windows[:, 1:].numel()
        change = math.expm1(nats - rows[0]["nats"]) if rows else 0.0
        rows.append({"recipe": name, "nats": nats, "ppl": math.exp(nats), "change": change})
        if not arguments.json:
            seconds = time.perf_counter() - start
            print(f"{name:18}{nats:12.6f}{math.exp(nats):10.4f}{change:+10.2%}{seconds:9.0f}", flush=True)
    if arguments.json:
        options = {
            key: x.name if isinstance(x, Path) else x for key, x in vars(arguments).items() if key != "json"
        }
        print(json.dumps({"torch": torch.__version__, **options, "results": rows}, indent=1))


if __name__ == "__main__":
    main()

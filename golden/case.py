"""One case: inputs in, both formulas evaluated, one safetensors file out. cases_*.py have the cases."""

import json
import shutil
import zlib

import numpy as np
import torch

import formulas
import manifest
import tensorfile

SEED = 20241022
OPS = {}
MADE = {}
"""What makes these files, said in each where it is another than the manifest's."""


def op(name, formula, truth=None, exact=None):
    """Registers the cases of an op. `truth`: the float64 formula, where it is another one than the float32's.
    `exact`: 'true' for all outputs, or the names of those that are."""

    def register(cases):
        OPS[name] = lambda: cases(Case(name, formula, truth or formula, exact), generator(name))
        return cases

    return register


def generator(name):
    return np.random.default_rng([SEED, zlib.crc32(name.encode())])


def write_all(names=None):
    unknown = [name for name in names or () if name not in OPS]
    if unknown:
        raise SystemExit(f"golden: there are no cases for {', '.join(unknown)}; there are cases for {', '.join(OPS)}")
    for name in names or OPS:
        shutil.rmtree(manifest.GOLDEN / name, ignore_errors=True)
        OPS[name]()


class Case:
    """case('ties', 'the bug that it hunts', inputs, attributes) evaluates both formulas and writes the file."""

    def __init__(self, op, formula, truth, exact):
        self.op, self.formula, self.truth, self.exact = op, formula, truth, exact

    def __call__(self, name, why, inputs, attrs=None, flags=None, exact=None, kept=None):
        """`kept`: {state: 'f16' or 'i8'}, where a state is rounded after every token."""
        attrs, kept = attrs or {}, kept or {}
        tensors = {key: torch.from_numpy(stored(value)) for key, value in inputs.items()}
        doubles = {key: x.double() if x.is_floating_point() else x for key, x in tensors.items()}
        f32 = evaluate(self.formula, tensors, attrs, kept)
        f64 = evaluate(self.truth, doubles, attrs, kept)
        results = {f"in.{key}": x.numpy() for key, x in tensors.items()}
        for key, y in f32.items():
            if y.is_floating_point():
                check_close(f"{self.op}/{name} {key}", y, f64[key])
                results[f"f32.{key}"], results[f"f64.{key}"] = y.numpy(), f64[key].numpy()
            else:
                results[f"out.{key}"] = y.numpy()
        write(self.op, name, why, results, attrs, flags or [name], exact or self.exact, kept)


def evaluate(formula, tensors, attrs, kept):
    """The input `<state>.scale` says how a state is kept. The formula gets it inside the function `keep_<state>`."""
    inputs = {key: x for key, x in tensors.items() if "." not in key}
    keep = {f"keep_{state}": formulas.keep(dtype, tensors.get(f"{state}.scale")) for state, dtype in kept.items()}
    return formula(**inputs, **attrs, **keep)


def stored(values):
    """Reals as float32, integers as they are (int8 or int32)."""
    values = np.asarray(values)
    return np.ascontiguousarray(values.astype(np.float32) if values.dtype.kind == "f" else values)


def token_ids(*values):
    return np.array(values, np.int32)


def check_close(where, f32, f64):
    """Two evaluations of one formula: a blunder in either shows here, before anything is written."""
    if f64.numel() and (f32 - f64).abs().max() > 1e-5 * f64.abs().max() + 1e-30:
        raise AssertionError(f"{where}: float32 and float64 disagree by {(f32 - f64).abs().max():.3g}")


def write(op, name, why, tensors, attrs, flags, exact, kept=None):
    said = {"op": op, "attrs": json.dumps(attrs), "flags": json.dumps(flags, ensure_ascii=False), "why": why}
    said.update({"exact": exact} if exact else {})
    said.update({key: json.dumps(value) for key, value in {"kept": kept, "made": MADE}.items() if value})
    tensorfile.write(manifest.GOLDEN / op / f"{name}.safetensors", tensors, said)

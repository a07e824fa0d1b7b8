#!/usr/bin/env python3
"""A backend for `quamba conform` in Python with numpy.

    npx quamba conform --backend "exec:python3 backend.py" --profile tolerant

Three parts: the ops, the table that names them, and the protocol (docs/conformance-protocol.md). An op is a function of its
attributes and its inputs, as numpy arrays, that returns its outputs by name; to add one, write it and give it a row. All
arithmetic is float32, as the reference's.
"""
import json
import struct
import sys

import numpy as np

F32 = np.float32


class Unsupported(Exception):
    """Raised by an op that cannot do this call. Its message is the reason in the report."""


# ---- the ops; an input that is optional and absent is None -------------------------------------------------------------


def rows(scale):
    """A scale for all rows or one for each, as a column."""
    return scale.reshape(-1, 1)


def quantize(attrs, x, scale):
    """q = clamp(round(x / scale), -128, 127), ties to even."""
    return {"q": np.rint(np.clip(x / rows(scale), -128, 127)).astype(np.int8)}


def dequantize(attrs, q, scale):
    """x = scale * q."""
    return {"x": rows(scale) * q.astype(F32)}


def linear_i8(attrs, x, xscale, w, wscale, b=None):
    """y = (xscale * wscale) * (x w^T) + b, with one scale for w, one for each row, or one for each group of a row."""
    y = None
    for group, (xs, ws) in enumerate(zip(*(np.split(m, wscale.shape[1], axis=1) for m in (x, w)))):
        acc = xs.astype(np.int32) @ ws.astype(np.int32).T
        part = acc.astype(F32) * (rows(xscale) * wscale[:, group])
        y = part if y is None else y + part
    return {"y": y if b is None else y + b}


def swish(x):
    x = np.maximum(x, F32(-128))  # below it is -0, and -inf / inf would not be
    return x / (1 + np.exp(-x))


def silu(attrs, x):
    """y = x / (1 + e^-x)."""
    return {"y": swish(x)}


def rms_norm(attrs, x, w=None):
    """y = (x * r) * w, r = 1 / sqrt(mean(x^2) + eps)."""
    r = 1 / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + F32(attrs["eps"]))
    return {"y": x * r if w is None else x * r * w}


def causal_conv1d(attrs, x, w, past, b=None):
    """y[t, c] = silu(sum over j of w[c, j] * x[t - (k-1) + j, c] + b[c]). The state past: the last k-1 inputs, oldest first."""
    window = np.concatenate([past.T, x])
    y = sum(window[j : j + len(x)] * w[:, j] for j in range(w.shape[1]))
    if b is not None:
        y = y + b
    if attrs["activation"] == "silu":
        y = swish(y)
    return {"y": y, "past": window[len(x) :].T}


def selective_scan(attrs, u, dt, A, B, C, h, D=None, z=None):
    """h = exp(dt*A) * h + (dt*u) B; y = (sum over n of C*h + D*u) * silu(z)."""
    y = np.empty_like(u)
    for t in range(len(u)):
        h = np.exp(dt[t, :, None] * A) * h + (dt[t] * u[t])[:, None] * B[t]
        y[t] = h @ C[t]
    if D is not None:
        y = y + D * u
    if z is not None:
        y = y * swish(z)
    return {"y": y, "h": h}


# ---- the table ---------------------------------------------------------------------------------------------------------

KERNELS = {
    "quantize": quantize,
    "dequantize": dequantize,
    "linear-i8": linear_i8,
    "silu": silu,
    "rms-norm": rms_norm,
    "causal-conv1d": causal_conv1d,
    "selective-scan": selective_scan,
}

# ---- the protocol ------------------------------------------------------------------------------------------------------

DTYPES = {"f32": np.dtype("<f4"), "i8": np.dtype("i1"), "i32": np.dtype("<i4")}


def tensor(data, entry):
    """One tensor of a frame's data: an array that reads the frame's own bytes."""
    count = entry["bytes"] // DTYPES[entry["dtype"]].itemsize
    return np.frombuffer(data, DTYPES[entry["dtype"]], count, entry["offset"]).reshape(entry["shape"])


def call(request, data):
    kernel = KERNELS.get(request["op"])
    if kernel is None:
        return {"unsupported": "there is no kernel for this op"}, b""
    inputs = {entry["name"]: tensor(data, entry) for entry in request["inputs"]}
    try:
        results = kernel(request["attrs"], **inputs)
    except Unsupported as why:
        return {"unsupported": str(why)}, b""
    answer = bytearray(max((e["offset"] + e["bytes"] for e in request["outputs"]), default=0))
    for entry in request["outputs"]:
        array, shape = results[entry["name"]], tuple(entry["shape"])
        if array.shape != shape:
            return {"error": f"{entry['name']} has the shape {array.shape}; expected {shape}"}, b""
        raw = array.astype(DTYPES[entry["dtype"]]).tobytes()
        answer[entry["offset"] : entry["offset"] + entry["bytes"]] = raw
    return {"ok": True}, bytes(answer)


def main():
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray print must not end up between two frames
    np.seterr(over="ignore")  # exp(-x) of a large -x is inf, and that is right
    while sizes := stdin.read(8):
        header_size, data_size = struct.unpack("<II", sizes)
        request, data = json.loads(stdin.read(header_size)), stdin.read(data_size)
        if "hello" in request:
            header, answer = {"name": "example-python", "ops": list(KERNELS)}, b""
        else:
            header, answer = call(request, data)
        text = json.dumps(header).encode()
        stdout.write(struct.pack("<II", len(text), len(answer)) + text + answer)
        stdout.flush()


if __name__ == "__main__":
    main()

"""Writes on from token ids, the likeliest each time, with nothing but ctypes and a checkpoint that `quamba quantize` wrote.

    python3 cuda/examples/generate.py models/mamba-books-15m/plan.quamba.safetensors 16 510 1543 3081

Prints the ids; or in one sentence what is wrong, and ends with 1. QUAMBA_CUDA_LIB names another library than the built one.
"""
import ctypes as c
import os
import pathlib
import sys

BUILT = pathlib.Path(__file__).parent.parent / "build" / "libquamba_cuda.so"
LAST = 1  # QUAMBA_LAST


class DeviceInfo(c.Structure):
    _fields_ = [
        ("name", c.c_char * 256),
        ("sm", c.c_int32),
        ("multiprocessors", c.c_int32),
        ("memory", c.c_uint64),
    ]


class Options(c.Structure):
    """Zeros are the defaults."""

    _fields_ = [(name, c.c_int32) for name in ("sequences", "chunk", "precision", "decode")]


class ContextInfo(c.Structure):
    _fields_ = [
        (name, c.c_int32)
        for name in ("sequences", "chunk", "vocabulary", "states", "decode", "launches")
    ] + [("memory", c.c_uint64), ("bytes_per_token", c.c_uint64)]


class Turn(c.Structure):
    _fields_ = [
        ("sequence", c.c_int32),
        ("length", c.c_int32),
        ("tokens", c.POINTER(c.c_int32)),
        ("logits", c.POINTER(c.c_float)),
    ]


class Model:
    """A checkpoint on the GPU, and the text that is fed to it."""

    def __init__(self, lib, checkpoint):
        self.lib, self.context = lib, c.c_void_p()
        self.expect(lib.quamba_device(c.byref(DeviceInfo())))
        data, options = pathlib.Path(checkpoint).read_bytes(), Options()
        size = c.c_uint64(len(data))
        self.expect(lib.quamba_open_checkpoint(data, size, c.byref(options), c.byref(self.context)))
        info = ContextInfo()
        self.expect(lib.quamba_context_describe(self.context, c.byref(info)))
        self.logits = (c.c_float * info.vocabulary)()

    def expect(self, status):
        if status != 0:
            raise RuntimeError(self.lib.quamba_error().decode())

    def feed(self, tokens):
        """The logits after the last token."""
        given = (c.c_int32 * len(tokens))(*tokens)
        turn = Turn(0, len(tokens), given, self.logits)
        self.expect(self.lib.quamba_feed(self.context, c.byref(turn), 1, LAST))
        return self.logits

    def close(self):
        self.lib.quamba_close(self.context)


def generate(model, tokens, count):
    for _ in range(count):
        logits = model.feed(tokens)
        tokens = [max(range(len(logits)), key=logits.__getitem__)]
        yield tokens[0]


def main():
    if len(sys.argv) < 4:
        print("usage: generate.py CHECKPOINT COUNT TOKEN...", file=sys.stderr)
        sys.exit(2)
    checkpoint, count, *tokens = sys.argv[1:]
    try:
        lib = c.CDLL(os.environ.get("QUAMBA_CUDA_LIB") or str(BUILT))
        lib.quamba_error.restype = c.c_char_p
        model = Model(lib, checkpoint)
        print(*generate(model, [int(token) for token in tokens], int(count)))
        model.close()
    except (OSError, RuntimeError) as error:
        sys.exit(str(error))


main()

"""One op of the library from Python, with nothing but ctypes: quantizes four values and prints the steps.

    python3 cuda/examples/op.py [libquamba_cuda.so]

Prints the GPU, `quantize: [0, 2, 2, 127]` and the error of a NaN; or why there is no GPU, and exits with 1.
"""
import ctypes as c
import pathlib
import sys

BUILT = pathlib.Path(__file__).parent.parent / "build" / "libquamba_cuda.so"
F32, I8 = 0, 1


class Tensor(c.Structure):
    _fields_ = [
        ("name", c.c_char_p),
        ("dtype", c.c_int32),
        ("rank", c.c_int32),
        ("shape", c.c_int64 * 4),
        ("data", c.c_void_p),
    ]


class DeviceInfo(c.Structure):
    _fields_ = [
        ("name", c.c_char * 256),
        ("sm", c.c_int32),
        ("multiprocessors", c.c_int32),
        ("memory", c.c_uint64),
    ]


def tensor(name, dtype, shape, data):
    return Tensor(name.encode(), dtype, len(shape), (c.c_int64 * 4)(*shape), c.addressof(data))


def quantize(lib, values, scale):
    """The int8 steps of one row; raises with the library's words where it fails."""
    n = len(values)
    x, s, q = (c.c_float * n)(*values), (c.c_float * 1)(scale), (c.c_int8 * n)()
    inputs = (Tensor * 2)(tensor("x", F32, [1, n], x), tensor("scale", F32, [1], s))
    outputs = (Tensor * 1)(tensor("q", I8, [1, n], q))
    if lib.quamba_op(b"quantize", inputs, 2, None, 0, outputs, 1) != 0:
        raise RuntimeError(lib.quamba_error().decode())
    return list(q)


def main():
    lib = c.CDLL(sys.argv[1] if len(sys.argv) > 1 else str(BUILT))
    lib.quamba_error.restype = c.c_char_p
    device = DeviceInfo()
    if lib.quamba_device(c.byref(device)) != 0:
        sys.exit(lib.quamba_error().decode())
    print(f"{device.name.decode()}, sm_{device.sm}, {device.memory >> 30} GiB")
    print("quantize:", quantize(lib, [0.5, 1.5, 2.5, 300], 1))
    try:
        quantize(lib, [1, float("nan")], 1)
    except RuntimeError as error:
        print("error:", error)


main()

"""Files that must be refused: a name, the bytes, the sentence that refuses it. `…` stands for anything."""

# fmt: off
import struct

from pickles import (
    EMPTY, MARK, NONE, ORDERED, PARAMETER, PROTO, REBUILD, STOP, TRUE, VALUES, archive, call, dictionary,
    integer, integers, name, pickled, state, storage, tensor, text, tuple_of, zipped,
)

MOST64 = 2**64 - 1


def changed(index, **fields):
    """A function for `zipped` that changes the record of one entry."""
    return lambda i, record: record.update(fields) if i == index else None


def pickles():
    """Files whose zip is sound."""
    P = "data.pkl: byte … of the pickle: "

    def function(module, attribute, *arguments):
        return state(call(name(module, attribute), *arguments))

    # what runs code elsewhere
    shell = text("echo harm")
    for case, module, attribute, arguments in [
        ("os-system", "os", "system", [shell]),
        ("posix-system", "posix", "system", [shell]),
        ("nt-system", "nt", "system", [shell]),
        ("subprocess-popen", "subprocess", "Popen", [shell]),
        ("builtins-eval", "builtins", "eval", [text("1")]),
        ("builtins-exec", "builtins", "exec", [text("1")]),
        ("python2-eval", "__builtin__", "eval", [text("1")]),
        ("builtins-getattr", "builtins", "getattr", [EMPTY, text("clear")]),
        ("import-module", "importlib", "import_module", [text("os")]),
        ("runpy", "runpy", "run_path", [text("x.py")]),
        ("operator-attrgetter", "operator", "attrgetter", [text("a")]),
        ("functools-partial", "functools", "partial", [EMPTY]),
        ("shutil-rmtree", "shutil", "rmtree", [text("x")]),
        ("webbrowser", "webbrowser", "open", [text("http://localhost/")]),
        ("socket", "socket", "create_connection", [text("localhost")]),
        ("codecs-encode", "_codecs", "encode", [text("a"), text("latin1")]),
        ("copyreg", "copyreg", "_reconstructor", [EMPTY]),
        ("torch-load", "torch", "load", [text("other.bin")]),
        ("torch-hub", "torch.hub", "load", [text("a/b")]),
        ("nested-storage", "torch.storage", "_load_from_bytes", [text("x")]),
        ("rebuild-v1", "torch._utils", "_rebuild_tensor", [storage()]),
        ("rebuild-sparse", "torch._utils", "_rebuild_sparse_tensor", [EMPTY]),
        ("rebuild-quantized", "torch._utils", "_rebuild_qtensor", [EMPTY]),
        ("rebuild-wrapper", "torch._tensor", "_rebuild_from_type_v2", [EMPTY]),
        ("parameter-with-state", "torch._utils", "_rebuild_parameter_with_state", [EMPTY]),
        ("numpy", "numpy.core.multiarray", "_reconstruct", [EMPTY]),
        ("complex-storage", "torch", "ComplexFloatStorage", [EMPTY]),
        ("a-class", "torch.nn.modules.linear", "Linear", [integer(1)]),
        ("module-in-the-name", "torch", "_utils._rebuild_tensor_v2", [EMPTY]),
        ("name-of-a-method", "collections", "OrderedDict.fromkeys", [EMPTY]),
    ]:
        yield case, archive(function(module, attribute, *arguments)), f'{P}"{module}.{attribute}" is not allowed: …'
    yield "empty-name", archive(function("", "", EMPTY)), P + '"." is not allowed'
    yield (
        "space-in-the-name",
        archive(function("collections OrderedDict", "", EMPTY)),
        P + '"collections.OrderedDict " is not allowed',
    )
    yield (
        "proto-pollution",
        archive(function("__proto__", "constructor", EMPTY)),
        P + '"__proto__.constructor" is not allowed',
    )
    yield (
        "import-alone",
        archive(pickled(dictionary([("w", name("os", "system"))]))),
        P + '"os.system" is not allowed',
    )
    yield (
        "harm-after-tensors",
        archive(pickled(dictionary([("w", tensor()), ("x", call(name("os", "system"), shell))]))),
        P + '"os.system" is not allowed',
    )

    # instructions that a checkpoint does not use
    for opcode, word, rest in [
        (b"i", "INST", b"os\nsystem\n"), (b"o", "OBJ", b""), (b"\x81", "NEWOBJ", b""), (b"\x92", "NEWOBJ_EX", b""),
        (b"\x93", "STACK_GLOBAL", b""), (b"\x82", "EXT1", b"\x01"), (b"\x83", "EXT2", b"\x01\x00"),
        (b"\x84", "EXT4", b"\x01\x00\x00\x00"), (b"0", "POP", b""), (b"1", "POP_MARK", b""), (b"2", "DUP", b""),
        (b"P", "PERSID", b"x\n"), (b"I", "INT", b"1\n"), (b"L", "LONG", b"1L\n"), (b"F", "FLOAT", b"1\n"),
        (b"S", "STRING", b"'a'\n"), (b"T", "BINSTRING", b"\x00\x00\x00\x00"), (b"U", "SHORT_BINSTRING", b"\x00"),
        (b"V", "UNICODE", b"a\n"), (b"g", "GET", b"0\n"), (b"p", "PUT", b"0\n"), (b"d", "DICT", b""),
        (b"l", "LIST", b""), (b"\x8b", "LONG4", b"\x01\x00\x00\x00\x01"), (b"\x8c", "SHORT_BINUNICODE", b"\x01a"),
        (b"\x8d", "BINUNICODE8", b"\x00" * 8), (b"\x8e", "BINBYTES8", b"\x00" * 8), (b"B", "BINBYTES", b"\x00" * 4),
        (b"C", "SHORT_BINBYTES", b"\x00"), (b"\x8f", "EMPTY_SET", b""), (b"\x91", "FROZENSET", b""),
        (b"\x94", "MEMOIZE", b""), (b"\x95", "FRAME", b"\x00" * 8), (b"\x96", "BYTEARRAY8", b"\x00" * 8),
        (b"\x97", "NEXT_BUFFER", b""),
    ]:
        yield (
            f"opcode-{word.lower().replace('_', '-')}",
            archive(PROTO + b"})" + opcode + rest + STOP),
            f"{P}instruction {word} is not allowed",
        )
    yield "opcode-none", archive(PROTO + b"\xff" + STOP), P + "instruction 0xff is not allowed"
    yield "opcode-zero", archive(b"\x00" * 40), P + "instruction 0x00 is not allowed"
    for version in (0, 1, 3, 4, 5, 255):
        yield (
            f"protocol-{version}",
            archive(b"\x80" + bytes([version]) + state()[2:]),
            P + f"pickle protocol expected 2, as torch.save writes; got {version}",
        )

    # the stack and the memo
    yield "empty-pickle", archive(b""), P + "needs 1 more bytes; 0 are left"
    yield "no-stop", archive(state()[:-1]), P + "needs 1 more bytes; 0 are left"
    yield "nothing-on-the-stack", archive(pickled(b"")), P + "expected a value on the stack; there is none"
    yield "two-values", archive(pickled(b"}}")), P + "values are left over at the end"
    yield "a-mark-left-over", archive(pickled(b"(}")), P + "values are left over at the end"
    yield "bytes-after-stop", archive(state() + b"cos\nsystem\n"), P + "expected to end here; 11 bytes follow"
    yield "tuple-without-mark", archive(pickled(b"t")), P + "expected a MARK; there is none"
    yield "pop-through-a-mark", archive(pickled(b"}(\x85")), P + "expected a value on the stack; there is none"
    yield "tuple3-of-two", archive(pickled(b"NN\x87")), P + "expected a value on the stack; there is none"
    yield "memo-missing", archive(pickled(b"h\x07")), P + "nothing was kept under number 7"
    yield "memo-far", archive(pickled(b"j\xff\xff\xff\xff")), P + "nothing was kept under number 4294967295"
    yield "memo-of-nothing", archive(pickled(b"q\x00")), P + "expected a value on the stack; there is none"
    yield "memo-before-it-is-kept", archive(pickled(b"}h\x01q\x01")), P + "nothing was kept under number 1"
    yield "many-marks", archive(pickled(MARK * 1001)), P + "more than 1000 values one inside the other"
    yield "reduce-a-text", archive(pickled(text("os") + b")R")), P + 'REDUCE calls "os", which is no function'
    yield "reduce-a-dictionary", archive(pickled(b"})R")), P + "REDUCE calls a dictionary of 0, which is no function"
    yield (
        "reduce-a-storage-type",
        archive(state(call(name("torch", "FloatStorage"), integer(2**40)))),
        P + "REDUCE calls FloatStorage, which is no function",
    )
    yield "reduce-without-tuple", archive(pickled(ORDERED + b"K\x01R")), P + "REDUCE expected a tuple of arguments; got 1"
    yield (
        "reduce-with-a-dictionary",
        archive(pickled(ORDERED + b"}R")),
        P + "REDUCE expected a tuple of arguments; got a dictionary of 0",
    )
    yield "build-a-dictionary", archive(pickled(b"}}b")), P + "BUILD sets attributes of a dictionary of 0"
    yield "build-a-tensor", archive(state(tensor() + b"}b")), P + "BUILD sets attributes of a tensor"
    yield "build-a-function", archive(state(REBUILD + b"}b")), P + "BUILD sets attributes of _rebuild_tensor_v2"
    yield (
        "build-other-attributes",
        archive(pickled(EMPTY + dictionary([("__class__", NONE)]) + b"b")),
        P + "BUILD sets attributes of a dictionary of 0",
    )
    yield "append-to-a-tuple", archive(pickled(b")Na")), P + "expected a list; got a tuple of 0"
    yield "append-to-a-number", archive(pickled(b"K\x01Na")), P + "expected a list; got 1"
    yield "items-of-a-list", archive(pickled(b"]" + text("k") + b"Ns")), P + "expected a dictionary; got a list of 0"
    yield "key-without-value", archive(pickled(b"}(" + text("k") + b"u")), P + "a key has no value"
    yield "key-that-is-a-list", archive(pickled(b"}]Ns")), P + "key expected a text or a number; got a list of 0"
    yield (
        "key-twice",
        archive(pickled(dictionary([("w", tensor()), ("w", tensor())]))),
        P + 'key "w" stands twice in one dictionary',
    )
    yield "ordered-with-items", archive(pickled(call(ORDERED, b"]"))), P + "OrderedDict expected no arguments; got 1"

    # lengths
    yield "text-of-4-gb", archive(pickled(b"X\xff\xff\xff\xff")), P + "needs 4294967295 more bytes; 1 are left"
    yield "text-no-utf8", archive(pickled(text(b"\xff\xfe"))), P + "text expected UTF-8; got bytes that are not"
    yield "lone-surrogate", archive(pickled(text(b"\xed\xa0\x80"))), P + "text expected UTF-8; got bytes that are not"
    yield "name-cut-off", archive(PROTO + b"ctorch"), P + "expected a line; there is no end of one"
    yield "integer-of-9-bytes", archive(pickled(b"\x8a\x09" + b"\x01" * 9)), P + "integer expected at most 8 bytes; got 9"
    yield "integer-of-255-bytes", archive(pickled(b"\x8a\xff" + b"\x01" * 255)), P + "integer expected at most 8 bytes"
    yield "integer-beyond-2-53", archive(pickled(integer(2**53))), P + "integer 9007199254740992 is beyond 2^53"
    yield "float-cut-off", archive(PROTO + b"G\x00\x00"), P + "needs 8 more bytes; 2 are left"


def storages():
    P = "data.pkl: byte … of the pickle: "
    parts = [text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), integer(6)]
    shape = "persistent id expected (storage, type, key, place, size)"
    yield "id-that-is-a-text", archive(state(text("0") + b"Q")), P + 'persistent id expected a tuple; got "0"'
    yield "id-of-four", archive(state(tuple_of(*parts[:4]) + b"Q")), P + shape
    yield "id-of-six", archive(state(tuple_of(*parts, NONE) + b"Q")), P + shape
    yield "id-of-a-module", archive(state(tensor(of=storage(word="module")))), P + shape
    yield "key-that-is-a-number", archive(state(tuple_of(*parts[:2], integer(0), *parts[3:]) + b"Q")), P + shape
    yield (
        "type-that-is-a-text",
        archive(state(tuple_of(parts[0], text("FloatStorage"), *parts[2:]) + b"Q")),
        P + 'storage "0": no storage type: "FloatStorage"',
    )
    yield (
        "type-that-is-a-function",
        archive(state(tuple_of(parts[0], REBUILD, *parts[2:]) + b"Q")),
        P + 'storage "0": no storage type: _rebuild_tensor_v2',
    )
    yield "storage-missing", archive(state(tensor(of=storage(key="1")))), P + 'storage "1": no zip entry "a/data/1"'
    yield (
        "storage-outside",
        archive(state(tensor(of=storage(key="../../x")))),
        P + 'storage "../../x": no zip entry "a/data/../../x"',
    )
    yield (
        "storage-is-the-pickle",
        archive(state(tensor(of=storage(key="../data.pkl")))),
        P + 'storage "../data.pkl": no zip entry "a/data/../data.pkl"',
    )
    yield (
        "storage-too-small",
        archive(state(tensor(of=storage(size=7)))),
        P + 'storage "0": F32[7] has 28 bytes; its zip entry 24',
    )
    yield "storage-too-large", archive(state(tensor(of=storage(size=5)))), P + 'storage "0": F32[5] has 20 bytes'
    yield (
        "storage-of-a-terabyte",
        archive(state(tensor((2**38,), (1,), of=storage(size=2**38)))),
        P + 'storage "0": F32[274877906944] has 1099511627776 bytes; its zip entry 24',
    )
    yield (
        "storage-negative",
        archive(state(tensor(of=storage(size=-6)))),
        P + 'storage "0": size expected values; got -6',
    )
    yield (
        "storage-of-a-fraction",
        archive(state(tuple_of(*parts[:4], b"G" + struct.pack(">d", 5.5)) + b"Q")),
        P + 'storage "0": size expected values; got 5.5',
    )
    yield (
        "storage-of-two-types",
        archive(pickled(dictionary([("a", tensor()), ("b", tensor(of=storage(kind="IntStorage")))]))),
        P + 'storage "0" is F32[6] and I32[6]',
    )
    yield (
        "storage-of-two-sizes",
        archive(pickled(dictionary([("a", tensor()), ("b", tensor(of=storage(size=5)))]))),
        P + 'storage "0" is F32[6] and F32[5]',
    )
    yield (
        "storage-of-half-its-width",
        archive(state(tensor(of=storage(kind="HalfStorage")))),
        P + 'storage "0": F16[6] has 12 bytes; its zip entry 24',
    )


def tensors():
    P = "data.pkl: byte … of the pickle: "
    F = "hostile.bin: "
    outside = "ends outside of its storage of 6"
    yield "too-few-arguments", archive(state(call(REBUILD, storage()))), P + "_rebuild_tensor_v2 expected 6 arguments; got 1"
    yield (
        "metadata",
        archive(state(tensor(more=[dictionary([])]))),
        P + "_rebuild_tensor_v2 expected 6 arguments; got 7",
    )
    yield "no-storage", archive(state(tensor(of=NONE))), P + "tensor expected a storage; got None"
    yield "tensor-as-storage", archive(state(tensor(of=tensor()))), P + "tensor expected a storage; got a tensor"
    yield "offset-negative", archive(state(tensor(offset=-1))), P + "offset of a tensor expected 0 or more; got -1"
    yield "offset-outside", archive(state(tensor(offset=1))), P + f"… {outside}"
    yield "offset-far", archive(state(tensor(offset=2**52))), P + f"… {outside}"
    yield "offset-text", archive(state(tensor(offset=text("0")))), P + 'offset of a tensor expected 0 or more; got "0"'
    yield "shape-negative", archive(state(tensor((-2, 3)))), P + "shape of a tensor expected a tuple of whole numbers"
    yield "shape-two-negatives", archive(state(tensor((-2, -3)))), P + "shape of a tensor expected a tuple of whole numbers"
    yield "shape-number", archive(state(tensor(shape=integer(6)))), P + "shape of a tensor expected a tuple of whole numbers"
    yield "shape-true", archive(state(tensor(shape=tuple_of(TRUE, TRUE)))), P + "shape of a tensor expected a tuple"
    yield (
        "shape-of-tuples",
        archive(state(tensor(shape=tuple_of(integers(1), integers(1))))),
        P + "shape of a tensor expected a tuple of whole numbers",
    )
    yield "shape-of-9-axes", archive(state(tensor((1,) * 9, (1,) * 9))), P + "shape of a tensor expected at most 8 axes; got 9"
    yield "shape-huge", archive(state(tensor((2**31, 2**31), (0, 0)))), P + "… has more values than its storage: 6"
    yield "shape-overflow", archive(state(tensor((2**32,) * 8, (0,) * 8))), P + "… has more values than its storage: 6"
    yield "shape-and-zero-of-huge", archive(state(tensor((0,), (1,), offset=7))), P + f"… {outside}"
    yield "stride-negative", archive(state(tensor(strides=(-3, 1), offset=3))), P + "strides of a tensor expected a tuple"
    yield "stride-outside", archive(state(tensor(strides=(4, 1)))), P + f"… {outside}"
    yield "stride-far", archive(state(tensor((2,), (2**53 - 1,)))), P + f"… {outside}"
    yield "strides-short", archive(state(tensor(strides=(1,)))), P + "tensor has a shape of 2 axes and strides of 1"
    yield "stride-zero-expands", archive(state(tensor((7,), (0,)))), P + "… has more values than its storage: 6"
    yield "grad-number", archive(state(tensor(grad=integer(1)))), P + "requires_grad expected true or false; got 1"
    yield "hooks", archive(state(tensor(hooks=dictionary([("h", NONE)])))), P + "backward_hooks expected none; got a dictionary of 1"
    yield "hooks-none", archive(state(tensor(hooks=NONE))), P + "backward_hooks expected none; got None"
    yield "parameter-of-a-number", archive(state(call(PARAMETER, integer(1), TRUE, EMPTY))), P + "_rebuild_parameter expected a tensor; got 1"
    yield "parameter-of-two", archive(state(call(PARAMETER, tensor(), TRUE))), P + "_rebuild_parameter expected 3 arguments; got 2"
    # a sound pickle of something else
    yield "a-list", archive(pickled(b"]")), F + "expected a dictionary of tensors; got a list of 0"
    yield "a-tensor-alone", archive(pickled(tensor())), F + "expected a dictionary of tensors; got a tensor"
    yield "none", archive(pickled(NONE)), F + "expected a dictionary of tensors; got None"
    yield "epoch", archive(pickled(dictionary([("w", tensor()), ("epoch", integer(3))]))), F + '"epoch" expected a tensor; got 3'
    yield "nested", archive(pickled(dictionary([("state_dict", dictionary([("w", tensor())]))]))), F + '"state_dict" expected a tensor; got a dictionary of 1'
    yield "a-storage", archive(state(storage())), F + '"w" expected a tensor; got a storage'
    yield "a-storage-type", archive(state(name("torch", "FloatStorage"))), F + '"w" expected a tensor; got FloatStorage'
    yield "key-number", archive(pickled(b"}(K\x01" + tensor() + b"u")), F + "name of a tensor expected a text; got 1"
    cycle = PROTO + b"]q\x00(h\x00h\x00e" + STOP
    yield "cycle", archive(cycle), F + "expected a dictionary of tensors; got a list of 2"
    yield "cycle-in-the-shape", archive(state(b"]q\x00(h\x00h\x00e")), F + '"w" expected a tensor; got a list of 2'
    bomb = b"]q\x00" + b"".join(b"](" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60))
    yield "doubling", archive(state(tuple_of(bomb))), F + '"w" expected a tensor; got a tuple of 61'


def archives():
    """Files whose zip is not sound, or not a checkpoint's."""
    F = "hostile.bin: "
    good = archive()
    yield "empty", b"", F + 'expected a checkpoint of torch.save, a zip file that begins with PK; got ""'
    yield "text", b"hello, world", F + 'expected a checkpoint of torch.save, a zip file that begins with PK; got "hello, worl"'
    yield "html", b"<!doctype html><html></html>", F + "is a page of HTML"
    yield "git-lfs-pointer", b"version https://git-lfs.github.com/spec/v1\n", F + "is the pointer of Git LFS"
    yield "legacy", PROTO + b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", F + "is in the format of torch before 1.6"
    yield "bare-pickle", pickled(call(name("os", "system"), text("echo harm"))), F + "is in the format of torch before 1.6"
    yield "pk-only", b"PK\x03\x04", F + "expected a zip file of at least 22 bytes; got 4"
    yield "cut-in-the-end", good[:-1], F + "expected a zip file, which ends in a directory; found none"
    yield "cut-in-the-middle", good[: len(good) // 2], F + "expected a zip file, which ends in a directory; found none"
    yield "bytes-after-the-end", good + b"\0", F + "expected a zip file, which ends in a directory; found none"
    yield "no-pickle", zipped([("a/data/0", VALUES)]), F + "expected one data.pkl in a folder of the zip file; got 0"
    yield "pickle-without-folder", zipped([("data.pkl", state())]), F + "expected one data.pkl in a folder of the zip file; got 0"
    yield "two-pickles", archive(more=[("b/data.pkl", state())]), F + "expected one data.pkl in a folder of the zip file; got 2"
    yield "torchscript", archive(more=[("a/constants.pkl", pickled(b")"))]), F + "is a TorchScript program, not a checkpoint"
    yield "big-endian", archive(more=[("a/byteorder", b"big")]), F + 'zip entry "a/byteorder" expected little; got "big"'
    yield "byteorder-long", archive(more=[("a/byteorder", b"little" * 9)]), F + 'zip entry "a/byteorder" expected at most 16 bytes'
    yield "name-twice", archive(more=[("a/data/0", VALUES)]), F + 'zip entry "a/data/0" stands twice in the directory'
    yield "pickle-twice", archive(more=[("a/data.pkl", pickled(NONE))]), F + 'zip entry "a/data.pkl" stands twice in the directory'
    yield "deflated", archive(central=changed(0, method=8)), F + 'zip entry "a/data.pkl" expected to be stored (method 0); got method 8'
    yield "deflated-inside", archive(local=changed(0, method=8)), F + 'zip entry "a/data.pkl" is stored by the directory, but not by its own header'
    yield "encrypted", archive(central=changed(1, flags=1)), F + 'zip entry "a/data/0" is encrypted'
    yield "encrypted-strongly", archive(central=changed(1, flags=0x41)), F + 'zip entry "a/data/0" is encrypted'
    yield "encrypted-inside", archive(local=changed(1, flags=1), central=changed(1, flags=0)), F + 'zip entry "a/data/0" is stored by the directory, but not by its own header'
    yield "packed-smaller", archive(central=changed(1, packed=2)), F + 'zip entry "a/data/0" is stored, but has 2 bytes for 24'
    yield "name-no-utf8", zipped([(b"a/\xff", b"")]), F + "zip entry 0: name expected UTF-8 text"
    yield "name-other-inside", archive(local=changed(1, name=b"a/data/1")), F + 'zip entry "a/data/0" calls itself "a/data/1"'
    yield "size-other-inside", archive(local=changed(1, size=20)), F + 'zip entry "a/data/0" has 24 bytes by the directory; its own header says 20'
    yield "size-zero-inside", archive(local=changed(1, size=0)), F + 'zip entry "a/data/0" has 24 bytes by the directory; its own header says 0'
    yield "header-negative", archive(central=changed(1, header=2**32 - 2)), F + 'zip entry "a/data/0" at byte 4294967294 expected before the directory'
    yield "header-of-another", archive(central=changed(1, header=0)), F + 'zip entry "a/data/0" at byte 0 overlaps the one that ends at …'
    yield "header-in-the-middle", archive(central=changed(1, header=5)), F + 'zip entry "a/data/0" at byte 5 overlaps the one that ends at …'
    yield "header-in-the-directory", archive(central=lambda i, r: r.update(header=r["header"] + 60) if i == 2 else None), F + 'zip entry "a/version" at byte … expected before the directory at …'
    yield "overlap", archive(central=lambda i, r: r.update(size=40, packed=40) if i == 1 else None, local=changed(1, size=40)), F + 'zip entry "a/version" at byte … overlaps the one that ends at …'
    inner = zipped([("a/data/0", VALUES)])[:62]
    yield "overlap-inside", nested_entry(inner), F + 'zip entry "a/data/0" at byte … overlaps the one that ends at …'
    yield "same-bytes-twice", same_bytes(), F + 'zip entry "a/data/1" at byte … overlaps the one that ends at …'
    yield "past-the-directory", archive(central=changed(2, size=4000, packed=4000), local=changed(2, size=4000)), F + 'zip entry "a/version" with 4000 bytes from byte … expected before the directory'
    yield "extra-too-long", archive(local=changed(2, extra_bytes=60000)), F + 'zip entry "a/version" with 2 bytes from byte … expected before the directory'
    yield "local-name-too-long", archive(local=changed(2, name_bytes=60000)), F + 'zip entry "a/version" with 2 bytes from byte … expected before the directory'
    yield "local-signature", archive(local=changed(1, signature=0x04034B51)), F + 'zip entry "a/data/0": no header of an entry at byte'
    yield "central-signature", archive(central=changed(1, signature=0)), F + "zip entry 1 expected its signature; got 0x0"
    yield "central-name-too-long", archive(central=changed(2, name_bytes=60000)), F + "zip entry 2 does not fit in the zip directory"
    yield "other-disk", archive(central=changed(1, disk=1)), F + "zip file in several parts"
    yield "several-disks", archive(end=lambda r: r.update(disk=1, first=1)), F + "zip file in several parts"
    yield "fewer-here", archive(end=lambda r: r.update(here=1)), F + "zip file in several parts"
    yield "fewer-entries", archive(end=lambda r: r.update(here=2, count=2)), F + "zip directory has … bytes; its 2 entries have …"
    yield "more-entries", archive(end=lambda r: r.update(here=4, count=4)), F + "zip directory of … bytes is too small for 4 entries"
    yield "directory-elsewhere", archive(end=lambda r: r.update(begin=0)), F + "zip directory at byte 0 with … bytes expected to end at byte"
    yield "directory-outside", archive(end=lambda r: r.update(begin=2**32 - 2)), F + "zip directory at byte 4294967294 with … bytes expected to end at byte"
    yield "directory-huge", archive(end=lambda r: r.update(size=2**32 - 2)), F + "zip directory expected at most 4194304 bytes; got 4294967294"
    yield "directory-too-long", archive(after_directory=b"\0" * 50), F + "zip directory at byte …"
    yield "comment-cut", archive(end=lambda r: r.update(comment_bytes=5)), F + "expected a zip file, which ends in a directory; found none"
    wide = lambda r: None  # noqa: E731
    yield "wide-missing", archive(end=lambda r: r.update(begin=2**32 - 1)), F + "zip directory has 64-bit sizes, but not the record that holds them"
    yield "wide-count-missing", archive(end=lambda r: r.update(here=2**16 - 1, count=2**16 - 1)), F + "zip directory has 64-bit sizes, but not the record that holds them"
    yield "wide-disagrees", archive(end64=lambda r: r.update(begin=0)), F + "the two ends of the zip directory disagree"
    yield "wide-count-disagrees", archive(end64=lambda r: r.update(here=9, count=9)), F + "the two ends of the zip directory disagree"
    full = lambda r: r.update(begin=2**32 - 1, size=2**32 - 1, here=2**16 - 1, count=2**16 - 1)  # noqa: E731
    yield "wide-begin-2-64", archive(end64=lambda r: r.update(begin=MOST64), end=full), F + "zip directory at byte 18446744073709552000"
    yield "wide-size-2-64", archive(end64=lambda r: r.update(size=MOST64), end=full), F + "zip directory expected at most 4194304 bytes; got 18446744073709552000"
    yield "wide-count-2-64", archive(end64=lambda r: r.update(here=MOST64, count=MOST64), end=full), F + "zip directory of … bytes is too small for 18446744073709552000 entries"
    yield "wide-parts", archive(end64=lambda r: r.update(disk=1)), F + "zip file in several parts"
    yield "wide-signature", archive(end64=lambda r: r.update(signature=1)), F + "no 64-bit end of the zip directory at byte"
    yield "wide-rest", archive(end64=lambda r: r.update(rest=2**40)), F + "no 64-bit end of the zip directory at byte"
    yield "wide-locator-far", archive(end64=wide, locator=lambda r: r.update(at=MOST64)), F + "64-bit end of the zip directory at byte 18446744073709552000 expected before byte"
    yield "wide-locator-wrong", archive(end64=wide, locator=lambda r: r.update(at=0)), F + "no 64-bit end of the zip directory at byte 0"
    yield "wide-entry-missing", archive(central=changed(1, size=2**32 - 1, packed=2**32 - 1)), F + 'zip entry "a/data/0" has 64-bit sizes, but not the field that holds them'
    yield "wide-entry-short", archive(central=changed(1, size=2**32 - 1, packed=2**32 - 1, extra=struct.pack("<HHQ", 1, 8, 24))), F + 'zip entry "a/data/0" has 64-bit sizes, but not the field that holds them'
    yield "wide-entry-huge", archive(central=changed(1, size=2**32 - 1, packed=2**32 - 1, extra=struct.pack("<HHQQ", 1, 16, 2**50, 2**50))), F + 'zip entry "a/data/0" with 1125899906842624 bytes from byte … expected before the directory'
    yield "wide-header-huge", archive(central=changed(1, header=2**32 - 1, extra=struct.pack("<HHQ", 1, 8, MOST64))), F + 'zip entry "a/data/0" at byte 18446744073709552000 expected before the directory'
    yield "pickle-huge", huge_pickle(), F + 'zip entry "a/data.pkl" with 2147483647 bytes from byte … expected before the directory'


def nested_entry(inner):
    """An entry whose bytes hold the header and bytes of another."""
    found = {}

    def remember(i, record):
        if record["name"] == b"a/outer":
            found["at"] = record["header"] + 30 + len("a/outer")
        if record["name"] == b"a/data/0":
            record["header"] = found["at"]

    return zipped(
        [("a/data.pkl", state()), ("a/outer", inner), ("a/data/0", VALUES)],
        central=remember,
    )


def same_bytes():
    """Two names for one entry."""
    return zipped(
        [("a/data.pkl", state()), ("a/data/0", VALUES), ("a/data/1", VALUES)],
        central=lambda i, r: r.update(header=struct.calcsize("<IHHHHHIIIHH") + len("a/data.pkl") + len(state())) if i == 2 else None,
    )


def huge_pickle():
    """A pickle that says it has 2 GB."""
    size = 2**31 - 1
    return archive(central=changed(0, size=size, packed=size), local=changed(0, size=size))


def cases():
    for make in (pickles, storages, tensors, archives):
        yield from make()

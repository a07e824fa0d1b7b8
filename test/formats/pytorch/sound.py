"""Files that torch.save does not write but may: each holds w = [[1, 2, 3], [4, 5, 6]] and must load."""

import struct

from pickles import EMPTY, PARAMETER, TRUE, archive, call, dictionary, pickled, state, tensor

FULL16, FULL32 = 2**16 - 1, 2**32 - 1


def wide_header(_, record):
    record.update(extra=struct.pack("<HHQ", 1, 8, record["header"]), header=FULL32)


def wide_all(_, record):
    numbers = record["size"], record["packed"], record["header"]
    record.update(extra=struct.pack("<HHQQQ", 1, 24, *numbers), size=FULL32, packed=FULL32, header=FULL32)


def wide_local(_, record):
    size = len(record["data"])
    record.update(extra=struct.pack("<HHQQ", 1, 16, size, size), size=FULL32, packed=FULL32)


def full_end(record):
    record.update(begin=FULL32, size=FULL32, here=FULL16, count=FULL16)


def sizes_follow(_, record):
    size = len(record["data"])
    record.update(flags=8, size=0, packed=0, data=record["data"] + struct.pack("<IIII", 0x08074B50, 0, size, size))


def other_extra(_, record):
    record.update(extra=b"FB\x05\x00ZZZZZ")


def cases():
    yield "plain", archive()
    yield "wide-header", archive(central=wide_header, end64=lambda r: None, end=full_end)
    yield "wide-all", archive(central=wide_all, local=wide_local, end64=lambda r: None, end=full_end)
    yield "wide-end-that-agrees", archive(end64=lambda r: None)
    yield "sizes-follow", archive(local=sizes_follow)
    yield "comment", archive(comment=b"a comment with PK\x05\x06 and more of it ......")
    yield "extra-fields", archive(local=other_extra, central=other_extra)
    yield "gap", archive(between=b"\0" * 100)
    yield "other-root", archive(root="checkpoint-1000")
    yield "byteorder", archive(more=[("a/byteorder", b"little"), ("a/.format_version", b"1")])
    yield "parameter", archive(state(call(PARAMETER, tensor(), TRUE, EMPTY)))
    yield "shared", archive(pickled(dictionary([("w", tensor()), ("v", tensor((3,), (2,), 1))])))

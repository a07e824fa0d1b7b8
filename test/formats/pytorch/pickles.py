"""Zip files and pickles put together by hand, byte by byte, so that each fault is where it is meant to be."""

import struct

PROTO, STOP, MARK, NONE, TRUE, FALSE = b"\x80\x02", b".", b"(", b"N", b"\x88", b"\x89"


def name(module, attribute):
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value):
    if 0 <= value < 256:
        return b"K" + struct.pack("<B", value)
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + struct.pack("<B", len(data)) + data


def tuple_of(*items):
    return MARK + b"".join(items) + b"t"


def integers(*values):
    return tuple_of(*map(integer, values))


def call(function, *arguments):
    return function + tuple_of(*arguments) + b"R"


ORDERED = name("collections", "OrderedDict")
REBUILD = name("torch._utils", "_rebuild_tensor_v2")
PARAMETER = name("torch._utils", "_rebuild_parameter")
EMPTY = call(ORDERED)


def storage(kind="FloatStorage", key="0", place="cpu", size=6, word="storage"):
    return tuple_of(text(word), name("torch", kind), text(key), text(place), integer(size)) + b"Q"


def tensor(shape=(2, 3), strides=(3, 1), offset=0, of=None, grad=FALSE, hooks=EMPTY, more=()):
    return call(
        REBUILD,
        storage() if of is None else of,
        integer(offset) if isinstance(offset, int) else offset,
        integers(*shape) if isinstance(shape, tuple) else shape,
        integers(*strides) if isinstance(strides, tuple) else strides,
        grad,
        hooks,
        *more,
    )


def dictionary(items):
    return b"}" + MARK + b"".join(text(key) + value for key, value in items) + b"u"


def pickled(value):
    return PROTO + value + STOP


def state(value=None):
    return pickled(dictionary([("w", tensor() if value is None else value)]))


VALUES = struct.pack("<6f", 1, 2, 3, 4, 5, 6)


def archive(pickle=None, data=None, more=(), root="a", **options):
    """The zip file of a checkpoint."""
    entries = [
        (f"{root}/data.pkl", state() if pickle is None else pickle),
        *[(f"{root}/data/{key}", value) for key, value in ({"0": VALUES} if data is None else data).items()],
        *more,
        (f"{root}/version", b"3\n"),
    ]
    return zipped(entries, **options)


def zipped(
    entries,
    local=lambda index, fields: None,
    central=lambda index, fields: None,
    end=lambda fields: None,
    end64=None,
    locator=lambda fields: None,
    between=b"",
    comment=b"",
    after_directory=b"",
):
    """Stored entries. Each function may change the fields of its record before they are written."""
    out, directory = b"", b""
    for index, (path, data) in enumerate(entries):
        path = path if isinstance(path, bytes) else path.encode()
        header = len(out)
        own = dict(signature=0x04034B50, version=20, flags=0, method=0, time=0, date=33, crc=0)
        own.update(packed=len(data), size=len(data), name=path, extra=b"", data=data)
        local(index, own)
        out += struct.pack(
            "<IHHHHHIIIHH",
            *[own[key] for key in ("signature", "version", "flags", "method", "time", "date", "crc")],
            *[own[key] for key in ("packed", "size")],
            own.get("name_bytes", len(own["name"])),
            own.get("extra_bytes", len(own["extra"])),
        )
        out += own["name"] + own["extra"] + own["data"]
        listed = dict(signature=0x02014B50, made=20, version=20, flags=own["flags"], method=0, time=0, date=33)
        listed.update(crc=0, packed=len(data), size=len(data), name=path, extra=b"", comment=b"")
        listed.update(disk=0, internal=0, external=0, header=header)
        central(index, listed)
        if listed.get("skip"):
            continue
        directory += struct.pack(
            "<IHHHHHHIIIHHHHHII",
            *[listed[key] for key in ("signature", "made", "version", "flags", "method", "time", "date", "crc")],
            *[listed[key] for key in ("packed", "size")],
            listed.get("name_bytes", len(listed["name"])),
            len(listed["extra"]),
            len(listed["comment"]),
            *[listed[key] for key in ("disk", "internal", "external", "header")],
        )
        directory += listed["name"] + listed["extra"] + listed["comment"]
    out += between
    start = len(out)
    out += directory + after_directory
    count = len(entries)
    if end64:
        wide = dict(signature=0x06064B50, rest=44, made=45, version=45, disk=0, first=0)
        wide.update(here=count, count=count, size=len(directory), begin=start, at=len(out))
        end64(wide)
        out += struct.pack(
            "<IQHHIIQQQQ",
            *[wide[key] for key in ("signature", "rest", "made", "version", "disk", "first")],
            *[wide[key] for key in ("here", "count", "size", "begin")],
        )
        place = dict(signature=0x07064B50, disk=0, at=wide["at"], disks=1)
        locator(place)
        out += struct.pack("<IIQI", *[place[key] for key in ("signature", "disk", "at", "disks")])
    last = dict(signature=0x06054B50, disk=0, first=0, here=count, count=count, size=len(directory), begin=start)
    last.update(comment_bytes=len(comment))
    end(last)
    out += struct.pack(
        "<IHHHHIIH",
        *[last[key] for key in ("signature", "disk", "first", "here", "count", "size", "begin", "comment_bytes")],
    )
    return out + comment

"""golden/manifest.json: what made the goldens, and what each file is: its sha256, op, flags, reason, and how its states
are kept where that is not float32. No torch, no numpy."""

import hashlib
import json
import struct
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent
MANIFEST = GOLDEN / "manifest.json"


def files():
    """{'fwht/basic.safetensors': path} of every golden there is, in order."""
    return {path.relative_to(GOLDEN).as_posix(): path for path in sorted(GOLDEN.glob("*/*.safetensors"))}


def metadata(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size))["__metadata__"]


def entry(path):
    said = metadata(path)
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "op": said["op"],
        "flags": json.loads(said["flags"]),
        "why": said["why"],
        **{key: json.loads(said[key]) for key in ("made", "kept") if key in said},
    }


def write(made=None):
    """Enters every file; `made` is kept as it was where it is not given."""
    made = made or json.loads(MANIFEST.read_text())["made"]
    listed = {name: entry(path) for name, path in files().items()}
    MANIFEST.write_text(json.dumps({"made": made, "files": listed}, indent=1, ensure_ascii=False) + "\n")
    return listed


def check():
    """What differs between the folder and the manifest, one sentence each."""
    listed, found = json.loads(MANIFEST.read_text())["files"], files()
    return [
        *(f"{name} is in the manifest but not in the folder" for name in listed if name not in found),
        *(f"{name} is in the folder but not in the manifest" for name in found if name not in listed),
        *(
            f"{name} differs from the manifest"
            for name in listed
            if name in found and entry(found[name]) != listed[name]
        ),
    ]

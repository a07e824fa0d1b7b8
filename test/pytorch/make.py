"""Checkpoints for the tests of pytorch.ts: `valid/` by torch.save itself, `hostile/` put together byte by byte.

python3 test/pytorch/make.py             writes all files anew, and manifest.json (valid/ needs torch)
python3 test/pytorch/make.py --hostile   writes hostile/ only (standard library only)

manifest.json: what made them, each file's sha256, and for a hostile one the sentence that refuses it.
"""

import hashlib
import json
import platform
import shutil
import sys
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
MANIFEST = HERE / "manifest.json"


def fresh(folder):
    shutil.rmtree(HERE / folder, ignore_errors=True)
    (HERE / folder).mkdir()
    return HERE / folder


def make_hostile():
    import hostile

    folder, listed = fresh("hostile"), {}
    for name, data, sentence in hostile.cases():
        assert name not in listed, name
        (folder / f"{name}.bin").write_bytes(data)
        listed[name] = {"sha256": hashlib.sha256(data).hexdigest(), "refused": sentence}
    return listed


def make_valid():
    import valid

    folder = fresh("valid")
    valid.write(folder)
    return {p.name: {"sha256": hashlib.sha256(p.read_bytes()).hexdigest()} for p in sorted(folder.iterdir())}


def main():
    before = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    made, files = before.get("made"), before.get("valid")
    if "--hostile" not in sys.argv[1:]:
        import torch
        import valid

        made = {"python": platform.python_version(), "torch": torch.__version__, "seed": valid.SEED}
        files = make_valid()
    listed = make_hostile()
    MANIFEST.write_text(json.dumps({"made": made, "valid": files, "hostile": listed}, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(listed)} hostile files, {len(files or {})} of valid ones")


if __name__ == "__main__":
    main()

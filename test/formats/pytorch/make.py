"""Checkpoints for the tests of pytorch.ts: `valid/` by torch.save itself, `sound/` and `hostile/` put together byte by byte.

python3 test/formats/pytorch/make.py             writes all files anew, and manifest.json (valid/ needs torch)
python3 test/formats/pytorch/make.py --by-hand   writes sound/ and hostile/ only (standard library only)

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


def make_sound():
    import sound

    folder, listed = fresh("sound"), {}
    for name, data in sound.cases():
        (folder / f"{name}.bin").write_bytes(data)
        listed[name] = {"sha256": hashlib.sha256(data).hexdigest()}
    return listed


def make_valid():
    import valid

    folder = fresh("valid")
    valid.write(folder)
    return {p.name: {"sha256": hashlib.sha256(p.read_bytes()).hexdigest()} for p in sorted(folder.iterdir())}


def main():
    before = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    made, files = before.get("made"), before.get("valid")
    if "--by-hand" not in sys.argv[1:]:
        import torch
        import valid

        made = {"python": platform.python_version(), "torch": torch.__version__, "seed": valid.SEED}
        files = make_valid()
    sound, listed = make_sound(), make_hostile()
    manifest = {"made": made, "valid": files, "sound": sound, "hostile": listed}
    MANIFEST.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(listed)} hostile files, {len(sound)} sound ones, {len(files or {})} of torch.save and its values")


if __name__ == "__main__":
    main()

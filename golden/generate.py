"""Truth from PyTorch for every op: golden/<op>/<case>.safetensors and golden/manifest.json.

python3 golden/generate.py             writes every case anew, from fixed seeds (needs torch and numpy)
python3 golden/generate.py OP …        only the cases of these ops; each file says what made it, the other files stay
python3 golden/generate.py --check     compares the folder with the manifest (standard library only)
python3 golden/generate.py --record    enters the files as they are, after golden/model.py (standard library only)
"""

import argparse
import os
import platform
import sys

sys.dont_write_bytecode = True
import manifest  # noqa: E402


def make(ops):
    """Writes the cases of the ops, or of all. What made them is given if it made all."""
    os.environ["ATEN_CPU_CAPABILITY"] = (
        "default"  # torch's own kernels without FMA, the same ones on every machine
    )
    import numpy
    import torch
    import case
    import cases_attention  # noqa: F401: registers its ops
    import cases_float  # noqa: F401
    import cases_int8  # noqa: F401
    import cases_ssd  # noqa: F401

    torch.set_num_threads(1)
    made = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "seed": case.SEED,
    }
    case.MADE.update(made if ops else {})
    case.write_all(ops)
    return None if ops else made


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ops", nargs="*", metavar="OP", help="write the cases of these ops only")
    parser.add_argument("--check", action="store_true", help="compare the folder with the manifest")
    parser.add_argument("--record", action="store_true", help="enter the files as they are")
    arguments = parser.parse_args()
    if arguments.check:
        faults = manifest.check()
        print("\n".join(faults) or f"golden: {len(manifest.files())} files as in the manifest")
        sys.exit(1 if faults else 0)
    made = None if arguments.record else make(arguments.ops)
    print(f"golden: {len(manifest.write(made))} files in the manifest")


if __name__ == "__main__":
    main()

"""Goldens of texts: what Python's str and re do with hard texts, as lm-eval prepares its tasks.

    python3 golden/python_text.py

Standard library only. Writes golden/python-text/texts.json: for each text `rstrip`, `strip`, `capitalize`, and how HellaSwag's
preparation leaves it as a second context and as an ending, after lm-eval's description: strip, " [title]" becomes ". ", what is
in brackets goes, two spaces become one. First all characters whose title case is no single large letter, then random texts.
"""

import json
import platform
import random
import re
from pathlib import Path

OUT = Path(__file__).resolve().parent / "python-text/texts.json"
POOL = list("aAßǆǅǄǉﬁﬆŉİıΣΣσςΑẞᾀᾈᾲᾷᾼΐაᲐև𐐨𐐀éé.-'\xad\u0301[]x🙂")
POOL += list(" \t\r\n\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u180e\u2000\u200b\u2028\u2029\u202f\u3000\ufeff")
POOL += ["[title]", " [title]", "[a b]", "[\u2028]", "[\r]", "[\n]", "[\x85]", "  ", "   "]


def tidy(text):
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def row(text):
    return [text, text.rstrip(), text.strip(), text.capitalize(), tidy("A: b " + text.capitalize()), tidy(text)]


if __name__ == "__main__":
    rng = random.Random(16)
    chars = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    texts = ["", *(char for char in chars if char.capitalize() != char.upper())]
    texts += ["".join(rng.choices(POOL, k=rng.randint(1, 9))) for _ in range(400)]
    rows = ",\n".join(json.dumps(row(text), separators=(",", ":")) for text in texts)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(f'{{"python":"{platform.python_version()}","texts":[\n{rows}\n]}}\n')

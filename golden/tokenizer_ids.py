"""Goldens of tokenization: ids of hard random texts, from Hugging Face's `tokenizers` (Rust).

    python3 golden/tokenizer_ids.py [--count 120] [--seed 16] [--out golden/tokenizer-ids]

Needs `pip install tokenizers==0.23.2`. Each file is one tokenizer: what it changes in the embedded model's tokenizer.json
(so that no vocabulary is stored twice), and texts with their ids. The pool holds what JavaScript, Python and Rust class differently:
spaces of all kinds, digits of many scripts, controls, combining marks, letters with odd cases, surrogate pairs. Characters
newer than Unicode 13 are left out, since Node's and Rust's tables of them differ.
"""

import argparse
import json
import random
from pathlib import Path

import tokenizers

ROOT = Path(__file__).resolve().parent.parent
BASE = json.loads((ROOT / "models/mamba-books-15m/tokenizer.json").read_text(encoding="utf-8"))

SPACES = list(" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u180e\u2000\u2003\u2009\u200a\u200b\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff")
DIGITS = list("0157½²³¹٣۴߅५๔Ⅷⅻ①⑨㊿一三〇४") + ["12", "345", "6789", "𝟘", "𝟡", "𐄇", "𒐀", "🄁"]
MARKS = ["\u0301", "\u0327", "\u0e31", "\u0903", "\u20dd", "\ufe0f", "\u200d", "\u0300\u0323", "\u093f"]
LETTERS = list("aAsSkKdmtß\u017f\u212aǆǅŉİıΣςσﬁﬆẞÅ\u212bé中ไकʼªºⓐℵ") + ["𝐀", "𐐀", "\U00020000", "e\u0301", "각", "각"]
CONTROLS = ["\0", "\x01", "\x1b", "\x7f", "\x80", "\x9f", "\xad", "\u061c", "\u202e", "\ufff9", "\ufffd", "\U000e0001"]
OTHERS = list("'’\"$+<=>^`|~!?.,_-‿⁀﹍#@€£§©½№™…。、《」«") + ["🙂", "👩‍👩‍👧", "🇩🇪", "☃", "𝄞", "\U0010fffd", "\ue000"]
WORDS = ["naïve", "nai\u0308ve", "the", " old", " man", "'s", "'S", "'\u017f", "'ll", "'LL", "'Re", "'ve", "cat", "cats", "duplicate", " cat ", "<x>", "<r>", "<l>", "<b>", "<s>", "Hello", "<|endoftext|>", "<|end", "\r\n", "  ", "   ", "\n\n"]
POOLS = [SPACES, SPACES, DIGITS, MARKS, LETTERS, CONTROLS, OTHERS, WORDS, WORDS]


def added(content, id, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False, **flags}


def byte_level(use_regex=True, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


END = added("<|endoftext|>", 0, normalized=False, special=True)
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT4 = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"

TOKENIZERS = {
    "embedded": {},
    "gpt-neox": {
        "added_tokens": [END, added("<|padding|>", 8192, normalized=False, special=True)]
        + [added(" " * n, 8193 + i) for i, n in enumerate(range(24, 1, -1))],
        "normalizer": {"type": "NFC"},
    },
    "starcoder": {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, byte_level())},
    "falcon": {
        "pre_tokenizer": sequence(
            {"type": "Punctuation", "behavior": "Contiguous"},
            byte_level(),
            {"type": "Digits", "individual_digits": False},
            split("[0-9][0-9][0-9]"),
        )
    },
    "added": {
        "added_tokens": [
            END,
            added("cat", 8192, single_word=True),
            added("<x>", 8193, single_word=True, lstrip=True, normalized=False),
            added("<r>", 8194, rstrip=True),
            added("<l>", 8195, lstrip=True, special=True, normalized=False),
            added("<b>", 8196, lstrip=True, rstrip=True),
            added("  ", 8197),
            added("naïve", 8198),
            added("\r\n", 8199, normalized=False, rstrip=True),
        ],
        "normalizer": {"type": "NFD"},
        "pre_tokenizer": sequence({"type": "Digits", "individual_digits": False}, byte_level(prefix=True)),
    },
    "llama-3": {"pre_tokenizer": sequence(split(LLAMA3), byte_level(False)), "model": {"ignore_merges": True}},
    "gpt-4": {"pre_tokenizer": sequence(split(GPT4, "Removed", True), byte_level(False))},
    "tekken": {"pre_tokenizer": sequence(split(TEKKEN), byte_level(False))},
    "normalizers": {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Lowercase"},
                {"type": "Strip", "strip_left": True, "strip_right": True},
                {"type": "NFKD"},
                {"type": "StripAccents"},
                {"type": "Replace", "pattern": {"Regex": r"\d"}, "content": "$&"},
                {"type": "Prepend", "prepend": "_"},
            ],
        },
        "added_tokens": [END, added("cat", 8192, lstrip=True, rstrip=True)],
    },
    "behaviors": {
        "pre_tokenizer": sequence(
            split(r"\s", "MergedWithNext"),
            split(r"\w+", "MergedWithPrevious"),
            split(r"\d", "Contiguous", True),
            {"type": "Punctuation"},
            split(r"[\u200b-\u200d]", "Removed"),
            {"type": "Split", "pattern": {"String": "$"}, "behavior": "MergedWithNext", "invert": True},
            byte_level(False),
        )
    },
}


def tokenizer(change):
    model = {**BASE["model"], **change.get("model", {})}
    return tokenizers.Tokenizer.from_str(json.dumps({**BASE, **change, "model": model}))


def text(random):
    return "".join(random.choice(random.choice(POOLS)) for _ in range(random.randint(1, 14)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--out", type=Path, default=ROOT / "golden/tokenizer-ids")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, change in TOKENIZERS.items():
        rng = random.Random(f"{options.seed} {name}")
        encode = tokenizer(change).encode
        texts = ["", "it  \ufeffwas", '"Yes.  \x85No', "a \x85b", "cost \x85 £5", "duplicate vocation", "add ½ cup", "Σ'st it'ſT"]
        texts += [text(rng) for _ in range(options.count)]
        rows = [json.dumps([t, encode(t, add_special_tokens=False).ids], separators=(",", ":")) for t in texts]
        said = json.dumps({"tokenizers": tokenizers.__version__, "change": change}, separators=(",", ":"))
        body = f'{said[:-1]},\n"texts":[\n' + ",\n".join(rows) + "\n]}\n"
        (options.out / f"{name}.json").write_text(body)

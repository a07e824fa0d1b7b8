"""The evaluation golden: perplexity of a model and log-likelihoods of task items, in float64.

    python3 golden/evaluation.py [--model models/mamba-books-15m] [--windows 2]
    python3 golden/generate.py --record

Independent of the package: mamba.py and mamba2.py restate the models, and the prompts here restate lm-eval 0.4.2's. The
tokenizer is Hugging Face's, called by ids.mjs (node). Windows: the first ones of WINDOW tokens of the embedded model's
validation.txt.gz, each from an empty state, WINDOW - 1 predictions in each. The items are our own, two for each task.
Needs torch and numpy.
"""

import argparse
import gzip
import json
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
import numpy as np  # noqa: E402
import torch  # noqa: E402

import mamba  # noqa: E402
import mamba2  # noqa: E402
import manifest  # noqa: E402
import tensorfile  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
EMBEDDED = ROOT / "models/mamba-books-15m"
WINDOW = 1024
WHY = "a window shifted by a token, a continuation cut one token early, a prompt with one space too many"

ITEMS = {
    "lambada": [
        {
            "text": "The captain looked at the sea for a long time. The wind had gone, the sails hung down, and not a "
            "ripple moved upon the water. There was nothing to be done, he said, but to wait for the wind"
        },
        {
            "text": '"Have you the key?" she asked.\n\n"I had it this morning," said the old man, and he turned out one '
            "pocket after another. At last he shook his head. He had lost the key"
        },
    ],
    "hellaswag": [
        {
            "activity_label": "Sharpening knives",
            "ctx_a": "A man sits at a table with a whetstone before him.  He pours a little water on it.",
            "ctx_b": "the man in the Blue coat",
            "endings": [
                "throws the stone out of the window.",
                "draws the blade over the stone again and again.",
                "reads a newspaper to the water.",
                "puts the table into his pocket [and leaves].",
            ],
            "label": "1",
        },
        {
            "activity_label": "Home and garden",
            "ctx_a": "How to keep roses [title] Choose a place in the sun. [step] Roses want six hours of light a day.",
            "ctx_b": "",
            "endings": [
                "Dig a hole twice as wide as the roots.",
                "Paint the roses black and lock the gate.",
                "Never give them any water at all. [substeps] Sing to them.",
                "Put them under the bed in winter and summer.",
            ],
            "label": "0",
        },
    ],
    "piqa": [
        {
            "goal": "How do I keep a door from banging in the wind?",
            "sol1": "Put a wedge of wood under it.",
            "sol2": "Put a wedge of wood on the roof.",
            "label": 0,
        },
        {
            "goal": "To dry a wet coat,",
            "sol1": "lay it in the bath.",
            "sol2": "hang it near the fire, but not too near it.",
            "label": 1,
        },
    ],
    "arc_easy": [
        {
            "question": "Which of these gives light of its own?",
            "choices": {"text": ["the moon", "a mirror", "a candle", "a window"], "label": ["A", "B", "C", "D"]},
            "answerKey": "C",
        },
        {
            "question": "What does ice become when it is warmed?",
            "choices": {"text": ["stone", "water", "salt"], "label": ["1", "2", "3"]},
            "answerKey": "2",
        },
    ],
    "arc_challenge": [
        {
            "question": "A ball is thrown straight up. At its highest point it",
            "choices": {
                "text": ["has no weight.", "is at rest for a moment.", "moves fastest.", "has lost its mass."],
                "label": ["A", "B", "C", "D"],
            },
            "answerKey": "B",
        },
        {
            "question": "Why is the shadow of a tree shortest at noon?",
            "choices": {
                "text": ["The tree is cold.", "The sun is nearest.", "The air is still.", "The sun is highest."],
                "label": ["A", "B", "C", "D"],
            },
            "answerKey": "D",
        },
    ],
    "winogrande": [
        {
            "sentence": "The cup did not fit into the box because the _ was too small.",
            "option1": "cup",
            "option2": "box",
            "answer": "2",
        },
        {
            "sentence": "Tom lent the spade to Will, and _ had to dig with his hands.",
            "option1": "Tom",
            "option2": "Will",
            "answer": "1",
        },
    ],
}


def hellaswag_text(text):
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def pairs(task, item):
    """(context, continuation) of each choice."""
    if task == "lambada":
        *words, last = item["text"].split(" ")
        return [(" ".join(words), " " + last)]
    if task == "winogrande":
        before, after = item["sentence"].split("_")
        return [(before + item[key], " " + after.strip()) for key in ("option1", "option2")]
    if task == "hellaswag":
        parts = f"{item['activity_label']}: {item['ctx_a']} {item['ctx_b'].capitalize()}"
        return [(hellaswag_text(parts), " " + hellaswag_text(ending)) for ending in item["endings"]]
    question = item["goal"] if task == "piqa" else item["question"]
    choices = [item["sol1"], item["sol2"]] if task == "piqa" else item["choices"]["text"]
    return [(f"Question: {question}\nAnswer:", f" {choice}") for choice in choices]


def encode(folder, texts):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(texts, file)
        file.flush()
        run = subprocess.run(
            ["node", ROOT / "golden/ids.mjs", folder, file.name], check=True, capture_output=True, text=True
        )
    return [[int(i) for i in line.split()] for line in run.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    parser.add_argument("--windows", type=int, default=2)
    arguments = parser.parse_args()
    folder, count = arguments.model, arguments.windows
    torch.set_grad_enabled(False)
    weights, config = mamba.load(folder, torch.float64)
    hidden = mamba2.HIDDEN[config["model_type"]]

    def log_probabilities(ids):
        """[b, l] → [b, l - 1], of each token but the first."""
        logits = mamba.head(weights, hidden(weights, config, ids[:, :-1]))
        return logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]

    text = gzip.open(EMBEDDED / "validation.txt.gz", "rt", encoding="utf-8", newline="").read()
    [ids] = encode(folder, [text])
    windows = torch.tensor(ids[: WINDOW * count]).view(count, 1, WINDOW)
    tensors = {"f64.nll": np.array([-log_probabilities(window).sum().item() for window in windows])}
    print(f"perplexity {np.exp(tensors['f64.nll'].sum() / (count * (WINDOW - 1))):.6f}", flush=True)

    for task, items in ITEMS.items():
        asked = [pair for item in items for pair in pairs(task, item)]
        lls = []
        for (context, continuation), both, alone in zip(
            asked,
            encode(folder, [context + continuation for context, continuation in asked]),
            encode(folder, [context for context, _ in asked]),
        ):
            lls.append(log_probabilities(torch.tensor([both]))[0, len(alone) - 1 :].sum().item())
            print(f"{task:14} {len(both) - len(alone):3} tokens {lls[-1]:10.4f}  {continuation!r}", flush=True)
        tensors[f"f64.{task}"] = np.array(lls)

    attrs = {"window": WINDOW, "items": ITEMS}
    made = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    texts = {"attrs": attrs, "flags": ["basic"], "made": made}
    said = {"op": "evaluation", "why": WHY, **{key: json.dumps(value) for key, value in texts.items()}}
    out = manifest.GOLDEN / "evaluation" / f"{folder.resolve().name}.safetensors"
    tensorfile.write(out, tensors, said)
    print(f"{out.name} written. Now: python3 golden/generate.py --record")


if __name__ == "__main__":
    main()

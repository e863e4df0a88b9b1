"""Records what the tokens of prompts were worth to the model: their log-probabilities, and the five likeliest at each place.

    python record_scores.py tests/data/nano tests/data/recording

reads the pictures of a recording and writes scores.json beside them: for each case its token ids, the log-probabilities of the 2nd token, the
3rd, ... and, for the same places, the ids and log-probabilities of the five.
"""

import argparse
import json
import pathlib

import torch
import transformers
from PIL import Image

import reference

CASES = ["text_short", "text_long", "photograph"]
NUM_TOP = 5
DIGITS = 6


def rounded(values: torch.Tensor) -> list:
    return [round(value, DIGITS) for value in values.tolist()]


def scores(prompts: reference.Prompts, model, name: str) -> dict:
    inputs = prompts.inputs([name])
    with torch.no_grad():
        logits = model(**inputs).logits[0, :-1].float()
    ids = inputs["input_ids"][0]
    logprobs = logits.log_softmax(-1)
    top = logprobs.topk(NUM_TOP)
    return {
        "token_ids": ids.tolist(),
        "logprobs": rounded(logprobs.gather(-1, ids[1:, None])[:, 0]),
        "top_ids": top.indices.tolist(),
        "top_logprobs": [rounded(row) for row in top.values],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("recording", type=pathlib.Path)
    args = parser.parse_args()
    images = {path.name: Image.open(path).convert("RGB") for path in (args.recording / "images").glob("photograph.jpg")}
    prompts = reference.Prompts(args.checkpoint, images)
    model = reference.load_model(args.checkpoint)
    out = {
        "about": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        "cases": {name: scores(prompts, model, name) for name in CASES},
    }
    (args.recording / "scores.json").write_text(json.dumps(out, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

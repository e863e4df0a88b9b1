"""tests/data/agent_write/prompts.json: what the client's prompts are compared with. Run as a program, this writes it anew."""
import json
import os
import random

import tasks
import world as world_lib

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "data", "agent_write", "prompts.json")


def recorded(total, k, lang, world):
    """One document's plan prompt, and the prompt of its section k, with everything that goes into them."""
    rng = random.Random(f"recorded {total} {k} {lang}")
    theme = None if world else tasks.random_theme(lang, rng, others=False)
    wish = tasks.instruction(total, lang, rng, world, theme)
    sections = tasks.plan_sections(total, lang, world, theme)
    steps = [section.step for section in sections]
    written = [section.write(lang, rng) for section in sections[:k]]
    return {"instruction": wish, "plan_prompt": tasks.PLAN.replace("$INST$", wish), "plan": "\n".join(steps),
            "num_words": [section.num_words for section in sections], "steps": steps, "written": written, "section": k,
            "write_prompt": tasks.write_prompt(wish, steps, written, steps[k])}


def recording():
    world = world_lib.make_world(1 << 32)
    return [recorded(1000, 0, "en", world), recorded(1500, 2, "en", None), recorded(1000, 1, "zh", world)]


def test_the_recording_is_what_the_model_is_trained_on():
    with open(FILE, encoding="utf-8") as file:
        assert json.load(file) == recording(), "python3 demo/tests/test_recorded_prompts.py writes it anew"


if __name__ == "__main__":
    with open(FILE, "w", encoding="utf-8") as out:
        json.dump(recording(), out, ensure_ascii=False, indent=1)
        out.write("\n")

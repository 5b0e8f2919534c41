"""How often answers to open questions for a time are within 1.5 s of the truth, about songs that were kept from training.

Gamut answers. Questions whose answer is no time, since nothing enters, are not asked; an answer without a time is wrong.
"""

import argparse
import json
import re
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

# Shortest, longest, and the first seed, away from those of MusicBench-mini and of each other.
LENGTHS = {"30 s": (20, 29.9, 100_000), "60 s": (50, 60, 110_000), "120 s": (110, 120, 120_000)}
CLOSE = 1.5
SAID = re.compile(r"(\d+):(\d\d)")


def interval(right, n, z=1.96):
    """Wilson's, of 95 %."""
    share, middle = right / n, right / n + z * z / (2 * n)
    spread = z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return (max(0.0, edge / (1 + z * z / n)) for edge in (middle - spread, middle + spread))


def distances(args, folder, shortest, longest, first):
    """Seconds between answer and truth, by category; none where no time is said."""
    render = ["render", f"--first={first}", f"--count={args.count}", "--split=held-out"]
    render += [f"--shortest={shortest}", f"--longest={longest}", "--questions=24"]
    subprocess.run([args.maker, *render, folder], check=True)
    truth = {}
    with open(folder / "requests.jsonl", "w") as requests:
        for plan in sorted(folder.glob("*.json")):
            for i, question in enumerate(json.loads(plan.read_text())["questions"]):
                if "options" in question or "second" not in question:
                    continue
                name = f"{plan.stem}-{i}"
                truth[name] = question["category"], question["second"]
                audio = {"type": "audio_url", "audio_url": {"url": f"{plan.stem}.wav"}}
                content = [audio, {"type": "text", "text": question["prompt"]}]
                body = {"messages": [{"role": "user", "content": content}], "max_tokens": 24}
                requests.write(json.dumps({"custom_id": name, "body": body}) + "\n")
    output = folder / "answers.jsonl"
    subprocess.run([args.gamut, "batch", folder / "requests.jsonl", "-m", args.model, "--output", output], check=True)
    found = defaultdict(list)
    for line in output.read_text().splitlines():
        answer = json.loads(line)
        category, second = truth.pop(answer["custom_id"])
        said = SAID.search(answer["response"]["body"]["choices"][0]["message"]["content"])
        found[category].append(abs(60 * int(said[1]) + int(said[2]) - second) if said else None)
    assert not truth, f"{len(truth)} questions have no answer"
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a checkpoint directory")
    parser.add_argument("--gamut", default="gamut", help="the executable that answers")
    parser.add_argument("--maker", default="gamut-songs", help="the executable that makes songs")
    parser.add_argument("--count", type=int, default=60, help="songs of each length")
    args = parser.parse_args()
    for name, about in LENGTHS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = distances(args, Path(folder), *about)
        found["all"] = [far for category in found.values() for far in category]
        for category, far in found.items():
            right = sum(d is not None and d <= CLOSE for d in far)
            low, high = interval(right, len(far))
            print(f"{name:6} {category:14} {right / len(far):.3f} [{low:.3f}, {high:.3f}] of {len(far)}", flush=True)


if __name__ == "__main__":
    main()

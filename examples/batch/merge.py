#!/usr/bin/env python3
"""Joins the outputs of all parts to one.

merge.py requests.jsonl > answers.jsonl

Ends with exit code 1 unless there is one answer to every request.
"""

import json
import sys
from pathlib import Path

if len(sys.argv) != 2:
    sys.exit(__doc__)
requests = Path(sys.argv[1])
seen = set()
for path in sorted(requests.parent.glob(f"{requests.stem}.*-of-*.out.jsonl")):
    with path.open("rb") as answers:
        # A part that was killed, and has not gone on yet, may end within a line.
        for line in filter(lambda line: line.endswith(b"\n"), answers):
            answer = json.loads(line)
            # A line of the requests that has no id of its own is known by its number.
            name = answer.get("line", answer["custom_id"])
            if name in seen:
                sys.exit(f"{path}: {name} has an answer already")
            seen.add(name)
            sys.stdout.buffer.write(line)
with requests.open("rb") as lines:
    wanted = sum(1 for line in lines if line.strip())
if len(seen) != wanted:
    sys.exit(f"{len(seen)} answers to {wanted} requests: some parts are not done")

#!/usr/bin/env python3
"""Writes a request for each question about each audio file of a folder, one JSON object a line.

make_requests.py FOLDER QUESTION... > requests.jsonl

Paths are absolute, so that the file may lie anywhere. Questions about a song follow each other:
`gamut batch` hears the song once for all of them.
"""

import json
import sys
from pathlib import Path

AUDIO = {".mp3", ".flac", ".ogg", ".m4a", ".wav"}


def request(folder, path, number, question):
    content = [
        {"type": "audio_url", "audio_url": {"url": str(path.resolve())}},
        {"type": "text", "text": question},
    ]
    return {
        "custom_id": f"{path.relative_to(folder)}#{number}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": [{"role": "user", "content": content}]},
    }


if len(sys.argv) < 3:
    sys.exit(__doc__)
folder, questions = Path(sys.argv[1]), sys.argv[2:]
for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO):
    for number, question in enumerate(questions):
        print(json.dumps(request(folder, path, number, question)))

"""What tiktoken makes of texts and of ids, with Qwen's vocabulary.

    python vocabulary.py qwen.tiktoken < QUESTIONS > ANSWERS

QUESTIONS is a JSON object: "texts", whose ids "encoded" of ANSWERS has, and "ids", lists of which "decoded" has the
texts, U+FFFD where bytes are no character.
"""

import base64
import json
import sys
import unicodedata

import tiktoken

# How Qwen's tokenizers cut a text before merging.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def main(path):
    with open(path, encoding="ascii") as file:
        ranks = {base64.b64decode(token): int(rank) for token, rank in map(str.split, file)}
    special = {token: len(ranks) + number for number, token in enumerate(SPECIAL)}
    encoding = tiktoken.Encoding("qwen", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special)
    questions = json.load(sys.stdin)
    # Qwen's tokenizers compose characters first.
    texts = (unicodedata.normalize("NFC", text) for text in questions["texts"])
    answers = {
        "encoded": [encoding.encode(text, allowed_special="all") for text in texts],
        "decoded": [encoding.decode(ids, errors="replace") for ids in questions["ids"]],
    }
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])

"""Fill in, in conversations.json, what transformers' template renderer and tokenizers make of each conversation.

    python make.py

Also trains tokenizer.json, a small byte-level BPE in Qwen's manner, on the conversations' own text.
"""

import json
from pathlib import Path

from jinja2 import TemplateError
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.utils.chat_template_utils import render_jinja_template

HERE = Path(__file__).parent
CONVERSATIONS = HERE / "conversations.json"
VOCABULARY = 640
# Qwen's split into words: contractions, letters with one leading sign, single digits, signs, line ends, spaces.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>"]
MARKS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]


def train(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in MARKS])
    return tokenizer


def render(conversation: dict, template: str) -> dict:
    try:
        texts, _ = render_jinja_template(
            [conversation["messages"]],
            chat_template=(HERE / f"{template}.jinja").read_text(),
            add_generation_prompt=conversation["add_generation_prompt"],
            **conversation["variables"],
        )
    except TemplateError as error:
        return {"error": str(error)}
    return {"text": texts[0]}


def main():
    conversations = json.loads(CONVERSATIONS.read_text())
    for conversation in conversations:
        conversation["expected"] = {template: render(conversation, template) for template in conversation["expected"]}
    results = [result for conversation in conversations for result in conversation["expected"].values()]
    tokenizer = train([result["text"] for result in results if "text" in result])
    tokenizer.save(str(HERE / "tokenizer.json"), pretty=False)
    for result in results:
        if "text" in result:
            result["ids"] = tokenizer.encode(result["text"], add_special_tokens=False).ids
    lines = ",\n".join(json.dumps(conversation, ensure_ascii=False) for conversation in conversations)
    CONVERSATIONS.write_text(f"[\n{lines}\n]\n")
    print(f"{len(conversations)} conversations, {len(results)} renderings")


if __name__ == "__main__":
    main()

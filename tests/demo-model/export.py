"""Writes a trained model as a checkpoint directory that `gamut` opens."""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from language import END, TEMPLATE, Language
from model import Gamma, config


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def export(model, tokenizer_path, out):
    """The checkpoint's files, weights in bf16."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    language = Language(Tokenizer.from_file(str(tokenizer_path)))
    write_json(out / "config.json", config(language.size, language.audio))
    write_json(out / "generation_config.json", {"eos_token_id": [language.end], "do_sample": False})
    ends = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": END}
    write_json(out / "tokenizer_config.json", ends)
    (out / "chat_template.jinja").write_text(TEMPLATE)
    shutil.copy(tokenizer_path, out / "tokenizer.json")
    part = out / "model.safetensors.part"
    save_file({name: t.detach().bfloat16().contiguous() for name, t in model.state_dict().items()}, part, {"format": "pt"})
    part.rename(out / "model.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder of the stage's run")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    language = Language(Tokenizer.from_file(args.tokenizer))
    model = Gamma(config(language.size, language.audio))
    model.load_state_dict(torch.load(f"{args.run}/checkpoint.pt", weights_only=True)["model"])
    export(model, args.tokenizer, args.out)


if __name__ == "__main__":
    main()

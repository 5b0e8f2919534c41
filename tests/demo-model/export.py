"""Writes a trained model as a checkpoint directory that `gamut` opens, and reads it again."""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from language import END, TEMPLATE, Language
from model import Gamma, config

# Rows and columns of a block that has a factor of its own in FP8.
BLOCK = 128


def read(folder, part, file):
    """A part of a run's state, or what a file has where there is no run."""
    run = Path(folder) / "checkpoint.pt"
    if run.exists():
        return torch.load(run, weights_only=True)[part]
    return {name: t.float() for name, t in load_file(file).items()}


def read_weights(folder):
    """A model's, from a run or from a checkpoint directory."""
    return read(folder, "model", Path(folder) / "model.safetensors")


def read_expert(experts, name):
    """One of the experts', from a folder of their runs or a checkpoint's weights."""
    if Path(experts).is_dir():
        return torch.load(f"{experts}/{name}/checkpoint.pt", weights_only=True)["expert"]
    first = f"{name}_expert."
    return {key.removeprefix(first): t.float() for key, t in load_file(experts).items() if key.startswith(first)}


def read_reader(folder):
    """A reader's, from a run; of a checkpoint directory it is the bundled model's."""
    return read(folder, "reader", Path(__file__).with_name("reader.safetensors"))


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def in_blocks(weights):
    """The same, with the decoder's matrices in FP8 (E4M3) and a factor for each block of them, as Qwen3's checkpoints in it."""
    out = {}
    for name, t in weights.items():
        if name.startswith("language_model.model.layers.") and t.dim() == 2:
            most = torch.stack(
                [torch.stack([block.abs().amax() for block in rows.split(BLOCK, 1)]) for rows in t.float().split(BLOCK)]
            )
            scales = most.clamp(min=1e-12) / torch.finfo(torch.float8_e4m3fn).max
            wide = scales.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)[: t.shape[0], : t.shape[1]]
            out[name], out[f"{name}_scale_inv"] = (t / wide).to(torch.float8_e4m3fn), scales
        else:
            out[name] = t
    return out


def export(model, tokenizer_path, out, dtype=torch.bfloat16, fp8=False):
    """The checkpoint's files."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    language = Language(Tokenizer.from_file(str(tokenizer_path)))
    found = config(language.size, language.audio)
    weights = {name: t.detach().to(dtype).contiguous() for name, t in model.state_dict().items()}
    if fp8:
        weights = in_blocks(weights)
        kind = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [BLOCK, BLOCK]}
        found["text_config"]["quantization_config"] = kind
    write_json(out / "config.json", found)
    write_json(out / "generation_config.json", {"eos_token_id": [language.end], "do_sample": False})
    ends = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": END}
    write_json(out / "tokenizer_config.json", ends)
    (out / "chat_template.jinja").write_text(TEMPLATE)
    shutil.copy(tokenizer_path, out / "tokenizer.json")
    part = out / "model.safetensors.part"
    save_file(weights, part, {"format": "pt"})
    part.rename(out / "model.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder of the stage's run, or a checkpoint directory")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument(
        "--silent", choices=["temporal", "global"], help="an expert that is to say nothing, to see what it is for"
    )
    parser.add_argument("--fp8", action="store_true", help="with the decoder's matrices in FP8")
    args = parser.parse_args()
    language = Language(Tokenizer.from_file(args.tokenizer))
    model = Gamma(config(language.size, language.audio))
    model.load_state_dict(read_weights(args.run))
    if args.silent:
        last = getattr(model, f"{args.silent}_expert").layer_norm
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
    export(model, args.tokenizer, args.out, fp8=args.fp8)


if __name__ == "__main__":
    main()

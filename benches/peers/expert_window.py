"""Times one 30 s window through transformers' WhisperEncoder at large-v3's shape: random weights, f32, SDPA.

    python expert_window.py [--threads 2] [--runs 3]
"""

import argparse

import torch
from timing import report, time_runs, use_threads
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    use_threads(args.threads)

    torch.manual_seed(0)
    config = WhisperConfig(
        num_mel_bins=128,
        d_model=1280,
        encoder_layers=32,
        encoder_attention_heads=20,
        encoder_ffn_dim=5120,
        attn_implementation="sdpa",
    )
    encoder = WhisperEncoder(config).eval()
    mel = torch.randn(1, config.num_mel_bins, 3000)
    with torch.inference_mode():
        seconds = time_runs(lambda: encoder(mel), args.runs)
    report("transformers WhisperEncoder, large-v3 shape, f32", seconds, args.threads, ["torch", "transformers"])


if __name__ == "__main__":
    main()

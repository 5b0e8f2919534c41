"""Times batch-1 decode steps of transformers' Qwen3ForCausalLM at Qwen3-0.6B's shape: random weights, bf16.

    python decode_step.py [--threads 2] [--steps 20] [--context 100 1000] [--compile]

Both of transformers' caches are timed; the faster one at a context is the peer to beat there.
"""

import argparse

import torch
from timing import report, time_runs, use_threads
from transformers import DynamicCache, Qwen3Config, Qwen3ForCausalLM, StaticCache

SPARE_POSITIONS = 64  # of a static cache, beyond the context: for the steps and the one not counted


def random_decoder() -> Qwen3ForCausalLM:
    config = Qwen3Config(
        vocab_size=151_936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    with torch.device("meta"):
        decoder = Qwen3ForCausalLM(config)
    decoder = decoder.to(torch.bfloat16).to_empty(device="cpu").eval()
    decoder.tie_weights()
    decoder.model.rotary_emb = type(decoder.model.rotary_emb)(config)  # its frequencies are no weights
    for name, parameter in decoder.named_parameters():
        parameter.data.fill_(1.0) if "norm" in name else parameter.data.normal_(0.0, 0.02)
    return decoder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--context", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--compile", action="store_true", help="also time torch.compile with the static cache")
    args = parser.parse_args()
    if args.steps >= SPARE_POSITIONS:
        parser.error(f"--steps {args.steps}: at most {SPARE_POSITIONS - 1}")
    use_threads(args.threads)

    torch.manual_seed(0)
    decoder = random_decoder()
    ways = [("dynamic cache", decoder, DynamicCache), ("static cache", decoder, StaticCache)]
    if args.compile:
        ways.append(("static cache, torch.compile", torch.compile(decoder), StaticCache))

    for context in args.context:
        for way, model, cache_type in ways:
            spare = {"max_cache_len": context + SPARE_POSITIONS} if cache_type is StaticCache else {}
            cache = cache_type(config=decoder.config, **spare)
            with torch.inference_mode():
                decoder(torch.randint(decoder.vocab_size, (1, context)), past_key_values=cache, logits_to_keep=1)
                token = torch.tensor([[0]])

                def step():
                    token[0, 0] = model(token, past_key_values=cache, use_cache=True).logits[0, -1].argmax()

                seconds = time_runs(step, args.steps)
            name = f"transformers Qwen3ForCausalLM, 0.6B shape, bf16, {way}"
            report(name, seconds, args.threads, ["torch", "transformers"], context=context)


if __name__ == "__main__":
    main()

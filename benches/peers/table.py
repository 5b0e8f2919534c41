"""Times Gamut and its peers one after the other on one machine and writes the ratios.

    python table.py --gamut ../../target/release/gamut --work DIR --out ../results/NAME.json

DIR keeps what is made once: the song (by the ffmpeg command of README.md) and the checkpoints of ../configs.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parent / "configs"
GENERATED_TOKENS = 8


def run_json(*command: object) -> str:
    return subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def gamut_rows(gamut: Path, *args: object) -> dict[str, float]:
    """The median seconds of every row of `gamut bench`."""
    report = json.loads(run_json(gamut, "bench", *args, "-o", "json"))
    return {row["test"]: statistics.median(row["samples_ns"]) / 1e9 for row in report}


def peer_rows(script: str, *args: object) -> list[dict]:
    return [json.loads(line) for line in run_json(sys.executable, HERE / script, *args).splitlines()]


def fastest(rows: list[dict]) -> dict:
    return min(rows, key=lambda row: row["median_s"])


def checkpoint(gamut: Path, work: Path, name: str) -> Path:
    path = work / name
    if not (path / "config.json").exists():
        run_json(gamut, "demo-model", path, "--config", CONFIGS / f"{name}.json")
    return path


def measure(gamut: Path, work: Path, threads: int) -> list[dict]:
    """One row a comparison: ours, the fastest peer, and the ratio of their medians."""
    rows = []

    def compare(name: str, ours: float, peers: list[dict], target: float, **details) -> None:
        peer = fastest(peers)
        ratio = ours / peer["median_s"]
        rows.append({"name": name, "ours_s": ours, "peer": peer["name"], "peer_s": peer["median_s"],
                     "ratio": ratio, "target": target, "peers": peers, **details})
        print(f"{name}: {ours:.4f} s, {peer['name']} {peer['median_s']:.4f} s, "
              f"ratio {ratio:.2f} (target {target})", flush=True)

    song = work / "song.mp3"
    audio = {}
    for n in sorted({1, threads}):
        ours = gamut_rows(gamut, song, "-t", n, "-p", 0, "-n", 0, "-r", 5)
        audio[n] = ours["audio"] + ours["mel"]
    efficiency = audio[1] / audio[threads] / threads
    compare("300 s of MP3 at 320k to log-mel", audio[threads],
            [peer for peer in peer_rows("mp3_to_mel.py", song, "--threads", threads)
             if peer["name"].endswith("samples and mel")], 0.6,
            one_thread_s=audio[1], parallel_efficiency=efficiency)

    model = checkpoint(gamut, work, "large-v3-expert")
    ours = gamut_rows(gamut, "--model", model, "-t", threads, "-p", 0, "-n", 0, "-r", 3)
    compare("expert window, large-v3 shape", ours["temporal"],
            peer_rows("expert_window.py", "--threads", threads), 1.3)

    model = checkpoint(gamut, work, "qwen3-0.6b-decoder")
    peers = peer_rows("decode_step.py", "--threads", threads)
    for depth in (100, 1000):
        ours = gamut_rows(gamut, "--model", model, "-t", threads, "--no-stages", "-p", 0,
                          "-n", GENERATED_TOKENS, "-d", depth, "-r", 5)
        step = ours[f"tg{GENERATED_TOKENS} @ d{depth}"] / GENERATED_TOKENS
        compare(f"decode step, Qwen3-0.6B shape, bf16, context {depth}", step,
                [peer for peer in peers if peer["context"] == depth], 0.6)
    return rows


def machine(threads: int) -> dict:
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    flags = next((line for line in open("/proc/cpuinfo") if line.startswith("flags")), "")
    isa = "avx512" if " avx512f " in flags else "avx2" if " avx2 " in flags else "other"
    return {"cpu": cpu, "isa": isa, "cores": os.cpu_count(), "threads": threads, "kernel": platform.release()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gamut", type=Path, required=True, help="a release build")
    parser.add_argument("--work", type=Path, required=True, help="holds song.mp3 and the checkpoints")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    commit = run_json("git", "-C", HERE, "rev-parse", "--short", "HEAD").strip()
    rows = measure(args.gamut, args.work, args.threads)
    result = {"date": datetime.date.today().isoformat(), "commit": commit,
              "machine": machine(args.threads), "rows": rows}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

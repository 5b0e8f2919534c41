"""Times an audio file to Whisper's log-mel (128 bins, 30 s windows): asrfront, and ffmpeg with transformers' extractor.

    python mp3_to_mel.py SONG.mp3 [--threads 2] [--runs 9]
"""

import argparse
import subprocess

import asrfront
import numpy as np
from timing import report, time_runs, use_threads
from transformers import WhisperFeatureExtractor

SAMPLE_RATE = 16_000
WINDOW = 30 * SAMPLE_RATE
BINS = 128


def windows(samples: np.ndarray) -> list[np.ndarray]:
    return [samples[start : start + WINDOW] for start in range(0, len(samples), WINDOW)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("song")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    use_threads(args.threads)
    extractor = WhisperFeatureExtractor(feature_size=BINS)

    def asrfront_samples() -> np.ndarray:
        return asrfront.load(args.song)

    def asrfront_mel(samples: np.ndarray) -> np.ndarray:
        return asrfront.whisper.log_mel_batch(windows(samples), n_mels=BINS, n_threads=args.threads)

    def ffmpeg_samples() -> np.ndarray:
        command = ["ffmpeg", "-v", "error", "-threads", str(args.threads), "-i", args.song]
        command += ["-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "f32le", "-"]
        return np.frombuffer(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout, dtype=np.float32)

    def transformers_mel(samples: np.ndarray) -> np.ndarray:
        return extractor(windows(samples), sampling_rate=SAMPLE_RATE, return_tensors="np")["input_features"]

    ffmpeg_version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True).stdout.split()[2]
    samples = asrfront_samples()
    assert asrfront_mel(samples).shape == transformers_mel(samples).shape == (len(windows(samples)), BINS, 3000)

    of_asrfront, of_ffmpeg = {"packages": ["asrfront"]}, {"packages": [], "ffmpeg": ffmpeg_version}
    of_transformers = {"packages": ["transformers", "torch"]}
    of_both = of_ffmpeg | of_transformers
    for name, work, details in [
        ("asrfront: samples", asrfront_samples, of_asrfront),
        ("asrfront: mel", lambda: asrfront_mel(samples), of_asrfront),
        ("asrfront: samples and mel", lambda: asrfront_mel(asrfront_samples()), of_asrfront),
        ("ffmpeg: samples", ffmpeg_samples, of_ffmpeg),
        ("transformers: mel", lambda: transformers_mel(samples), of_transformers),
        ("ffmpeg + transformers: samples and mel", lambda: transformers_mel(ffmpeg_samples()), of_both),
    ]:
        seconds = time_runs(work, args.runs)
        report(name, seconds, args.threads, audio_seconds=round(len(samples) / SAMPLE_RATE, 2), **details)


if __name__ == "__main__":
    main()

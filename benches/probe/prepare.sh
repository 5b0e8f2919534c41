#!/bin/sh
# Makes target/probe (or $CARGO_TARGET_DIR/probe) on a machine without a GPU: the program and all
# kernels, which is all that a GPU machine needs. There: DIR/gamut-probe run DIR --out OUT
set -eu
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
cargo build --release --package gamut-probe
for version in 13.0.88 13.5.37; do
    wheel=$target/nvrtc/$version
    if [ ! -d "$wheel/nvidia" ]; then
        python3 -m pip install --quiet --no-deps --target "$wheel" "nvidia-cuda-nvrtc==$version"
    fi
    "$target/release/gamut-probe" compile \
        --nvrtc "$wheel/nvidia/cu13/lib/libnvrtc.so.13" --out "$target/probe"
done
cp "$target/release/gamut-probe" "$target/probe/gamut-probe"

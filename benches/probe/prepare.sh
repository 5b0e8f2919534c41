#!/bin/sh
# Makes target/probe (or $CARGO_TARGET_DIR/probe) on a machine without a GPU: the program and all
# kernels, which is all that a GPU machine needs. There: DIR/gamut-probe run DIR --out OUT
set -eu
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
cargo build --release --package gamut-probe
# The folders are those of the tests (tests/src/nvrtc.rs).
compile() {
    wheel=$target/$1
    shift
    if [ ! -d "$wheel/nvidia" ]; then
        python3 -m pip install --quiet --no-deps --target "$wheel" "$@"
    fi
    "$target/release/gamut-probe" compile \
        --nvrtc "$wheel/nvidia/cu13/lib/libnvrtc.so.13" --out "$target/probe"
}
compile nvrtc nvidia-cuda-nvrtc==13.5.37 nvidia-cuda-nvdisasm==13.5.37
compile nvrtc-13.0 nvidia-cuda-nvrtc==13.0.88
cp "$target/release/gamut-probe" "$target/probe/gamut-probe"

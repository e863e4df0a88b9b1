# Sourced by the other scripts: where things are. Downloads and compiler caches live under ~/.cache/longhand, unless the
# caller's environment already names a place for them.
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
LONGHAND_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/longhand"
export CCACHE_DIR="${CCACHE_DIR:-$LONGHAND_CACHE/ccache}"
export CCACHE_MAXSIZE="${CCACHE_MAXSIZE:-4G}"
if [ -z "${CARGO_HOME:-}" ] && [ ! -d "$HOME/.cargo" ]; then
  export CARGO_HOME="$LONGHAND_CACHE/cargo"
fi
# Crates are compiled once for all clones and presets; shim/CMakeLists.txt.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$LONGHAND_CACHE/crates}"
LONGHAND_TOOLS="$LONGHAND_CACHE/tools"  # a Python environment with tools/requirements.txt
LONGHAND_CUDA_WHEELS="$LONGHAND_CACHE/cuda"  # a CUDA toolkit from PyPI: scripts/setup --cuda
mkdir -p "$LONGHAND_CACHE" "$CCACHE_DIR"

# Where nvcc is on this machine; cmake/LonghandCuda.cmake takes the installed toolkit before that of the wheels.
system_nvcc() { PATH="${CUDA_HOME:+$CUDA_HOME/bin:}$PATH:/usr/local/cuda/bin" command -v nvcc; }
export CUDA_TOOLKIT_FALLBACK="$LONGHAND_CUDA_WHEELS/toolkit"

# The oldest cargo that builds shim/ (its Cargo.toml: rust-version).
cargo_needed() { sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$ROOT/shim/Cargo.toml"; }
cargo_is_new_enough() {
  local have
  have="$(cargo --version 2>/dev/null | cut -d' ' -f2)" || return 1
  [ -n "$have" ] && [ "$(printf '%s\n' "$(cargo_needed)" "$have" | sort -V | head -n1)" = "$(cargo_needed)" ]
}

say() { printf '\033[1m== %s\033[0m\n' "$*"; }

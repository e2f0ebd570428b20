#!/usr/bin/env bash
# Make .venv and install the project with its pinned dependencies: tools/setup.sh [EXTRA ...]
# A second run with the same pins and extras returns at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        if [[ -n $candidate ]] && "$candidate" -c \
            'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "error: expected Python >= 3.11 with venv, found none; install it or set PYTHON" >&2
    return 1
}

digest=$(cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
stamp=.venv/attune-setup-$digest # one line an installed extra
if [[ -e $stamp ]]; then
    missing=$(printf '%s\n' "$@" | grep -vxF -f "$stamp" || true)
    [[ -z $missing ]] && exit 0
fi
extras=$(printf '%s\n' "$@" | sort -u | paste -sd, -)
project=.${extras:+[$extras]}

# Other pins may have been installed since an older stamp was written.
find .venv -maxdepth 1 -name 'attune-setup-*' ! -path "$stamp" -delete 2>/dev/null || true
echo "setting up .venv (about 5 GB and a few minutes; only this once)" >&2
if command -v uv >/dev/null 2>&1; then
    [[ -x .venv/bin/python ]] || uv venv --quiet --python '>=3.11' .venv >&2
    VIRTUAL_ENV=$PWD/.venv uv pip install --quiet --constraints constraints.txt -e "$project" >&2
else
    # An interrupted set-up may have left an environment without pip.
    .venv/bin/python -m pip --version >/dev/null 2>&1 || "$(find_python)" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --constraint constraints.txt -e "$project" >&2
fi
printf '%s\n' "" "$@" >>"$stamp"

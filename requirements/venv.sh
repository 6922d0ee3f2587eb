#!/usr/bin/env bash
# Makes or refreshes .venv from a hash-locked file: `requirements/venv.sh run` or `... dev`.
# A stamp with the hash of the locks makes a second call cost nothing; `dev` includes `run`.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:-dev}
python=${PYTHON:-python3}
venv=.venv

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Tender needs Python 3.11 or newer; $python is $("$python" --version 2>&1). Set PYTHON=/path/to/python3.11" >&2
    exit 1
}

stamp_of() {
    { "$python" --version; cat pyproject.toml requirements/"$1".txt requirements/venv.sh; pwd; } | sha256sum | cut -d' ' -f1
}

if [ -f "$venv/.stamp-$kind" ] && [ "$(cat "$venv/.stamp-$kind")" = "$(stamp_of "$kind")" ]; then
    exit 0
fi
if [ "$kind" = run ] && [ -f $venv/.stamp-dev ] && [ "$(cat $venv/.stamp-dev)" = "$(stamp_of dev)" ]; then
    exit 0
fi

echo "installing Python packages into $venv ($kind)"
if ! [ -x $venv/bin/python ]; then
    "$python" -m venv $venv || {
        echo "no venv module: apt-get install -y python3-venv" >&2
        exit 1
    }
fi
pip() { $venv/bin/python -m pip --disable-pip-version-check --quiet "$@"; }
pip install --require-hashes --no-deps -r requirements/"$kind".txt
if [ "$kind" = dev ]; then
    for file in s3-server bacalhau-sdk; do
        pip install --require-hashes --no-deps --ignore-requires-python -r requirements/$file.txt
    done
fi
# A plain path file instead of an import hook: the small child processes start faster and stay smaller.
told=$(pip install --no-deps --no-build-isolation --config-settings editable_mode=compat -e . 2>&1) || {
    echo "$told" >&2
    exit 1
}
stamp_of "$kind" > "$venv/.stamp-$kind"

#!/usr/bin/env bash
# Make the virtual environment that the Makefile's targets run in. Safe to run again: a second run takes a second.
#
#   scripts/setup.sh VENV [EXTRAS]        e.g.  scripts/setup.sh .venv demo,view,dev
#
# PYTHON  interpreter that makes the environment (default python3)
# TORCH   a requirement to install before everything else, e.g. TORCH='torch==2.13.0'
# pip's own variables (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, ...) are left to the user.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=${1:?usage: scripts/setup.sh VENV [EXTRAS]}
extras=${2:-}
python=${PYTHON:-python3}
py=$venv/bin/python
stamp=$venv/.handmesh-setup      # "HASH,extra,extra": what this environment was last made from

fail() { echo "setup: $*" >&2; exit 2; }
may_install() { command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; }

apt_install() {
    echo "setup: installing system packages: $*"
    apt-get update -qq </dev/null >/dev/null 2>&1 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null 2>&1
}

check_interpreter() {
    command -v "$python" >/dev/null || fail "no $python here; install Python 3.10 to 3.13, or name one: make PYTHON=/path/to/python3"
    "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' ||
        fail "expected Python 3.10 to 3.13, got $("$python" -V); name another: make PYTHON=python3.12"
}

make_environment() {
    local package
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        { may_install && apt_install "$package"; } ||
            fail "$python cannot make virtual environments; next: sudo apt-get install -y $package"
    fi
    echo "setup: making $venv with $("$python" -V)"
    "$python" -m venv "$venv" || fail "could not make $venv; next: sudo apt-get install -y $package, then remove $venv and try again"
}

install_system_libraries() {
    local packages status=0
    packages=$("$py" handmesh/io/runtime/system_libraries.py) || status=$?
    case $status in
        0) return ;;
        3|4) ;;
        *) fail "handmesh/io/runtime/system_libraries.py failed" ;;
    esac
    # shellcheck disable=SC2086  # a list of package names
    if may_install && apt_install $packages; then return; fi
    echo "setup: system libraries are missing; next: sudo apt-get install -y $packages" >&2
    [ "$status" = 3 ] || exit 2      # 3: only a window or the 3D viewer is lost, the rest runs
}

wanted_hash() { cat pyproject.toml scripts/setup.sh | cksum | tr ' ' '-'; }

is_installed() {     # is_installed EXTRAS: made from this pyproject.toml, with these extras, and still importable
    [ -f "$stamp" ] || return 1
    local have
    have=$(cat "$stamp")
    [ "${have%%,*}" = "$(wanted_hash)" ] || return 1
    local extra
    for extra in ${1//,/ }; do [[ ",${have#*,}," == *",$extra,"* ]] || return 1; done
    (cd / && "$py" -I -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("handmesh") is None)')
}

install_package() {
    local kept=
    # Extras that were asked for before stay asked for.
    if [ -f "$stamp" ]; then kept=$(cut -d, -f2- -s "$stamp"); fi
    local all
    all=$(printf '%s\n' ${kept//,/ } ${extras//,/ } | sort -u | paste -sd, -)
    rm -f "$stamp"
    echo "setup: installing handmesh${all:+[$all]} into $venv (several GB with PyTorch, minutes on a first run)"
    if [ -n "${TORCH:-}" ]; then "$py" -m pip install --disable-pip-version-check -q "$TORCH" </dev/null; fi
    # setuptools warns at length of editable installs, in the middle of a quiet one.
    PYTHONWARNINGS=ignore "$py" -m pip install --disable-pip-version-check -q -e ".${all:+[$all]}" </dev/null ||
        fail "pip could not install the packages; its message is above"
    echo "$(wanted_hash),$all" > "$stamp.new"
    mv "$stamp.new" "$stamp"
}

if [ ! -x "$py" ]; then
    check_interpreter
    make_environment
fi
venv=$(cd "$venv" && pwd); py=$venv/bin/python; stamp=$venv/.handmesh-setup
install_system_libraries
is_installed "$extras" || install_package

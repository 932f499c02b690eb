# One set-up for tools/demo and tools/test; sourced, POSIX sh. A minimal Debian has no make, no git
# and no working venv. The caller sets `root` (the repository) and calls:
#
#   need_commands COMMAND:PACKAGE...   install the packages whose command is missing, by apt
#   make_venv NAME EXTRAS              .venv in the repository, with this package and EXTRAS
#
# Nothing is done twice: a stamp in .venv says what it holds, and pyproject.toml being newer undoes it.

# shellcheck shell=sh disable=SC2154,SC2329

PATH="$PATH:/usr/sbin:/sbin" # servers live there
export PATH
venv="$root/.venv"

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# Run a command whose output matters only when it fails.
quietly() {
    quiet_log=$(mktemp) || die "no room for a temporary file"
    quiet_status=0
    "$@" >"$quiet_log" 2>&1 || quiet_status=$?
    [ "$quiet_status" -eq 0 ] || tail -n 15 "$quiet_log" >&2
    rm -f "$quiet_log"
    return "$quiet_status"
}

# --- system packages ---------------------------------------------------------------------------

# Root, or sudo: with a password only where a person is there to type it.
can_be_root() {
    as_root=
    [ "$(id -u)" -eq 0 ] && return 0
    command -v sudo >/dev/null 2>&1 || return 1
    as_root='sudo -n'
    sudo -n true 2>/dev/null && return 0
    as_root='sudo'
    [ -t 0 ] && sudo -v -p 'Password, to install system packages: '
}

apt_install() {
    command -v apt-get >/dev/null 2>&1 && can_be_root || return 1
    say "installing system packages: $*"
    # shellcheck disable=SC2016,SC2086 # $@ is for the inner shell; $as_root is none or two words
    quietly $as_root env DEBIAN_FRONTEND=noninteractive sh -c '
        apt-get install -y --no-install-recommends "$@" ||
        { apt-get update && apt-get install -y --no-install-recommends "$@"; }' sh "$@"
}

# need_commands tshark:tshark npm:npm ... - one line for what stays missing; never fails.
need_commands() {
    packages=
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || packages="$packages ${pair#*:}"
    done
    [ -n "$packages" ] || return 0
    # shellcheck disable=SC2086 # a list of words
    apt_install $packages ||
        say "could not install$packages; what needs them is skipped (as root: apt install$packages)"
}

# --- Python ------------------------------------------------------------------------------------

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for python in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
        command -v "$python" >/dev/null 2>&1 && is_new_enough "$python" && return 0
    done
    return 1
}

# Debian takes ensurepip out of python3 and puts it into python3-venv.
has_ensurepip() { "$python" -c 'import venv, ensurepip; ensurepip.version()' >/dev/null 2>&1; }

# The wheel of pip that Debian's packages carry, unpacked without root into tools/.apt.
fetch_pip_wheel() {
    command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || return 1
    apt_dir="$root/tools/.apt"
    mkdir -p "$apt_dir/lists/partial" "$apt_dir/cache/archives/partial" || return 1
    (
        cd "$apt_dir" || exit 1
        apt-get download python3-pip-whl && exit 0
        apt-get -o Dir::State::lists="$apt_dir/lists" -o Dir::Cache="$apt_dir/cache" update &&
            apt-get -o Dir::State::lists="$apt_dir/lists" -o Dir::Cache="$apt_dir/cache" \
                download python3-pip-whl
    ) >/dev/null 2>&1 || return 1
    for deb in "$apt_dir"/python3-pip-whl_*.deb; do
        dpkg-deb -x "$deb" "$apt_dir/root" || return 1
    done
    for pip_wheel in "$apt_dir"/root/usr/share/python-wheels/pip-*.whl; do
        [ -f "$pip_wheel" ] && return 0
    done
    return 1
}

# An empty .venv, and `install ARGS...` that installs into it. The first way that works.
empty_venv() {
    if command -v uv >/dev/null 2>&1 && quietly uv venv --quiet --python "$python" "$venv"; then
        install() { uv pip install --quiet --python "$venv/bin/python" "$@"; }
        return 0
    fi
    install() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
    has_ensurepip || apt_install python3-venv || true
    if has_ensurepip; then
        quietly "$python" -m venv "$venv"
        return
    fi
    # No ensurepip and no root. venv itself is in Debian's smallest python3; pip can stand outside.
    rm -rf "$venv"
    quietly "$python" -m venv --without-pip "$venv" || return 1
    if "$python" -m pip --version >/dev/null 2>&1; then
        install() { "$python" -m pip --python "$venv/bin/python" install --quiet "$@"; }
    elif fetch_pip_wheel; then
        install() { PYTHONPATH="$pip_wheel" "$venv/bin/python" -m pip install --quiet "$@"; }
    else
        return 1
    fi
}

# make_venv NAME EXTRAS: NAME is demo or test; test holds all that demo does.
make_venv() {
    if is_ready "$1" || is_ready test; then return 0; fi
    find_python || { apt_install python3 python3-venv && find_python; } ||
        die "Python 3.11 or newer is needed (Debian 12 and Raspberry Pi OS have it: apt install python3 python3-venv)"
    say "setting up .venv with $("$python" --version)"
    rm -rf "$venv"
    empty_venv || die "cannot make a virtual environment: as root, apt install python3-venv; then run this again"
    quietly install --editable "${root}[$2]" ||
        die "cannot install the Python packages that pyproject.toml names: is there a network?"
    printf '%s\n' "$root" >"$venv/.smets1-$1"
}

# A moved or copied repository takes its .venv along, and that one points to the old place.
is_ready() {
    stamp="$venv/.smets1-$1"
    [ -f "$stamp" ] && [ -z "$(find "$root/pyproject.toml" -newer "$stamp")" ] &&
        [ "$(cat "$stamp")" = "$root" ] && "$venv/bin/python" -c '' >/dev/null 2>&1
}

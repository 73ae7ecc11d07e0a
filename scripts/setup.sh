#!/bin/sh
# Everything the program needs on this machine, and nothing that is already there:
# system packages (Debian, only what is missing), a .venv, and the pinned Python packages.
#   scripts/setup.sh          what `make demo` needs
#   scripts/setup.sh test     what `make test` needs: a browser, fonts, GDAL and the test tools as well
set -eu
cd "$(dirname "$0")/.."
goal=${1:-run}

say() { printf '%s\n' "$*" >&2; }
stop() { say "setup: $*"; exit 1; }

find_python() {
    for candidate in "${PYTHON:-}" python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        printf '%s' "$candidate"; return
    done
}
has_venv() { [ -n "$(find_python)" ] && "$(find_python)" -c 'import ensurepip, venv' 2>/dev/null; }
has_postgis() {
    for control in /usr/share/postgresql/*/extension/postgis.control \
                   "$(pg_config --sharedir 2>/dev/null)/extension/postgis.control"; do
        [ -f "$control" ] && return
    done
    return 1
}
has_broker() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v mosquitto >/dev/null 2>&1; }
has_browser() { command -v chromium >/dev/null 2>&1; }
has_gdal() { command -v ogrinfo >/dev/null 2>&1; }
has_curl() { command -v curl >/dev/null 2>&1; }
has_fonts() { fc-list ':lang=vi' family 2>/dev/null | grep -q .; }

missing=""
[ -n "$(find_python)" ] || missing="$missing python3"
has_venv || missing="$missing python3-venv"
[ -n "${TWIN_DATABASE_URL:-}" ] || has_postgis || missing="$missing postgresql postgresql-postgis"
if [ "$goal" = test ]; then
    has_browser || missing="$missing chromium"
    has_broker || missing="$missing mosquitto"
    has_gdal || missing="$missing gdal-bin"
    has_curl || missing="$missing curl"
    has_fonts || missing="$missing fontconfig fonts-noto-core"
    has_postgis || case "$missing" in *postgis*) ;; *) missing="$missing postgresql postgresql-postgis" ;; esac
fi

if [ -n "$missing" ]; then
    command -v apt-get >/dev/null 2>&1 || stop "please install the equivalents of these Debian packages, then run this again:$missing"
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || stop "these system packages are missing, and you are neither root nor have sudo. Ask an administrator to run: apt-get install$missing"
        as_root="sudo"
    fi
    say "Installing system packages:$missing"
    $as_root apt-get update -qq || say "setup: the package lists could not be refreshed; trying with the present ones"
    # shellcheck disable=SC2086  # a list of package names
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2 \
        || stop "apt-get could not install:$missing"
fi

# The broker that devices connect to. Everything else runs without it, so nothing stops where it cannot be installed.
if ! has_broker; then
    as_root=""
    [ "$(id -u)" -eq 0 ] || as_root="sudo -n"
    say "Installing the MQTT broker (mosquitto)"
    command -v apt-get >/dev/null 2>&1 \
        && { $as_root apt-get update -qq || true; } >/dev/null 2>&1 \
        && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mosquitto >/dev/null 2>&1 \
        || say "setup: mosquitto could not be installed; devices can connect by HTTP only (Debian: apt-get install mosquitto)"
fi

python=$(find_python)
[ -n "$python" ] || stop "Python 3.11 or newer is needed; set PYTHON to its path."
# A virtual environment holds absolute paths: one that was moved along with its folder is made anew.
if ! .venv/bin/python -c 'import sys, pathlib; sys.exit(pathlib.Path(sys.prefix).resolve() != pathlib.Path(".venv").resolve())' 2>/dev/null; then
    say "Making a virtual environment in .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv || stop "the virtual environment could not be made in .venv; see the message above."
fi

# The tools that check the page's JavaScript. They are not needed elsewhere: where node is missing they are left out.
if [ "$goal" = test ]; then
    locked=$(cat package.json package-lock.json .npmrc | cksum)
    if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
        say "setup: node or npm is missing, so the page's JavaScript is not checked (Debian: apt-get install nodejs npm)"
    elif [ "$(cat node_modules/.installed 2>/dev/null)" != "$locked" ]; then
        say "Installing the tools that check JavaScript into node_modules (40 MB)"
        npm ci --silent >&2 || stop "the tools that check JavaScript could not be installed; run npm ci to see why."
        printf '%s' "$locked" >node_modules/.installed
    fi
fi

extra=""; [ "$goal" = test ] && extra="[test]"
wanted="$(cat pyproject.toml constraints.txt | cksum) $(pwd -P)"
for done_for in test "$goal"; do
    [ "$(cat ".venv/.installed-$done_for" 2>/dev/null)" = "$wanted" ] && exit 0
done
say "Installing Python packages into .venv (about 150 MB the first time; one to three minutes)"
log=.venv/install.log
count=0
.venv/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable ".$extra" >"$log" 2>&1 &
pip=$!
trap 'kill $pip 2>/dev/null; exit 130' INT TERM
while kill -0 $pip 2>/dev/null; do
    count=$(grep -c '^Collecting\|^  Getting' "$log" 2>/dev/null || true)
    [ -t 2 ] && printf '\r  %s packages found, %s' "$count" "$(grep -q '^Installing collected' "$log" && echo 'unpacking …   ' || echo 'downloading …')" >&2
    sleep 1
done
[ -t 2 ] && printf '\r%60s\r' '' >&2
if ! wait $pip; then
    tail -n 15 "$log" >&2
    stop "Python packages could not be installed; the lines above say why, and the whole log is in $log."
fi
printf '%s' "$wanted" >".venv/.installed-$goal"

#!/usr/bin/env bash
# Runs the server against clients that are not ours: npm's `ws` and `eventsource`, Python's `websockets`, Chromium,
# node's HTTP clients and curl; of Pusher `pusher-js`, `pusher` of npm and of PyPI, `laravel-echo`, `pysher` and
# `asyncpusher`.
#
#   tests/clients/run.sh                     all suites
#   tests/clients/run.sh ws                  one; all are in SUITES
#   tests/clients/run.sh --tls [ws]          over TLS, those in TLS_SUITES
#   tests/clients/run.sh --install           none, but what they need is installed
#   SCREENSHOTS=FOLDER tests/clients/run.sh  pictures of the pages are left there
#
# Two suites run side by side, since each waits most of its time. Prints what node's and Python's test runners print, of each
# suite when it has ended. Exits 0 if every test of every suite passed.
#
# Needs cargo and Python 3 with venv. Installs curl, node, npm and Chromium from Debian where they are missing (as
# root), the npm packages of tests/package.json into tests/node_modules, and those of requirements.txt into
# tests/.venv-clients. Loopback only, on free ports. CARGO_TARGET_DIR is honoured.
set -euo pipefail
shopt -s nullglob

readonly INSTALL_SECONDS_MAX=300
# The longest first: they decide how long all take.
readonly SUITES=(
  nodes fanfare_js fanfare_connect pages pusher_web access cross_origin eventsource chromium
  ws websockets fanfare_rules types token_page wss readme
  pusher_js pusher_connection pusher_http pusher_roads laravel_echo pusher pusher_clients
)
readonly TLS_SUITES=(fanfare_js fanfare_connect pages pusher_web eventsource chromium ws websockets pusher_js laravel_echo)
readonly PYTHON_SUITES=(websockets pusher pusher_clients)
readonly SUITE_SECONDS_MAX=600 # the longest takes 200 s on 2 cores
readonly SUITES_AT_ONCE=2

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
venv="$root/tests/.venv-clients"
export FANFARE="${CARGO_TARGET_DIR:-$root/target}/release/fanfare"
export CHROMIUM="${CHROMIUM:-/usr/bin/chromium}"

work="$(mktemp -d)"
logs="$work/logs"
mkdir "$logs"
trap 'rm -rf "$work"' EXIT

source "$root/tests/debian.sh"
source "$root/tests/authority.sh"

fail() {
  echo "clients: $*" >&2
  exit 1
}

install_debian_packages() {
  local missing=()
  command -v curl >/dev/null || missing+=(curl ca-certificates)
  command -v node >/dev/null || missing+=(nodejs)
  command -v npm >/dev/null || missing+=(npm)
  [[ -x "$CHROMIUM" ]] || missing+=(chromium)
  command -v openssl >/dev/null || missing+=(openssl)
  command -v certutil >/dev/null || missing+=(libnss3-tools)
  command -v redis-server >/dev/null || missing+=(redis-server)
  install_debian clients "${missing[@]}"
}

# No lock file: it would record where the packages were downloaded from.
install_npm_packages() {
  if cmp -s "$root/tests/package.json" "$root/tests/node_modules/installed.json"; then
    return
  fi
  echo "clients: installing the npm packages"
  timeout "$INSTALL_SECONDS_MAX" \
    npm install --prefix "$root/tests" --no-package-lock --no-audit --no-fund --loglevel error
  cp "$root/tests/package.json" "$root/tests/node_modules/installed.json"
}

install_python_packages() {
  local wanted="$root/tests/clients/requirements.txt"
  if cmp -s "$wanted" "$venv/installed.txt"; then
    return
  fi
  echo "clients: installing the Python packages"
  rm -rf "$venv"
  python3 -m venv "$venv"
  timeout "$INSTALL_SECONDS_MAX" "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
  cp "$wanted" "$venv/installed.txt"
}

# Runs a suite's command, and prints what it said; leaves a file in `logs` if it failed.
suite() {
  local name="$1" status=0
  shift
  (cd "$root/tests/clients" && timeout --kill-after=10 "$SUITE_SECONDS_MAX" "$@" </dev/null >"$logs/$name" 2>&1) || status=$?
  printf 'clients: %s\n%s\n' "$name" "$(<"$logs/$name")"
  if ((status != 0)); then
    echo "clients: the suite $name ended with status $status (124: not done in $SUITE_SECONDS_MAX s)" >&2
    touch "$logs/$name.failed"
  fi
}

run_suite() {
  if [[ " ${PYTHON_SUITES[*]} " == *" $1 "* ]]; then
    # Warnings are those of the packages about each other, and of sockets that they leave to the collector.
    suite "$1" env PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" -W ignore -m unittest -v "test_$1"
  else
    suite "$1" node --test --test-reporter=spec "$1.test.mjs"
  fi
}

# Every suite that is run after this talks TLS, with a certificate of an authority that its clients trust.
talk_tls() {
  FANFARE_TLS="$work/tls"
  mkdir "$FANFARE_TLS"
  make_authority "$FANFARE_TLS"
  trust_authority "$FANFARE_TLS"
  export FANFARE_TLS
}

main() {
  local name failed tls=""
  if [[ "${1:-}" == --tls ]]; then
    tls=", over TLS"
    shift
    (($# > 0)) || set -- "${TLS_SUITES[@]}"
  fi
  (($# > 0)) || set -- "${SUITES[@]}"
  for name in "$@"; do
    [[ " ${SUITES[*]} --install " == *" $name "* ]] || fail "no suite is called $name; there are ${SUITES[*]}"
  done
  install_debian_packages
  install_npm_packages
  install_python_packages
  [[ "$1" != --install ]] || return 0
  (cd "$root" && cargo build --release --quiet)
  [[ -z "$tls" ]] || talk_tls
  for name in "$@"; do
    while (($(jobs -rp | wc -l) >= SUITES_AT_ONCE)); do
      wait -n
    done
    run_suite "$name" &
  done
  wait
  failed=("$logs"/*.failed)
  ((${#failed[@]} == 0)) || fail "$(basename -s .failed -a "${failed[@]}" | paste -sd " ") failed"
  echo "clients: every suite passed$tls: $*"
}

main "$@"

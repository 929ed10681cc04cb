#!/usr/bin/env bash
# Scrapes a server that has seen some traffic and has promtool check what it says: format, names, types and help.
#
#   tests/promtool.sh
#
# Prints what promtool complains of. Exits 0 if it complains of nothing.
#
# Needs cargo. Installs curl and promtool (of the package prometheus) from Debian where they are missing, as root; no
# service is started for it. Loopback only, on free ports. CARGO_TARGET_DIR is honoured.
set -euo pipefail

readonly READY_SECONDS_MAX=10
readonly REQUEST_SECONDS_MAX=10
readonly SERVER_SECONDS_MAX=60 # it is asked for seconds of work

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
binary="${CARGO_TARGET_DIR:-$root/target}/release/fanfare"
work="$(mktemp -d)"
server_pid=""

clean_up() {
  if [[ -n "$server_pid" ]]; then
    kill -TERM "$server_pid" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap clean_up EXIT

source "$root/tests/debian.sh"

fail() {
  echo "promtool: $*" >&2
  exit 1
}

install_debian_packages() {
  local missing=()
  command -v curl >/dev/null || missing+=(curl ca-certificates)
  command -v promtool >/dev/null || missing+=(prometheus)
  # In run level 1 the package does not start what it brings: only the tool is wanted.
  RUNLEVEL=1 install_debian promtool "${missing[@]}"
}

# Starts the server and sets `address` and `metrics`. Descriptor 3 stays open: it is where the server's output goes.
start_server() {
  local line
  mkfifo "$work/stdout"
  timeout --foreground --kill-after=10 "$SERVER_SECONDS_MAX" \
    "$binary" --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 --drain 0s >"$work/stdout" 2>"$work/stderr" &
  server_pid=$!
  exec 3<"$work/stdout"
  read -r -t "$READY_SECONDS_MAX" line <&3 && [[ "$line" == "listening on http://"* ]] || not_ready
  address="${line#listening on }"
  read -r -t "$READY_SECONDS_MAX" line <&3 && [[ "$line" == "metrics on http://"* ]] || not_ready
  metrics="${line#metrics on }"
}

not_ready() {
  cat "$work/stderr" >&2
  fail "the server did not say where it listens"
}

stop_server() {
  local status=0
  kill -TERM "$server_pid"
  wait "$server_pid" || status=$?
  server_pid=""
  ((status == 0)) || fail "the server ended with status $status: $(cat "$work/stderr")"
}

get() {
  curl -sS --max-time "$REQUEST_SECONDS_MAX" "$@"
}

# Publications, refusals of several kinds, a subscriber: every family has something to tell.
make_traffic() {
  get -o "$work/body" -d hello "$address/channels/news"
  get -o "$work/body" "$address/nowhere"
  get -o "$work/body" -X DELETE "$address/channels/news"
  get -o "$work/body" "$address/channels/@fanfare.dashboard"
}

check() {
  local from="$1" status=0
  get --fail -o "$work/scrape" "$from"
  grep -q '^fanfare_publishes_total 1$' "$work/scrape" || fail "the publication is not counted at $from"
  # It prints its complaints, and exits with 3 if they are of style alone.
  promtool check metrics <"$work/scrape" >"$work/complaints" 2>&1 || status=$?
  if ((status != 0)) || [[ -s "$work/complaints" ]]; then
    cat "$work/complaints" >&2
    fail "promtool complains of $from (status $status)"
  fi
}

main() {
  install_debian_packages
  (cd "$root" && cargo build --release --quiet)
  start_server
  make_traffic
  check "$address/metrics"
  check "$metrics"
  stop_server
  echo "promtool: no complaint of $(grep -vc '^#' "$work/scrape") samples"
}

main "$@"

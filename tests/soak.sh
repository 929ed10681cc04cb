#!/usr/bin/env bash
# Runs the server under everything at once and fails if a message is lost or anything leaks.
#
#   tests/soak.sh                three minutes
#   tests/soak.sh --minutes N    as long as you like; hours are fine
#   tests/soak.sh --tls …        all of it over TLS
#   tests/soak.sh --nodes 3 …    several nodes of one Redis, which is killed, stopped and cut off: see below
#   tests/soak.sh --nodes 3 --sentinel …   the same with a replica, which a Sentinel promotes when the master is killed
#   FANFARE=FILE tests/soak.sh   that binary, not a fresh build
#
# Tickers, subscribers in every form, chat, clients that come and go, paused and paced ones under each lag policy, hostile
# ones, floods of publications, big messages and idle connections; Pusher clients, members of a presence channel, client
# events and signed requests; clients of many channels, tokens good, expired, forged and revoked, and a backend that fails:
# tests/soak/soak.mjs has the list. All the while the server's standard error is a full pipe that nobody reads. Prints a line a minute and then the counts.
#
# Exits 0 if nothing was lost, doubled, reordered or altered, every member that came was added once and removed once,
# nobody was refused or closed without a reason, every offence was answered as it has to be, resident memory did not grow
# (median of the last quarter against the second: at most 10 %, or 4 MiB, or 8 MiB in the first ten minutes, while
# histories are filled), every descriptor came back, and the server stopped on SIGTERM with status 0.
#
# With --nodes, so many servers share a Redis that this starts. Publishers try again at the next node under the same key, readers
# stay at a node or go from one to the next with their place, and Pusher clients hear signed requests and the members of a presence
# channel, who change nodes; Redis cuts its clients off, stops for 2 s, forgets the script or a
# channel, is killed and comes back empty after 1 s and after 8 s, and a node stops for 2 s: tests/soak/nodes.mjs. Exits 0 if
# every reader heard every publication once and in order, or was told what is missing (Pusher clients cannot be: they may miss what
# Redis has forgotten), every member was added once and removed once, no identifier had two payloads on any
# nodes, nothing was refused while Redis was well, and all nodes stopped on SIGTERM with status 0.
#
# Needs Linux (/proc) and what tests/clients/run.sh needs, which it installs. Loopback only, on a free port. Takes
# a half a core. CARGO_TARGET_DIR is honoured.
set -euo pipefail

readonly READY_SECONDS_MAX=10
readonly STOP_SECONDS_MAX=15
readonly PIPE_BYTES=65536 # what a pipe of Linux holds
readonly SETTLE_SECONDS_MAX=300 # setting up, and waiting for the end of everything: 10 s when all is well

tls=""
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
binary="${FANFARE:-}"
work="$(mktemp -d)"
source "$root/tests/authority.sh"
source "$root/tests/debian.sh"
server_pid=""
reader_pid=""
backend_pid=""
node_pids=()

cleanup() {
  if [[ -n "$backend_pid" ]]; then
    kill "$backend_pid" 2>/dev/null || true
  fi
  if [[ -n "$reader_pid" ]]; then
    kill "$reader_pid" 2>/dev/null || true
  fi
  if [[ -n "$server_pid" ]]; then
    kill -KILL "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
  fi
  if ((${#node_pids[@]} > 0)); then
    kill -CONT "${node_pids[@]}" 2>/dev/null || true
    kill -KILL "${node_pids[@]}" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

fail() {
  echo "soak: $*" >&2
  exit 1
}

# Asked by the server who may read some channels; well at first, and out of order again and again.
start_backend() {
  mkfifo "$work/port"
  node "$root/tests/soak/backend.mjs" >"$work/port" &
  backend_pid=$!
  read -r -t "$READY_SECONDS_MAX" backend_port <"$work/port" || fail "the backend did not say its port"
}

# The secrets are those of tests/soak/proofs.mjs.
write_secrets() {
  printf '%s' 'a secret of the soak: 32 bytes and more' >"$work/token.key"
  printf '[[app]]\nid = 1\nkey = "app-key"\nsecret = "app-secret"\nclient-events = true\n' >"$work/fanfare.toml"
}

# Short times, so that pings, timeouts and lag happen many times a minute. Not in development mode: what may be published
# without a key is said, and a flood of publications is not slowed down.
start_server() {
  local flags=(--listen 127.0.0.1:0 --threads 2 --max-message 1MiB --max-lag 512KiB --lag-grace 200ms)
  flags+=(--lag-policy 'slow-skip=skip' --lag-policy 'slow-latest=latest' --history 'tick-*=2000')
  flags+=(--idle-timeout 5s --pong-timeout 25s --handshake-timeout 5s --body-timeout 8s --close-timeout 20s --drain 1s)
  flags+=(--config "$work/fanfare.toml" --publish-key the-key-of-the-soak --client-messages 1000000/s)
  flags+=(--client-publish chat --client-publish hostile --client-publish flooded --client-publish said-by-many)
  flags+=(--token-key "$work/token.key" --auth 'locked-*=token' --auth 'asked-*=hook' --auth '*=open')
  flags+=(--auth-url "http://127.0.0.1:$backend_port/" --auth-timeout 1s --auth-grace 1m)
  if [[ -n "$tls" ]]; then
    flags+=(--tls-listen 127.0.0.1:0 --tls-cert "$work/server.pem" --tls-key "$work/server.key")
  fi
  mkfifo "$work/stdout" "$work/log"
  exec {log}<>"$work/log" # both ends, so that it is not closed and no open of it waits
  head -c "$PIPE_BYTES" /dev/zero >&"$log"
  "$binary" "${flags[@]}" >"$work/stdout" 2>"$work/log" &
  server_pid=$!
  exec {said}<"$work/stdout"
  for scheme in http ${tls:+https}; do
    if ! read -r -t "$READY_SECONDS_MAX" -u "$said" line || [[ "$line" != "listening on $scheme://"* ]]; then
      read_log
      cat "$work/stderr" >&2
      fail "the server did not say where it listens"
    fi
    address="${line#listening on "$scheme"://}"
  done
}

# From here on standard error is read, after the zeros that filled it.
read_log() {
  stdbuf -o0 tr -d '\000' <&"$log" >"$work/stderr" &
  reader_pid=$!
}

stop_server() {
  local status=0 watchdog
  read_log
  sleep 2 # what waited for a reader is read, and there is room for the last lines
  kill -0 "$server_pid" 2>/dev/null || fail "the server did not survive: $(tail -n 20 "$work/stderr")"
  (sleep "$STOP_SECONDS_MAX" && kill -KILL "$server_pid") 2>/dev/null &
  watchdog=$!
  kill -TERM "$server_pid"
  wait "$server_pid" || status=$?
  kill "$watchdog" 2>/dev/null || true
  server_pid=""
  sleep 1 # the reader's last lines; both ends of the pipe are this script's, so it has no end
  kill "$reader_pid" 2>/dev/null || true
  if ((status != 0)) || grep -q panicked "$work/stderr"; then
    tail -n 20 "$work/stderr" >&2
    fail "the server ended with status $status after SIGTERM"
  fi
  grep -q "stopped" "$work/stderr" || fail "the log lines did not come once they were read: $(cat "$work/stderr")"
  echo "soak: the server stopped with status 0"
}

# Ports of the address that Redis has for itself, with commas; they are listened on when the nodes run already.
free_redis_ports() {
  node -e '
    const servers = Array.from({ length: process.argv[1] }, () => require("node:net").createServer().listen(0, "127.0.0.2"));
    setImmediate(() => {
      console.log(servers.map((server) => server.address().port).join());
      servers.forEach((server) => server.close());
    })' "$1"
}

# Starts a node, and adds its address and process to `nodes`.
start_node() {
  local name="node-$1" line
  local flags=(--listen 127.0.0.1:0 --threads 1 --publish-key the-key-of-the-soak --client-publish 'nodes-*' --client-publish hostile --auth '*=open')
  flags+=(--config "$work/fanfare.toml" --redis "redis://127.0.0.2:${redis_ports%%,*}" --redis-timeout 5s)
  flags+=(--history 'nodes-*=2000' --history-bytes 4MiB --client-messages 1000000/s)
  flags+=(--idle-timeout 5s --pong-timeout 25s --handshake-timeout 10s --body-timeout 10s --close-timeout 20s --drain 1s)
  mkfifo "$work/$name"
  "$binary" "${flags[@]}" >"$work/$name" 2>"$work/$name.log" &
  node_pids+=("$!")
  exec {said}<"$work/$name"
  if ! read -r -t "$READY_SECONDS_MAX" -u "$said" line || [[ "$line" != "listening on http://"* ]]; then
    cat "$work/$name.log" >&2
    fail "node $1 did not say where it listens"
  fi
  nodes+=("${line#listening on http://}" "$!")
}

stop_nodes() {
  local at status tick
  kill -TERM "${node_pids[@]}" 2>/dev/null || true
  for at in "${!node_pids[@]}"; do
    status=0
    for ((tick = 0; tick < STOP_SECONDS_MAX * 10; tick++)); do
      kill -0 "${node_pids[at]}" 2>/dev/null || break
      sleep 0.1
    done
    if ((tick == STOP_SECONDS_MAX * 10)); then
      kill -KILL "${node_pids[at]}" 2>/dev/null || true
    fi
    wait "${node_pids[at]}" || status=$?
    if ((status != 0)) || grep -q panicked "$work/node-$at.log"; then
      tail -n 20 "$work/node-$at.log" >&2
      fail "node $at ended with status $status after SIGTERM"
    fi
  done
  node_pids=()
  echo "soak: all nodes stopped with status 0"
}

soak_nodes() {
  local count="$1" minutes="$2" servers="$3" status=0 nodes=() redis_ports said at missing=()
  command -v redis-server >/dev/null || missing+=(redis-server)
  ((servers == 1)) || command -v redis-sentinel >/dev/null || missing+=(redis-sentinel)
  install_debian soak "${missing[@]}"
  redis_ports="$(free_redis_ports "$servers")"
  write_secrets
  for ((at = 0; at < count; at++)); do
    start_node "$at"
  done
  timeout --kill-after=10 "$((minutes * 60 + SETTLE_SECONDS_MAX))" \
    node "$root/tests/soak/nodes.mjs" "$redis_ports" "$minutes" "${nodes[@]}" || status=$?
  if ((status != 0)); then
    tail -n 20 "$work"/node-*.log >&2
  fi
  stop_nodes
  ((status == 0)) || fail "failed with status $status (124: not done in time)"
  echo "soak: passed"
}

main() {
  local minutes=3 count="" servers=1 status=0 line said scheme address backend_port
  if [[ "${1:-}" == --tls ]]; then
    tls=yes
    shift
  elif [[ "${1:-}" == --nodes && "${2:-}" =~ ^[2-9]$ ]]; then
    count="$2"
    shift 2
    if [[ "${1:-}" == --sentinel ]]; then
      servers=3 # itself, a master and a replica
      shift
    fi
  fi
  if (($# == 2)) && [[ "$1" == --minutes && "$2" =~ ^[1-9][0-9]{0,4}$ ]]; then
    minutes="$2"
  elif (($# > 0)); then
    fail "usage: tests/soak.sh [--tls | --nodes 2…9 [--sentinel]] [--minutes N]"
  fi
  "$root/tests/clients/run.sh" --install
  if [[ -z "$binary" ]]; then
    (cd "$root" && cargo build --release --quiet)
    binary="${CARGO_TARGET_DIR:-$root/target}/release/fanfare"
  fi
  if [[ -n "$count" ]]; then
    soak_nodes "$count" "$minutes" "$servers"
    return
  fi
  if [[ -n "$tls" ]]; then
    make_authority "$work"
    export FANFARE_TLS="$work" NODE_EXTRA_CA_CERTS="$work/authority.pem"
  fi
  start_backend
  write_secrets
  start_server
  timeout --kill-after=10 "$((minutes * 60 + SETTLE_SECONDS_MAX))" \
    node "$root/tests/soak/soak.mjs" "$address" "$server_pid" "$minutes" "$backend_port" || status=$?
  stop_server
  ((status == 0)) || fail "failed with status $status (124: not done in time)"
  echo "soak: passed"
}

main "$@"

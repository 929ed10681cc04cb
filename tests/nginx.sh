#!/usr/bin/env bash
# Runs the server behind nginx, configured as the README says, against clients that are not ours.
#
#   tests/nginx.sh          all tests
#   tests/nginx.sh PATTERN  those whose names match
#
# Prints what node's test runner prints. Exits 0 if every test passed. One test waits for 66 s, since nginx gives up
# on what is silent for 60; the others wait for nothing.
#
# Needs cargo. Installs nginx and openssl from Debian where they are missing (as root), and what
# tests/clients/run.sh --install does. Loopback only, on free ports. CARGO_TARGET_DIR is honoured.
set -euo pipefail

readonly SUITE_SECONDS_MAX=180 # 80 s on 2 cores
readonly STOP_SECONDS_MAX=10
readonly SERVICE_PID_FILE=/run/nginx.pid # Debian's own nginx

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
export FANFARE="${CARGO_TARGET_DIR:-$root/target}/release/fanfare"

source "$root/tests/debian.sh"

fail() {
  echo "nginx: $*" >&2
  exit 1
}

# Debian starts what it installs, where that is not forbidden; nobody asked for an nginx on port 80.
stop_installed_service() {
  local pid
  [[ -s "$SERVICE_PID_FILE" ]] || return 0
  pid="$(<"$SERVICE_PID_FILE")"
  echo "nginx: stopping the service that Debian started, process $pid"
  kill -QUIT "$pid" 2>/dev/null || return 0
  timeout "$STOP_SECONDS_MAX" tail --pid="$pid" -f /dev/null || fail "process $pid did not stop"
}

install_debian_packages() {
  local missing=() is_new=""
  if [[ -z "$(nginx_path)" ]]; then
    missing+=(nginx)
    is_new=yes
  fi
  command -v openssl >/dev/null || missing+=(openssl)
  install_debian nginx "${missing[@]}"
  if [[ -n "$is_new" ]]; then
    stop_installed_service
  fi
}

# Debian has it in /usr/sbin, which is not in everybody's PATH.
nginx_path() {
  PATH="$PATH:/usr/sbin" command -v nginx || true
}

# One that is its own authority, for the address of loopback.
make_certificate() {
  export CERTIFICATE="$work/certificate.pem" CERTIFICATE_KEY="$work/certificate.key"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 \
    -addext subjectAltName=IP:127.0.0.1 -out "$CERTIFICATE" -keyout "$CERTIFICATE_KEY" 2>"$work/openssl.log" ||
    fail "no certificate: $(<"$work/openssl.log")"
  export NODE_EXTRA_CA_CERTS="$CERTIFICATE"
}

run_tests() {
  local status=0 words=(--test --test-reporter=spec)
  (($# == 0)) || words+=(--test-name-pattern "$1")
  (cd "$root/tests/clients" && timeout --kill-after=10 "$SUITE_SECONDS_MAX" node "${words[@]}" nginx.test.mjs) \
    </dev/null || status=$?
  ((status == 0)) || fail "the tests ended with status $status (124: not done in $SUITE_SECONDS_MAX s)"
}

main() {
  "$root/tests/clients/run.sh" --install
  install_debian_packages
  # Not NGINX: that variable is nginx's own, for sockets that it inherits.
  NGINX_PATH="$(nginx_path)"
  export NGINX_PATH
  make_certificate
  (cd "$root" && cargo build --release --quiet)
  run_tests "$@"
  echo "nginx: every test passed"
}

main "$@"

#!/usr/bin/env bash
# Runs the Autobahn|Testsuite's fuzzing client against the server's /echo.
#
#   tests/autobahn.sh            sections 1 to 7, 9 and 10: all of RFC 6455
#   tests/autobahn.sh --all      sections 12 and 13 (compression) as well
#   tests/autobahn.sh 6.* 9.3.1  these cases
#   tests/autobahn.sh --tls …    over TLS
#
# Prints a count of the cases by behaviour and by how the connection closed, the informational cases, and every
# case that is not OK. Exits 0 if every case is OK, but for three that are informational by definition (7.1.6,
# 7.13.1, 7.13.2), if as many cases ran as the suite has, and if the server then stops on SIGTERM with status 0.
#
# Needs cargo, Python 3 with venv, and a Python 2.7 (in PATH, or installed by pyenv). The suite is installed from
# PyPI into tests/.venv-autobahn, once. Loopback only, on a free port. CARGO_TARGET_DIR is honoured; the suite's
# own report stays in its autobahn/ folder.
set -euo pipefail

readonly SUITE="autobahntestsuite==25.10.1"
readonly RFC6455_SECTIONS=('1.*' '2.*' '3.*' '4.*' '5.*' '6.*' '7.*' '9.*' '10.*')
readonly RFC6455_CASES=301 # so many has $SUITE in those sections
readonly ALL_CASES=517     # and so many with 12 and 13
readonly INSTALL_SECONDS_MAX=300
readonly SUITE_SECONDS_MAX=2400 # 12 s on 2 cores without compression, some 20 minutes with it: the client takes them
readonly READY_SECONDS_MAX=10
readonly STOP_SECONDS_MAX=15

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
target="${CARGO_TARGET_DIR:-$root/target}"
venv="$root/tests/.venv-autobahn"
report="$target/autobahn"
work="$(mktemp -d)"
server_pid=""
tls=""
source "$root/tests/authority.sh"

cleanup() {
  if [[ -n "$server_pid" ]]; then
    kill -TERM "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "autobahn: $*" >&2
  exit 1
}

# A Python 2.7 that runs: pyenv's python2.7 in PATH may be a shim of a version that is switched off.
find_python27() {
  local python
  for python in "$(command -v python2.7 || true)" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python2.7; do
    if [[ -n "$python" ]] && "$python" -c 'import ssl' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  fail "no Python 2.7 in PATH or under ~/.pyenv/versions; the suite runs on nothing newer"
}

# virtualenv 20.21 is the last that makes environments of Python 2.7.
install_suite() {
  if [[ "$(cat "$venv/installed" 2>/dev/null || true)" == "$SUITE" ]]; then
    return
  fi
  local python27
  python27="$(find_python27)"
  echo "autobahn: installing $SUITE into ${venv#"$root"/}"
  rm -rf "$venv"
  {
    python3 -m venv "$venv/virtualenv"
    timeout "$INSTALL_SECONDS_MAX" "$venv/virtualenv/bin/pip" install --quiet 'virtualenv<20.22'
    timeout "$INSTALL_SECONDS_MAX" "$venv/virtualenv/bin/virtualenv" --quiet -p "$python27" "$venv/python27"
    timeout "$INSTALL_SECONDS_MAX" "$venv/python27/bin/pip" install --quiet "$SUITE"
  } >"$work/install.log" 2>&1 || {
    cat "$work/install.log" >&2
    fail "the suite could not be installed"
  }
  echo "$SUITE" >"$venv/installed"
}

# Sets server_pid and server_url. `timeout` hands SIGTERM on, and its status is the server's; without
# --foreground it would hand it on twice, which ends the server at once.
start_server() {
  local line said scheme flags=(--listen 127.0.0.1:0)
  if [[ -n "$tls" ]]; then
    make_authority "$work" # the suite's client checks nothing
    flags+=(--tls-listen 127.0.0.1:0 --tls-cert "$work/server.pem" --tls-key "$work/server.key")
  fi
  mkfifo "$work/stdout"
  timeout --foreground --kill-after="$STOP_SECONDS_MAX" "$((SUITE_SECONDS_MAX + STOP_SECONDS_MAX))" \
    "$target/release/fanfare" "${flags[@]}" >"$work/stdout" 2>"$work/stderr" &
  server_pid=$!
  exec {said}<"$work/stdout"
  for scheme in "" ${tls:+s}; do
    if ! read -r -t "$READY_SECONDS_MAX" -u "$said" line || [[ "$line" != "listening on http$scheme://"* ]]; then
      cat "$work/stderr" >&2
      fail "the server did not say where it listens"
    fi
    server_url="ws$scheme://${line#listening on "http$scheme"://}/echo"
  done
}

stop_server() {
  local status=0
  kill -0 "$server_pid" 2>/dev/null || fail "the server did not survive: $(cat "$work/stderr")"
  kill -TERM "$server_pid"
  wait "$server_pid" || status=$?
  server_pid=""
  if ((status != 0)) || grep -q panicked "$work/stderr"; then
    cat "$work/stderr" >&2
    fail "the server ended with status $status"
  fi
}

run_suite() {
  local status=0
  rm -rf "$report"
  mkdir -p "$report"
  python3 - "$server_url" "$report" "$@" >"$work/spec.json" <<'PYTHON'
import json, sys
url, outdir, *cases = sys.argv[1:]
json.dump({"servers": [{"agent": "fanfare", "url": url}], "outdir": outdir, "cases": cases,
           "exclude-cases": [], "exclude-agent-cases": {}}, sys.stdout)
PYTHON
  (cd "$work" && timeout "$SUITE_SECONDS_MAX" "$venv/python27/bin/wstest" -m fuzzingclient -s spec.json) \
    >"$work/wstest.log" 2>&1 || status=$?
  if ((status != 0)); then
    tail -n 5 "$work/wstest.log" >&2
    fail "wstest ended with status $status (124: not done after $SUITE_SECONDS_MAX s)"
  fi
}

# How many cases the suite itself has for these patterns.
count_cases() {
  "$venv/python27/bin/python" - "$@" <<'PYTHON'
import sys
from autobahntestsuite.case import CaseCategories, CaseSubCategories, CaseBasename, Cases
from autobahntestsuite.caseset import CaseSet
cases = CaseSet("Case", CaseBasename, Cases, CaseCategories, CaseSubCategories)
wanted = cases.parseSpecCases({"cases": sys.argv[1:], "exclude-cases": []})
print(len([case for case in wanted if case in cases.CasesById]))
PYTHON
}

print_report() {
  python3 - "$report" "$1" <<'PYTHON'
import collections, json, pathlib, sys

folder, expected = pathlib.Path(sys.argv[1]), int(sys.argv[2])
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}  # they ask what a server does where the RFC leaves it open
cases = json.loads((folder / "index.json").read_text())["fanfare"]


def order(case):
    return [int(number) for number in case.split(".")]


def counts(field):
    behaviours = collections.Counter(result[field] for result in cases.values())
    return ", ".join(f"{count} {name}" for name, count in behaviours.most_common())


def fault(case, result):
    allowed = {"OK", "INFORMATIONAL"} if case in INFORMATIONAL else {"OK"}
    return not {result["behavior"], result["behaviorClose"]} <= allowed


def describe(case, result):
    print(f"  {case}: behaviour {result['behavior']}, close {result['behaviorClose']}", end="")
    print(f" (code {result['remoteCloseCode']})")


faults = sorted((case for case in cases if fault(case, cases[case])), key=order)
informational = sorted((case for case in cases if cases[case]["behavior"] == "INFORMATIONAL"), key=order)
print(f"autobahn: {len(cases)} cases, {expected} expected")
print(f"  behaviour: {counts('behavior')}")
print(f"  close:     {counts('behaviorClose')}")
if informational:
    print("informational:")
    for case in informational:
        describe(case, cases[case])
if faults:
    print("not OK:")
    for case in faults:
        describe(case, cases[case])
        details = json.loads((folder / cases[case]["reportfile"]).read_text())
        print(f"    {details['result']}")
        print(f"    {details['resultClose']}")
        print(f"    see {folder / cases[case]['reportfile'].replace('.json', '.html')}")
if len(cases) != expected:
    sys.exit(f"autobahn: {len(cases)} cases ran, and {expected} should have")
sys.exit(1 if faults else 0)
PYTHON
}

main() {
  local cases expected known=""
  if [[ "${1:-}" == --tls ]]; then
    tls=yes
    shift
  fi
  cases=("$@")
  if (($# == 0)); then
    cases=("${RFC6455_SECTIONS[@]}")
    known=$RFC6455_CASES
  elif [[ "$*" == "--all" ]]; then
    cases=("${RFC6455_SECTIONS[@]}" '12.*' '13.*')
    known=$ALL_CASES
  fi
  install_suite
  expected="$(count_cases "${cases[@]}")" || fail "cannot count the cases"
  if ((expected == 0)); then
    fail "no case is called ${cases[*]}"
  fi
  if [[ -n "$known" && "$expected" != "$known" ]]; then
    fail "the suite has $expected cases in these sections, and $known are known here"
  fi
  (cd "$root" && cargo build --release --quiet)
  start_server
  run_suite "${cases[@]}"
  stop_server
  print_report "$expected"
}

main "$@"

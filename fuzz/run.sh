#!/usr/bin/env bash
# Fuzzes: `fuzz/run.sh SECONDS [TARGET…]`, each target (default: all) for so many seconds on its corpus, one a core at a time.
#
# Exits with 1 if anything was found; what, stands in fuzz/artifacts/. New units stay in a scratch folder:
# fuzz/corpus/ is written by hand (fuzz/seeds.py). Needs a nightly compiler, or makes the default one pass for it.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET…]}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(frames mask utf8 request upgrade hub extension deflated event_stream pusher_session pusher_presence pusher_rest pusher_fallback token commands batch forwarded proxy_header redis_reply stored_record tls_receive)

command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked

fuzz=(cargo fuzz)
if rustup toolchain list 2>/dev/null | grep -q nightly; then
    fuzz=(cargo +nightly fuzz)
else
    export RUSTC_BOOTSTRAP=1
fi

# Not every toolchain comes with the address sanitizer. All that is fuzzed is safe Rust: it goes without.
sanitizer=address
if ! "${fuzz[@]}" build --sanitizer address "${targets[0]}"; then
    sanitizer=none
fi
for target in "${targets[@]}"; do
    "${fuzz[@]}" build --sanitizer "$sanitizer" "$target"
done

logs=$(mktemp -d)

# Fuzzes one target; leaves a file if something was found.
fuzz_target() {
    local target=$1 result="nothing found" executions
    local scratch=$logs/corpus/$target options
    mkdir -p "$scratch"
    options=(-max_total_time="$seconds" -print_final_stats=1 -timeout=20 -rss_limit_mb=2048)
    [ ! -f "fuzz/dict/$target.dict" ] || options+=(-dict="fuzz/dict/$target.dict")
    if ! "${fuzz[@]}" run --sanitizer "$sanitizer" "$target" "$scratch" "fuzz/corpus/$target" -- "${options[@]}" \
        >"$logs/$target.log" 2>&1; then
        result="FOUND SOMETHING"
        touch "$logs/found"
        tail -n 40 "$logs/$target.log"
    fi
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$target.log")
    echo "$target: ${executions:-0} executions in ${seconds} s, $result (log: $logs/$target.log)"
}

for target in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
        wait -n || true
    done
    fuzz_target "$target" </dev/null &
done
wait
[ ! -e "$logs/found" ]

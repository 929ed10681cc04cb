#!/usr/bin/env bash
# Prints the figures of the tree: lengths of files and functions, share of prose, circles, who imports whom.
#
# tests/tidy counts them, and has the rules as tests. It needs nothing but std, so rustc alone builds it here, in seconds,
# without the library. Leaves nothing behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

CARGO_MANIFEST_DIR=$PWD rustc --edition 2024 --test -C opt-level=1 -o "$folder/tidy" tests/tidy/main.rs
"$folder/tidy" --exact figures::half_of_the_files_and_nearly_all_functions_are_far_from_the_limits --nocapture --quiet |
  sed -e '/^$/d' -e '/^running /d' -e '/^test result:/d' -e '/^\.$/d'

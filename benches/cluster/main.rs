//! Many nodes on Redis: what a node and Redis take for a publication, how long its publisher waits, and what coming back costs.
//!
//! `cargo bench --bench cluster`, with a filter such as `-- sending` if wanted; the sections are `sending`, `receiving`,
//! `delivery`, `rejoining` and `idle`. Rounds of what is compared alternate in one run, so that a noisy machine disturbs all
//! alike; figures are medians. Each section starts a redis-server of its own, on a free port, and ends it. Which processes there
//! are is in `node`, `redis`, `publishers`, `readers`; what is done with them in one file a section. CPU time is read from
//! /proc: Linux only. `FANFARE_BENCH_CHANNELS=10000` sets the number of channels of `rejoining` and `idle`.

#![allow(clippy::print_stdout, clippy::print_stderr)] // the figures
#![allow(clippy::disallowed_methods)] // only time shows that a server has gone to sleep

mod delivery;
mod frames;
mod keeping;
mod node;
mod publishers;
mod readers;
mod receiving;
mod redis;
mod sending;
#[allow(dead_code, unused_imports)] // not all that other benches have
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code)] // one section compares by it
#[path = "../support/versus/mod.rs"]
mod versus;

use std::env;
use std::process::Command;

fn main() {
    support::run(bench, |role| match role {
        [publishers::ROLE, address, way, connections, len] => publishers::run(address, way, connections, len),
        [readers::ROLE, address, count, len] => readers::run(address, count, len),
        [readers::JOINERS, address, channels] => readers::join(address, channels),
        [delivery::ALONE] => delivery::serve(None),
        [delivery::NODE, redis] => delivery::serve(Some(redis)),
        unknown => unreachable!("the bench starts no role {unknown:?}"),
    });
}

fn bench() {
    if !cfg!(target_os = "linux") {
        return println!("cluster reads /proc, which this system does not have: nothing measured");
    }
    if Command::new("redis-server").arg("--version").output().is_err() {
        return println!("redis-server is not installed: nothing measured");
    }
    let filter = env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    type Section = (&'static str, fn());
    let sections: [Section; 5] = [
        ("sending", sending::bench),
        ("receiving", receiving::bench),
        ("delivery", delivery::bench),
        ("rejoining", keeping::bench_rejoining),
        ("idle", keeping::bench_idle),
    ];
    for (name, bench) in sections {
        if name.contains(&filter) || filter.starts_with(name) {
            bench();
        }
    }
}

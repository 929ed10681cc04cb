//! What Linux reports of this process, for the `process_…` metrics.
//!
//! Every call is O(1), whatever the number of connections.

use std::fs;

/// Clock ticks a second in `/proc` (USER_HZ): 100 on every architecture that Rust has a standard library for on
/// Linux. The kernel's own HZ is another number.
const TICKS_PER_SECOND: f64 = 100.0;

/// When the process started; the rest is read from `/proc` each time.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Seconds since 1970, if they are known.
    start_seconds: Option<f64>,
}

/// The figures of one moment, each if the system tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessFigures {
    /// When the process started, in seconds since 1970.
    pub start_seconds: Option<f64>,
    /// Processor time in user and system mode.
    pub cpu_seconds: Option<f64>,
    /// Memory that is resident.
    pub resident_bytes: Option<u64>,
    /// Open descriptors.
    pub open_fds: Option<u64>,
    /// The soft limit on them.
    pub max_fds: Option<u64>,
}

impl Process {
    /// Notes when the process started.
    pub fn new() -> Self {
        Self { start_seconds: start_seconds() }
    }

    /// The figures now. None are known on other systems than Linux.
    pub fn figures(self) -> ProcessFigures {
        if !cfg!(target_os = "linux") {
            return ProcessFigures::default();
        }
        ProcessFigures {
            start_seconds: self.start_seconds,
            cpu_seconds: read("/proc/self/stat").as_deref().and_then(cpu_seconds),
            resident_bytes: read("/proc/self/status").as_deref().and_then(resident_bytes),
            open_fds: open_fds(),
            max_fds: read("/proc/self/limits").as_deref().and_then(max_fds),
        }
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn start_seconds() -> Option<f64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let boot: f64 = field(&read("/proc/stat")?, "btime")?.trim().parse().ok()?;
    Some(boot + ticks(&read("/proc/self/stat")?, 22)? / TICKS_PER_SECOND)
}

/// Since Linux 6.2 the folder's size is the number of descriptors. Older ones report 0, and counting the entries would
/// be O(connections): the number is unknown there.
fn open_fds() -> Option<u64> {
    let len = fs::metadata("/proc/self/fd").ok()?.len();
    (len > 0).then_some(len)
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((ticks(stat, 14)? + ticks(stat, 15)?) / TICKS_PER_SECOND)
}

/// The field of that number, as proc_pid_stat(5) counts them. The second is the program's name, which may contain any
/// character; the last bracket ends it.
fn ticks(stat: &str, number: usize) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(number - 3)?.parse().ok()
}

fn resident_bytes(status: &str) -> Option<u64> {
    let kib: u64 = field(status, "VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn max_fds(limits: &str) -> Option<u64> {
    field(limits, "Max open files")?.split_ascii_whitespace().next()?.parse().ok()
}

/// The rest of the line that begins with `name`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name_of_the_program() {
        let behind = "S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 123456 0";
        for name in ["fanfare", "a) b (c", ") 1 2 3"] {
            let stat = format!("42 ({name}) {behind}");
            assert_eq!(cpu_seconds(&stat), Some(3.0), "{name}");
            assert_eq!(ticks(&stat, 22), Some(123_456.0), "{name}");
        }
        assert_eq!(cpu_seconds("42 (fanfare"), None);
    }

    #[test]
    fn memory_and_the_limit_are_read_from_their_lines() {
        assert_eq!(
            resident_bytes("VmHWM:\t    4000 kB\nVmRSS:\t    3320 kB\nThreads:\t1\n"),
            Some(3320 * 1024)
        );
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(max_fds(limits), Some(1024));
        assert_eq!(
            max_fds("Max open files            unlimited            unlimited            files\n"),
            None
        );
    }

    #[cfg(target_os = "linux")] // for its /proc
    #[test]
    fn linux_tells_of_this_process() {
        let figures = Process::new().figures();
        assert!(figures.start_seconds.is_some_and(|seconds| seconds > 1.7e9), "{figures:?}");
        assert!(figures.cpu_seconds.is_some() && figures.max_fds.is_some(), "{figures:?}");
        assert!(figures.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{figures:?}");
        assert!(figures.open_fds.is_none_or(|count| count >= 3), "{figures:?}");
    }
}

//! A master with replicas and the Sentinels that watch them, of a test's own.
//!
//! What is done with them is the tests'.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ::redis::Client;
use tempfile::TempDir;

use super::redis::{Redis, ask, free_port};
use super::redis_cluster::said;
use super::until;

/// What a Sentinel logs when it watches.
const WATCHES: &str = "+monitor master";

/// A Sentinel, killed when it goes out of scope.
pub struct Sentinel {
    pub child: Child,
    pub port: u16,
    folder: TempDir,
}

impl Sentinel {
    /// Starts one that watches masters by name, with lines of configuration besides.
    pub fn start(masters: &[(&str, u16)], quorum: usize, down_after_ms: u64, lines: &str) -> Self {
        let (folder, port) = (TempDir::new().unwrap(), free_port());
        let mut text = format!("port {port}\nbind 127.0.0.1\ndir {}\n{lines}\n", folder.path().display());
        for (name, master) in masters {
            text += &format!(
                "sentinel monitor {name} 127.0.0.1 {master} {quorum}\nsentinel down-after-milliseconds {name} {down_after_ms}\n\
                 sentinel failover-timeout {name} 1500\n"
            );
        }
        let file = folder.path().join("sentinel.conf");
        fs::write(&file, text).unwrap();
        let log = folder.path().join("log");
        let mut command = Command::new("redis-sentinel");
        command.arg(&file).stdin(Stdio::null()).stderr(Stdio::null()).stdout(File::create(&log).unwrap());
        let mut sentinel = Self { child: command.spawn().unwrap(), port, folder };
        until("the Sentinel watches", || {
            assert_eq!(sentinel.child.try_wait().unwrap(), None, "{}", sentinel.log());
            sentinel.log().contains(WATCHES).then_some(())
        });
        sentinel
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A master, its replicas, and three Sentinels that call it `fanfare-master`.
pub struct Watched {
    pub servers: Vec<Redis>,
    pub sentinels: Vec<Sentinel>,
}

/// How long a failover may take: an election that fails is held again after 3 s, and a Sentinel whose machine is so busy that it
/// runs late does nothing for 30 s.
pub const FAILOVER_TIME_MAX: Duration = Duration::from_secs(90);

/// What Sentinels call the master.
pub const NAME: &str = "fanfare-master";

impl Watched {
    /// Starts them; a server that is silent for `down_after_ms` is down. `None` where no redis-server is installed.
    pub fn start(replicas: usize, down_after_ms: u64) -> Option<Self> {
        let master = Redis::start(&SETTINGS)?;
        let mut servers = vec![master];
        for _ in 0..replicas {
            let replica = Redis::start(&SETTINGS)?;
            follow(&replica, servers[0].port);
            servers.push(replica);
        }
        let watch = |_| Sentinel::start(&[(NAME, servers[0].port)], 2, down_after_ms, "");
        let sentinels: Vec<_> = (0..3).map(watch).collect();
        let watched = Self { servers, sentinels };
        for sentinel in &watched.sentinels {
            let known = format!("slaves={replicas},sentinels=3");
            watched.wait_for(sentinel.port, b"sentinel", &known);
        }
        Some(watched)
    }

    /// Waits until the server at `at` says that it is a master.
    pub fn wait_for_master(&self, at: usize) {
        self.wait_for_role(at, "role:master");
    }

    /// Waits until the server at `at` says that it is a replica.
    pub fn wait_for_replica(&self, at: usize) {
        self.wait_for_role(at, "role:slave");
    }

    fn wait_for_role(&self, at: usize, role: &str) {
        self.wait_for(self.servers[at].port, b"replication", role);
    }

    /// Waits until a server says so in this section.
    #[allow(clippy::disallowed_methods)] // a failover takes seconds, and the servers need the processor
    fn wait_for(&self, port: u16, section: &[u8], text: &str) {
        let client = Client::open(("127.0.0.1", port)).unwrap();
        let deadline = Instant::now() + FAILOVER_TIME_MAX;
        // A Sentinel that gives a server another role ends its connections.
        let info = || ask::<String>(&mut client.get_connection().ok()?, &[b"INFO", section]).ok();
        while !info().is_some_and(|info| info.contains(text)) {
            let logs = || self.sentinels.iter().map(Sentinel::log).collect::<Vec<_>>().join("\n");
            assert!(Instant::now() < deadline, "not {text}: {}", logs());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What a replica that starts needs to be quick.
const SETTINGS: [&str; 2] = ["--repl-diskless-sync-delay", "0"];

/// Makes a server a replica, and waits until it has all.
pub fn follow(replica: &Redis, master: u16) {
    let mut connection = replica.connect();
    let _: String = said(&mut connection, &format!("REPLICAOF 127.0.0.1 {master}"));
    until("the replica has what its master has", || {
        said::<String>(&mut connection, "INFO replication").contains("master_link_status:up").then_some(())
    });
}

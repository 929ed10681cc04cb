//! A Redis Cluster of a test's own: masters and replicas, slots that move, masters that die.
//!
//! What is done with it is the tests'.

use std::net::TcpStream;

use ::redis::{Connection, FromRedisValue, Value};

use super::redis::{Redis, ask, free_port};
use super::until;

/// How many slots a cluster has.
const SLOTS: u16 = 16_384;

/// Stands for the master of a server that is a master without slots.
const SPARE: usize = usize::MAX;

/// The servers, and what each is called in the cluster.
pub struct Cluster {
    pub servers: Vec<Redis>,
    pub ids: Vec<String>,
    /// Those of TLS, if there are any.
    pub tls_ports: Vec<u16>,
    masters: usize,
}

impl Cluster {
    /// Starts masters that share the slots in equal parts, and for each of `replica_of` a replica of that master. A server that
    /// is silent for `timeout_ms` has failed. `None` where no redis-server is installed.
    pub fn start(masters: usize, replica_of: &[usize], timeout_ms: u64) -> Option<Self> {
        Self::start_with(masters, replica_of, timeout_ms, &[])
    }

    /// The same, with these settings besides.
    pub fn start_with(
        masters: usize,
        replica_of: &[usize],
        timeout_ms: u64,
        settings: &[&str],
    ) -> Option<Self> {
        Self::start_on(masters, replica_of, timeout_ms, settings, Vec::new())
    }

    /// The same, and a master without slots.
    pub fn start_with_spare(masters: usize, timeout_ms: u64) -> Option<Self> {
        Self::start_on(masters, &[SPARE], timeout_ms, &[], Vec::new())
    }

    /// Masters that listen to TLS too. The settings say where the certificate is.
    pub fn start_by_tls(masters: usize, timeout_ms: u64, settings: &[&str]) -> Option<Self> {
        Self::start_on(masters, &[], timeout_ms, settings, (0..masters).map(|_| free_port()).collect())
    }

    fn start_on(
        masters: usize,
        replica_of: &[usize],
        timeout_ms: u64,
        settings: &[&str],
        tls_ports: Vec<u16>,
    ) -> Option<Self> {
        let timeout = timeout_ms.to_string();
        let servers: Option<Vec<_>> = (0..masters + replica_of.len())
            .map(|at| {
                let bus = free_port().to_string();
                let tls = tls_ports.get(at).copied().unwrap_or(0).to_string();
                let own =
                    ["--cluster-enabled", "yes", "--cluster-node-timeout", &timeout, "--cluster-port", &bus];
                let quick = ["--repl-diskless-sync-delay", "0", "--cluster-allow-replica-migration", "no"];
                let server = Redis::start(&[&own[..], &quick, &["--tls-port", &tls], settings].concat())?;
                Some((server, bus))
            })
            .collect();
        let (servers, buses): (Vec<_>, Vec<_>) = servers?.into_iter().unzip();
        let ids = servers.iter().map(|server| said(&mut server.connect(), "CLUSTER MYID")).collect();
        let cluster = Self { servers, ids, tls_ports, masters };
        for at in 0..masters {
            let (first, last) = (cluster.part(at), cluster.part(at + 1) - 1);
            cluster.tell(at, &format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
            cluster.tell(at, &format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1));
        }
        for (at, bus) in buses.iter().enumerate().skip(1) {
            let port = cluster.tls_ports.get(at).copied().unwrap_or(cluster.servers[at].port);
            cluster.tell(0, &format!("CLUSTER MEET 127.0.0.1 {port} {bus}"));
        }
        cluster.wait_until_whole();
        let replicas = replica_of.iter().filter(|&&master| master != SPARE);
        for (at, &master) in replicas.clone().enumerate() {
            cluster.tell(masters + at, &format!("CLUSTER REPLICATE {}", cluster.ids[master]));
        }
        cluster.wait_for_replicas(replicas.count());
        Some(cluster)
    }

    /// The first slot of a master.
    fn part(&self, at: usize) -> u16 {
        u16::try_from(usize::from(SLOTS) * at / self.masters).unwrap()
    }

    fn wait_until_whole(&self) {
        let known = format!("cluster_known_nodes:{}", self.servers.len());
        for server in &self.servers {
            let mut connection = server.connect();
            until("every server knows all others", || {
                let info: String = said(&mut connection, "CLUSTER INFO");
                (info.contains("cluster_state:ok") && info.contains(&known)).then_some(())
            });
        }
    }

    fn wait_for_replicas(&self, count: usize) {
        for replica in &self.servers[self.masters..self.masters + count] {
            let mut connection = replica.connect();
            until("the replica has what its master has", || {
                said::<String>(&mut connection, "INFO replication")
                    .contains("master_link_status:up")
                    .then_some(())
            });
        }
        for server in &self.servers {
            let mut connection = server.connect();
            until("every server knows the replicas", || {
                let nodes: String = said(&mut connection, "CLUSTER NODES");
                (nodes.matches("slave").count() == count).then_some(())
            });
        }
    }

    /// Says something to a server, in words with blanks between.
    pub fn tell(&self, at: usize, words: &str) {
        let _: Value = said(&mut self.servers[at].connect(), words);
    }

    /// The slot of a channel's keys.
    pub fn slot_of(&self, channel: &str) -> u16 {
        said(&mut self.servers[0].connect(), &format!("CLUSTER KEYSLOT {{{channel}}}"))
    }

    /// A channel that this master has, of a name that begins so.
    pub fn channel_at(&self, master: usize, beginning: &str) -> String {
        let has = |slot: &u16| (self.part(master)..self.part(master + 1)).contains(slot);
        let mut names = (0..).map(|number| format!("{beginning}{number}"));
        names.find(|name| has(&self.slot_of(name))).unwrap()
    }

    /// Begins to move a slot: new keys of it are made at `to`.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) {
        self.tell(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {}", self.ids[from]));
        self.tell(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {}", self.ids[to]));
    }

    /// Moves the keys of the slot.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize) {
        let (mut connection, port) = (self.servers[from].connect(), self.servers[to].port);
        loop {
            let keys: Vec<String> = said(&mut connection, &format!("CLUSTER GETKEYSINSLOT {slot} 10"));
            if keys.is_empty() {
                return;
            }
            for key in keys {
                let _: String = said(&mut connection, &format!("MIGRATE 127.0.0.1 {port} {key} 0 5000"));
            }
        }
    }

    /// Says everywhere that the slot has moved: to the new master first, then to the old, then to the others.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        let others = (0..self.masters).filter(|&at| at != from && at != to);
        for at in [to, from].into_iter().chain(others) {
            self.tell(at, &format!("CLUSTER SETSLOT {slot} NODE {}", self.ids[to]));
        }
        self.wait_for_epoch_of(to);
    }

    /// Waits until all masters know the configuration epoch of this one. A slot that comes back before the epoch by which it went is
    /// known may be taken away again, with its keys: the master that gave it back has the higher epoch.
    fn wait_for_epoch_of(&self, master: usize) {
        let info: String = said(&mut self.servers[master].connect(), "CLUSTER INFO");
        let epoch = info.lines().find_map(|line| line.strip_prefix("cluster_my_epoch:")).unwrap().trim();
        for server in &self.servers[..self.masters] {
            let mut connection = server.connect();
            until("the epoch of a master is known", || {
                let nodes: String = said(&mut connection, "CLUSTER NODES");
                let line = nodes.lines().find(|line| line.starts_with(&self.ids[master]))?;
                (line.split(' ').nth(6) == Some(epoch)).then_some(())
            });
        }
    }

    /// Moves a slot as `redis-cli --cluster reshard` does.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) {
        self.begin_move(slot, from, to);
        self.move_keys(slot, from, to);
        self.end_move(slot, from, to);
    }

    /// Waits until the server at `replica` is a master, and the others know.
    pub fn wait_for_promotion(&self, replica: usize) {
        let id = &self.ids[replica];
        let living = (0..self.servers.len()).filter(|&at| is_alive(&self.servers[at]));
        for at in living {
            let mut connection = self.servers[at].connect();
            until("the replica is promoted", || {
                let nodes: String = said(&mut connection, "CLUSTER NODES");
                let line = nodes.lines().find(|line| line.starts_with(id))?;
                let is_whole = said::<String>(&mut connection, "CLUSTER INFO").contains("cluster_state:ok");
                (line.contains("master") && is_whole).then_some(())
            });
        }
    }
}

/// Whether it takes connections.
pub fn is_alive(server: &Redis) -> bool {
    TcpStream::connect(("127.0.0.1", server.port)).is_ok()
}

/// Asks in words with blanks between.
pub fn said<T: FromRedisValue>(connection: &mut Connection, words: &str) -> T {
    let bytes: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    ask(connection, &bytes).unwrap_or_else(|error| panic!("{words}: {error}"))
}

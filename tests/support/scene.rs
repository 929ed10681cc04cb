//! A channel of two nodes under load: publishers that repeat what was not published, and witnesses by both transports.
//!
//! What breaks meanwhile is each test's own.

use std::time::Duration;

use super::Running;
use super::nodes::{Keys, Published, Publisher, nodes, patient_nodes};
use super::witness::{By, Told, Witness, judge_all};

/// Two nodes with a witness each by both transports, and a publisher at each that repeats what it does not know by its key.
pub struct Scene {
    pub nodes: Vec<Running>,
    pub witnesses: Vec<Witness>,
    pub publishers: Vec<Publisher>,
}

impl Scene {
    pub fn begin(port: u16, keys: Keys) -> Self {
        Self::of(nodes(port, 2), keys)
    }

    /// The same by nodes that are patient.
    pub fn patient(port: u16, keys: Keys) -> Self {
        Self::of(patient_nodes(port, 2), keys)
    }

    pub fn of(nodes: Vec<Running>, keys: Keys) -> Self {
        let mut witnesses = Vec::new();
        for node in &nodes {
            for by in [By::WebSocket, By::EventStream] {
                witnesses.push(Witness::start(&[node.address], "c", by, usize::MAX));
            }
        }
        let pace = Duration::from_millis(4);
        let publisher = |(number, node): (usize, &Running)| {
            Publisher::start(&[node.address], "c", &format!("p{number}"), keys, pace)
        };
        let publishers: Vec<_> = nodes.iter().enumerate().map(publisher).collect();
        let scene = Self { nodes, witnesses, publishers };
        scene.more(20);
        scene
    }

    /// Waits until both publishers have published this many more.
    pub fn more(&self, count: usize) {
        self.publishers.iter().for_each(|publisher| publisher.more(count));
    }

    /// Ends all. What each witness was told, and what became of what was published.
    pub fn end(self) -> (Vec<Vec<Told>>, Vec<Published>) {
        self.more(20);
        let published: Vec<_> = self.publishers.into_iter().map(Publisher::end).collect();
        let told = judge_all(self.nodes[0].address, "c", self.witnesses, &published);
        (told, published)
    }
}

/// The gaps that a witness was told of.
pub fn gaps(told: &[Told]) -> Vec<Option<u64>> {
    told.iter()
        .filter_map(|told| if let Told::Gap(missed, _) = told { Some(*missed) } else { None })
        .collect()
}

/// How often the epoch was another one than before, and 1.
pub fn epochs(told: &[Told]) -> usize {
    let mut epochs: Vec<_> = told
        .iter()
        .filter_map(|told| if let Told::Publication(id, _) = told { Some(&id.epoch) } else { None })
        .collect();
    epochs.dedup();
    epochs.len()
}

//! The threads for work that would block a loop: a bounded pool, whose threads begin with the first job.
//!
//! What a job is for, and who is told its result, is not known here.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use crate::server::lock::lock;

/// Jobs that wait for a thread. Above this number one is refused: what takes 10 ms on four threads waits 2.5 s by then.
pub const JOBS_MAX: usize = 1024;

/// A job.
struct Job(Box<dyn FnOnce() + Send>);

/// The pool.
#[derive(Debug)]
pub struct Workers {
    threads_max: usize,
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    has_job: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    is_over: bool,
}

impl Workers {
    /// A pool of at most that many threads, none of which has begun.
    pub fn new(threads_max: NonZeroUsize) -> Self {
        Self { threads_max: threads_max.get(), queue: Arc::default() }
    }

    /// Whether a job would be taken.
    pub fn has_room(&self) -> bool {
        lock(&self.queue.state).jobs.len() < JOBS_MAX
    }

    /// Takes a job. If the system refuses a thread, and there is none yet, the job is run here: it is late, and not lost.
    pub fn run(&self, job: Box<dyn FnOnce() + Send>) {
        let mut state = lock(&self.queue.state);
        state.jobs.push_back(Job(job));
        if state.idle < state.jobs.len() && state.threads < self.threads_max {
            let queue = Arc::clone(&self.queue);
            let spawned = thread::Builder::new().name("fanfare-worker".into()).spawn(move || queue.serve());
            match spawned {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => {
                    tracing::error!("the system refuses a thread for a worker: {error}");
                    let job = state.jobs.pop_back();
                    drop(state);
                    if let Some(Job(job)) = job {
                        job();
                    }
                    return;
                }
                Err(error) => tracing::warn!("the system refuses a thread for one more worker: {error}"),
            }
        }
        drop(state);
        self.queue.has_job.notify_one();
    }
}

impl Queue {
    fn serve(&self) {
        while let Some(Job(job)) = self.next() {
            job();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.is_over {
                return None;
            }
            state.idle += 1;
            state = self.has_job.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

/// The threads end when they have done what they were given.
impl Drop for Workers {
    fn drop(&mut self) {
        lock(&self.queue.state).is_over = true;
        self.queue.has_job.notify_all();
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        write!(f, "Queue({} jobs, {} threads)", state.jobs.len(), state.threads)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn as_many_jobs_run_at_once_as_there_are_threads() {
        let workers = Workers::new(NonZeroUsize::new(3).unwrap());
        let barrier = Arc::new(Barrier::new(3));
        let (done, results) = mpsc::channel();
        for number in 0..3 {
            let (barrier, done) = (Arc::clone(&barrier), done.clone());
            workers.run(Box::new(move || {
                barrier.wait();
                done.send(number).unwrap();
            }));
        }
        let mut results: Vec<_> = results.iter().take(3).collect();
        results.sort_unstable();
        assert_eq!(results, [0, 1, 2]);
    }

    #[test]
    fn no_more_jobs_wait_than_the_bound() {
        let workers = Workers::new(NonZeroUsize::MIN);
        let (release, held) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        workers.run(Box::new(move || {
            begun.send(()).unwrap();
            let _ = held.recv();
        }));
        has_begun.recv().unwrap();
        for _ in 0..JOBS_MAX {
            assert!(workers.has_room());
            workers.run(Box::new(|| {}));
        }
        assert!(!workers.has_room());
        release.send(()).unwrap();
    }
}

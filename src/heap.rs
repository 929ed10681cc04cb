//! The heap: jemalloc on Linux with glibc, and when freed memory is returned to the system. What is held is not decided
//! here.
//!
//! After a block of 16 MiB was freed, glibc keeps up to 32 MiB at the end of each heap, and all memory below a block that
//! is still used: after 1,500 bodies of up to 100 KB, 100 MiB stayed resident, with nothing held.
//!
//! The C code of the process, which is the cryptography, allocates from jemalloc too: the dependency replaces `malloc` and `free`
//! (`unprefixed_malloc_on_supported_platforms`). The keys of a TLS session are such memory, and what handshakes use for a
//! moment lies between them: after 10,000 TLS clients had gone, 24 MB stayed resident with glibc's heap beside this one, 14
//! without. Each session takes 64 bytes more in exchange, since its two keys of 592 bytes are rounded up to 640.

#[cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
pub use returning::return_freed;

/// The heap is the system's own: nothing to start.
#[cfg(not(all(feature = "jemalloc", target_os = "linux", target_env = "gnu")))]
pub fn return_freed() -> Result<(), std::io::Error> {
    Ok(())
}

#[cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
mod returning {
    use std::io;
    use std::thread;
    use std::time::Duration;

    use tikv_jemalloc_ctl::{Access, AsName, Error, Mib, arenas};
    use tikv_jemallocator::Jemalloc;

    #[global_allocator]
    static HEAP: Jemalloc = Jemalloc;

    /// A piece of free memory of this length is returned at once: four times what a loop reads in a turn, so that messages
    /// of 64 KiB reuse theirs. With no memory kept at all, publishing one took 2.6 times as long.
    const AT_ONCE_LEN: usize = 1024 * 1024;

    /// How often the rest is returned. Memory that is used again costs a page fault per 4 KiB, at most once in this time.
    const RETURNED_EVERY: Duration = Duration::from_secs(1);

    /// Starts the thread that returns freed memory. jemalloc's own does not return large blocks when they are freed, but
    /// a tenth of a second later or more: with `--max-memory 64MiB` and bodies of 16 MB, 116 MB were resident in place of 63.
    #[allow(clippy::disallowed_methods)] // on the thread of the heap, which has nothing else to do
    pub fn return_freed() -> Result<(), io::Error> {
        let arenas = Arenas::new().map_err(|error| io::Error::other(error.to_string()))?;
        arenas.return_freed();
        thread::Builder::new().name("fanfare-heap".into()).spawn(move || {
            loop {
                thread::sleep(RETURNED_EVERY);
                arenas.return_freed();
            }
        })?;
        Ok(())
    }

    /// The settings that jemalloc has for each of its arenas, by number; each thread allocates from one of them.
    struct Arenas {
        at_once_len: Mib<[usize; 3]>,
        kept_ms: Mib<[usize; 3]>,
    }

    impl Arenas {
        fn new() -> Result<Self, Error> {
            Ok(Self {
                at_once_len: b"arena.0.oversize_threshold\0".name().mib()?,
                kept_ms: b"arena.0.dirty_decay_ms\0".name().mib()?,
            })
        }

        /// An arena that no thread has used yet answers with an error, and has nothing to return.
        fn return_freed(&self) {
            for arena in 0..arenas::narenas::read().unwrap_or(0) {
                let _unused = self.return_freed_of(arena as usize);
            }
        }

        fn return_freed_of(&self, arena: usize) -> Result<(), Error> {
            let Self { mut at_once_len, mut kept_ms } = *self;
            (at_once_len[1], kept_ms[1]) = (arena, arena);
            at_once_len.write(AT_ONCE_LEN)?;
            // "Setting to 0 causes all unused dirty pages to be purged immediately" (jemalloc(3)). Then as it was: what is
            // freed from now on is used again.
            let before: isize = kept_ms.update(0)?;
            kept_ms.write(before)
        }
    }
}

//! A thread pool that is joined when it is dropped.

use crate::error::{Error, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// More threads than any machine has; beyond it the request is a mistake.
const MOST_THREADS: usize = 4096;

/// Worker threads that end with their owner.
#[derive(Debug)]
pub(crate) struct Threads {
    pool: Option<ThreadPool>,
    handles: Vec<JoinHandle<()>>,
    count: usize,
}

impl Threads {
    /// Starts `threads` workers, or one a core for 0.
    pub(crate) fn start(threads: usize) -> Result<Threads> {
        let count = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        if count > MOST_THREADS {
            let reason = format!("at most {MOST_THREADS}");
            return Err(Error::Threads {
                threads: count,
                reason,
            });
        }
        let mut handles = Vec::with_capacity(count);
        let pool = ThreadPoolBuilder::new()
            .num_threads(count)
            .spawn_handler(|worker| {
                let name = format!("gamut-{}", worker.index());
                let builder = std::thread::Builder::new().name(name);
                handles.push(builder.spawn(move || worker.run())?);
                Ok(())
            })
            .build()
            .map_err(|e| Error::Threads {
                threads: count,
                reason: e.to_string(),
            })?;
        Ok(Threads {
            pool: Some(pool),
            handles,
            count,
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Runs `work` on a worker and waits for it.
    pub(crate) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Calls `task` once for each index below `tasks`, on all workers, each with its own part of
    /// `scratch`. Which worker takes which index is left to chance.
    pub(crate) fn for_each(
        &self,
        tasks: usize,
        scratch: &mut [f32],
        task: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let workers = self.count.min(tasks);
        if workers <= 1 {
            (0..tasks).for_each(|i| task(i, scratch));
            return;
        }
        let next = AtomicUsize::new(0);
        let part = scratch.len() / workers;
        self.install(|| {
            rayon::scope(|scope| {
                let mut rest = scratch;
                for _ in 0..workers {
                    let (mine, others) = rest.split_at_mut(part);
                    rest = others;
                    let (next, task) = (&next, &task);
                    scope.spawn(move |_| {
                        while let Some(i) =
                            Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < tasks)
                        {
                            task(i, mine);
                        }
                    });
                }
            });
        });
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Dropping the pool tells the workers to end; only then can they be waited for.
        self.pool = None;
        let this = std::thread::current().id();
        for handle in self.handles.drain(..) {
            // The last owner may be a worker itself, which cannot wait for its own end.
            if handle.thread().id() != this && handle.join().is_err() {
                tracing::error!("a worker thread of the host device panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn every_task_runs_once_with_scratch_of_its_own() {
        let threads = Threads::start(3).unwrap();
        let runs: Vec<AtomicU32> = (0..100).map(|_| AtomicU32::new(0)).collect();
        let mut scratch = vec![0.0; 12];
        threads.for_each(100, &mut scratch, |i, scratch| {
            assert_eq!(scratch.len(), 4);
            scratch.fill(i as f32);
            runs[i].fetch_add(1, Ordering::Relaxed);
            assert_eq!(scratch, [i as f32; 4]);
        });
        assert!(runs.iter().all(|r| r.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn workers_are_gone_after_the_drop() {
        let threads = Threads::start(4).unwrap();
        let alive = std::sync::Arc::new(());
        let witness = std::sync::Arc::downgrade(&alive);
        threads.install(move || {
            rayon::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(20));
                drop(alive);
            });
        });
        drop(threads);
        assert!(witness.upgrade().is_none());
    }

    #[test]
    fn absurd_counts_are_refused() {
        assert!(matches!(
            Threads::start(1 << 40),
            Err(Error::Threads { .. })
        ));
    }
}

//! Which pages of the key-value cache belong to whom.

use crate::error::Error;
use gamut_kernels::PAGE;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The pages of a cache that nobody owns.
#[derive(Debug)]
pub(crate) struct PagePool {
    free: Mutex<Vec<u32>>,
    total: usize,
}

impl PagePool {
    pub(crate) fn new(pages: usize) -> Arc<PagePool> {
        // The lowest page is taken first.
        let free = (0..pages as u32).rev().collect();
        Arc::new(PagePool {
            free: Mutex::new(free),
            total: pages,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u32>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pages of one sequence, in order; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct PageTable {
    pool: Arc<PagePool>,
    pages: Vec<u32>,
}

impl PageTable {
    pub(crate) fn new(pool: &Arc<PagePool>) -> PageTable {
        PageTable {
            pool: pool.clone(),
            pages: Vec::new(),
        }
    }

    /// Owns the pages of `tokens` tokens, taking more where needed.
    pub(crate) fn reserve(&mut self, tokens: usize) -> Result<(), Error> {
        let needed = tokens.div_ceil(PAGE).saturating_sub(self.pages.len());
        let mut free = self.pool.lock();
        if needed > free.len() {
            return Err(Error::CacheFull {
                needed,
                free: free.len(),
                total: self.pool.total,
            });
        }
        let left = free.len() - needed;
        self.pages.extend(free.drain(left..).rev());
        Ok(())
    }

    pub(crate) fn pages(&self) -> &[u32] {
        &self.pages
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        self.pool.lock().extend(self.pages.drain(..).rev());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_one_owner_and_come_back() {
        let pool = PagePool::new(4);
        let (mut a, mut b) = (PageTable::new(&pool), PageTable::new(&pool));
        a.reserve(PAGE + 1).unwrap();
        b.reserve(1).unwrap();
        a.reserve(2 * PAGE + 1).unwrap();
        assert_eq!((a.pages(), b.pages()), (&[0, 1, 3][..], &[2][..]));
        assert!(matches!(
            b.reserve(3 * PAGE),
            Err(Error::CacheFull {
                needed: 2,
                free: 0,
                ..
            })
        ));
        drop(a);
        b.reserve(4 * PAGE).unwrap();
        assert_eq!(b.pages().len(), 4);
    }
}

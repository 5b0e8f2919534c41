//! The engine's mailbox and bell under every interleaving of their threads, by a model checker. The
//! file is the engine's own; the checker's locks are in place of the system's.
#![allow(clippy::unwrap_used, dead_code)] // clippy.toml allows it in tests, but not in what they call

use loom::thread;
use mailbox::{Bell, Mailbox};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};

mod sync {
    pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
    pub(crate) use std::sync::PoisonError;
}

#[path = "../../engine/src/mailbox.rs"]
mod mailbox;

use sync::Arc;

/// The engine pauses at a full mailbox and is rung awake: it never sleeps for good.
#[test]
fn a_paused_request_is_resumed() {
    loom::model(|| {
        let bell = Arc::new(Bell::default());
        let mailbox = Arc::new(Mailbox::new(1, 1, bell.clone()));
        let reader = mailbox.clone();
        let reader = thread::spawn(move || {
            let mut read = Vec::new();
            while let Some(event) = reader.take() {
                read.push(event);
            }
            read
        });
        for event in 0..2 {
            mailbox.put(event);
            while mailbox.is_full() {
                bell.wait();
            }
        }
        mailbox.end();
        assert_eq!(reader.join().unwrap(), [0, 1]);
    });
}

/// The engine learns of a reader that has gone, whether it works or sleeps.
#[test]
fn an_abandoned_request_is_noticed() {
    loom::model(|| {
        let bell = Arc::new(Bell::default());
        let mailbox = Arc::new(Mailbox::new(1, 1, bell.clone()));
        let reader = mailbox.clone();
        let reader = thread::spawn(move || reader.abandon());
        mailbox.put(0);
        while !mailbox.is_stopped() {
            bell.wait();
        }
        reader.join().unwrap();
        assert!(!mailbox.is_full());
    });
}

/// A reader that polls is woken for what comes after.
#[test]
fn a_polling_reader_is_woken() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    loom::model(|| {
        let mailbox = Arc::new(Mailbox::new(4, 4, Arc::new(Bell::default())));
        let engine = mailbox.clone();
        let engine = thread::spawn(move || {
            engine.put(7);
            engine.end();
        });
        let count = std::sync::Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let first = mailbox.poll(&waker);
        engine.join().unwrap();
        match first {
            Poll::Pending => {
                assert_eq!(count.0.load(Ordering::SeqCst), 1);
                assert_eq!(mailbox.poll(&waker), Poll::Ready(Some(7)));
            }
            first => assert_eq!(first, Poll::Ready(Some(7))),
        }
        assert_eq!(mailbox.poll(&waker), Poll::Ready(None));
    });
}

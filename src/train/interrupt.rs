//! Ctrl-C: a training loop stops after its step and keeps its state, everything else ends at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::remove_unfinished;

/// The exit code that the shell reports for a program that Ctrl-C ended.
pub const EXIT_CODE: u8 = 130;

/// Whether the user asked the program to stop.
#[derive(Debug, Default)]
pub struct Interrupt {
    asked: AtomicBool,
    /// Whether what is under way looks at `asked`.
    heeded: AtomicBool,
}

impl Interrupt {
    /// Nobody asked yet.
    pub const fn new() -> Self {
        Self { asked: AtomicBool::new(false), heeded: AtomicBool::new(false) }
    }

    /// The user asks: ends the process, what is half written removed, unless a loop is under way that stops by itself; the
    /// second time in any case.
    pub fn ask(&self) {
        let again = self.asked.swap(true, Ordering::SeqCst);
        if again || !self.heeded.load(Ordering::SeqCst) {
            remove_unfinished();
            std::process::exit(EXIT_CODE.into());
        }
    }

    /// Whether the user asked.
    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Runs `work`, which looks at [`Interrupt::asked`] often and then stops with its state kept.
    pub(crate) fn heeded_by<T>(&self, work: impl FnOnce() -> T) -> T {
        self.heeded.store(true, Ordering::SeqCst);
        let done = work();
        self.heeded.store(false, Ordering::SeqCst);
        done
    }
}

//! Work on a slice of items by a few threads.

use std::sync::Mutex;

/// Runs `work` on every item, on up to `threads` threads; what each item gets does not depend on how many.
pub fn for_each_parallel<T: Send>(threads: usize, items: &mut [T], work: impl Fn(&mut T) + Sync) {
    if threads <= 1 || items.len() <= 1 {
        items.iter_mut().for_each(work);
        return;
    }
    let workers = threads.min(items.len());
    let queue = Mutex::new(items.iter_mut());
    let next = || queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
    let run = || {
        while let Some(item) = next() {
            work(item);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(run);
        }
        run();
    });
}

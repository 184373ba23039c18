//! Who may have how much waiting: by what it costs, and fair by client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How often somebody who waits for room looks again, should nobody have told him.
const LOOK: Duration = Duration::from_millis(50);

/// Room for work that waits or is being done, counted in tokens.
#[derive(Debug)]
pub struct Gate {
    capacity: usize,
    admitted: Mutex<Admitted>,
    /// Told whenever a place is given back.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Admitted {
    reviews: usize,
    tokens: usize,
    /// Tokens of each client that has any.
    clients: HashMap<u64, usize>,
}

/// The place of some work; given back when it is dropped.
#[derive(Debug)]
pub struct Admission {
    gate: Arc<Gate>,
    /// Whose it is.
    pub client: u64,
    reviews: usize,
    tokens: usize,
}

impl Gate {
    /// Room for `capacity` tokens.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity, admitted: Mutex::default(), freed: Notify::new() })
    }

    /// Admits `reviews` of `tokens` together, all or none.
    ///
    /// A client may have as much as half of what would be left free: one alone a third of the room, and however many
    /// there are, the next one finds some. Whoever comes into an empty room may fill it.
    pub fn admit(self: &Arc<Self>, client: u64, reviews: usize, tokens: usize) -> Option<Admission> {
        let mut admitted = self.lock();
        let free = self.capacity.saturating_sub(admitted.tokens);
        let own = admitted.clients.get(&client).copied().unwrap_or_default();
        let fits = tokens <= free && own + tokens <= free.div_ceil(2);
        if !fits && (admitted.tokens > 0 || tokens > self.capacity) {
            return None;
        }
        admitted.reviews += reviews;
        admitted.tokens += tokens;
        *admitted.clients.entry(client).or_default() += tokens;
        Some(Admission { gate: self.clone(), client, reviews, tokens })
    }

    /// The same, when there is room for it; `None` where there never is.
    pub async fn admit_in_turn(
        self: &Arc<Self>,
        client: u64,
        reviews: usize,
        tokens: usize,
    ) -> Option<Admission> {
        loop {
            let freed = self.freed.notified();
            if let Some(admission) = self.admit(client, reviews, tokens) {
                return Some(admission);
            }
            if tokens > self.capacity {
                return None;
            }
            let _ = tokio::time::timeout(LOOK, freed).await;
        }
    }

    /// Reviews that are admitted.
    pub fn reviews(&self) -> usize {
        self.lock().reviews
    }

    fn lock(&self) -> MutexGuard<'_, Admitted> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut admitted = self.gate.lock();
        admitted.reviews -= self.reviews;
        admitted.tokens -= self.tokens;
        if let Some(tokens) = admitted.clients.get_mut(&self.client) {
            *tokens -= self.tokens;
            if *tokens == 0 {
                admitted.clients.remove(&self.client);
            }
        }
        drop(admitted);
        self.gate.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_leaves_room_for_the_next_client() {
        // Sixteen clients and more with 128 full texts each, where 2048 fit.
        let gate = Gate::new(2048 * 500);
        let bulk: Vec<_> = (0..100).filter_map(|client| gate.admit(client, 128, 128 * 500)).collect();
        assert!((10..16).contains(&bulk.len()), "{}", bulk.len());
        assert!(gate.admit(100, 1, 500).is_some(), "a single review");
        assert_eq!(gate.reviews(), 128 * bulk.len());
        drop(bulk);
        assert_eq!(gate.reviews(), 0);
        assert!(gate.lock().clients.is_empty());
    }

    #[test]
    fn one_client_alone_has_its_share_and_an_empty_room_takes_what_fits() {
        let gate = Gate::new(300);
        let mine: Vec<_> = (0..300).filter_map(|_| gate.admit(1, 1, 1)).collect();
        assert!((100..=101).contains(&mine.len()), "{}", mine.len());
        assert!(gate.admit(2, 50, 50).is_some());
        drop(mine);
        assert!(gate.admit(1, 1, 301).is_none());
        assert!(gate.admit(1, 1, 300).is_some());
    }
}

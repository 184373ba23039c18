//! Places for connections. When they run out, the connection that has been idle the longest gives way to the new one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::budget::Client;
use super::observe::telemetry::{CloseReason, Telemetry};
use super::observe::throttle::LogThrottle;

/// How often a full house looks whether somebody has become idle.
const LOOK: Duration = Duration::from_millis(20);

/// All places, and who has them.
#[derive(Debug)]
pub struct Slots {
    most: usize,
    most_per_peer: usize,
    telemetry: Arc<Telemetry>,
    log: LogThrottle,
    taken: Mutex<Taken>,
    /// Told whenever a connection ends.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    /// Who has a place.
    holders: HashMap<u64, Holder>,
    /// Connections that are not closed yet, those that lost their place included.
    open: usize,
}

#[derive(Debug)]
struct Holder {
    client: Arc<Client>,
    /// `None` for a Unix socket.
    peer: Option<IpAddr>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    /// Whose it is.
    pub client: Arc<Client>,
    slots: Arc<Slots>,
}

impl Slots {
    /// `most` places, of which one address may have `most_per_peer` (0: all).
    pub fn new(most: usize, most_per_peer: usize, telemetry: Arc<Telemetry>) -> Arc<Self> {
        let most_per_peer = if most_per_peer == 0 { most } else { most_per_peer };
        let (log, taken, ended) = Default::default();
        Arc::new(Self { most, most_per_peer, telemetry, log, taken, ended })
    }

    /// Waits until there is a place, or one who can give way.
    pub async fn room(&self) {
        loop {
            let ended = self.ended.notified();
            if self.has_room() {
                return;
            }
            let _ = tokio::time::timeout(LOOK, ended).await;
        }
    }

    /// A place for a connection from `peer`; `None` where there is none and nobody can give way.
    pub fn take(self: &Arc<Self>, peer: Option<IpAddr>) -> Option<Slot> {
        let mut taken = self.lock();
        let of_peer = taken.holders.values().filter(|holder| holder.peer == peer).count();
        let given_up = if of_peer >= self.most_per_peer {
            taken.longest_idle(Some(peer)).map(Some)
        } else if taken.holders.len() >= self.most {
            taken.longest_idle(None).map(Some)
        } else {
            Some(None)
        };
        let Some(given_up) = given_up else {
            drop(taken);
            self.note(CloseReason::Refused, "no place for a new connection, which was closed");
            return None;
        };
        if let Some(holder) = given_up.and_then(|id| taken.holders.remove(&id)) {
            holder.client.close();
            self.note(CloseReason::GaveWay, "no place for a new connection: the longest idle one was closed");
        }
        let client = Arc::new(Client::of(peer));
        taken.holders.insert(client.id, Holder { client: client.clone(), peer });
        taken.open += 1;
        Some(Slot { client, slots: self.clone() })
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.lock().open
    }

    /// Waits until all of them have ended.
    pub async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.open() == 0 {
                return;
            }
            let _ = tokio::time::timeout(LOOK, ended).await;
        }
    }

    /// Counts a connection that was closed for `reason`.
    pub fn count(&self, reason: CloseReason) {
        self.telemetry.connections_closed.inc(reason);
    }

    fn note(&self, reason: CloseReason, what: &'static str) {
        self.count(reason);
        if let Some(suppressed) = self.log.pass() {
            tracing::warn!(max_connections = self.most, suppressed, "{what}");
        }
    }

    fn has_room(&self) -> bool {
        let taken = self.lock();
        taken.holders.len() < self.most || taken.longest_idle(None).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Who has been idle the longest, of `peer` or of all.
    fn longest_idle(&self, peer: Option<Option<IpAddr>>) -> Option<u64> {
        let of_peer = |holder: &Holder| peer.is_none_or(|peer| peer == holder.peer);
        let idle = |(id, holder): (&u64, &Holder)| Some((holder.client.idle()?, *id));
        let holders = self.holders.iter().filter(|(_, holder)| of_peer(holder));
        // Of those idle for equally long the one that came first.
        holders.filter_map(idle).max_by_key(|(idle, id)| (*idle, std::cmp::Reverse(*id))).map(|(_, id)| id)
    }
}

impl Slot {
    /// Counts that it was closed for `reason`.
    pub fn count(&self, reason: CloseReason) {
        self.slots.count(reason);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.holders.remove(&self.client.id);
        taken.open -= 1;
        drop(taken);
        self.slots.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_gives_way_and_who_works_does_not() {
        let slots = Slots::new(2, 0, Arc::default());
        let peer = Some(IpAddr::from([127, 0, 0, 1]));
        let (first, second) = (slots.take(peer).unwrap(), slots.take(peer).unwrap());
        let work = first.client.work();
        let third = slots.take(peer).expect("the second gives way");
        assert!(!slots.lock().holders.contains_key(&second.client.id));
        let more = third.client.work();
        assert!(slots.take(peer).is_none(), "both work");
        drop((work, more));
        assert!(slots.take(peer).is_some());
        assert_eq!(slots.telemetry.connections_closed.get(CloseReason::GaveWay), 2);
        assert_eq!(slots.telemetry.connections_closed.get(CloseReason::Refused), 1);
    }

    #[test]
    fn one_address_has_its_share() {
        let slots = Slots::new(10, 1, Arc::default());
        let (here, there) = (Some(IpAddr::from([127, 0, 0, 1])), None);
        let first = slots.take(here).unwrap();
        let _other = slots.take(there).unwrap();
        let _second = slots.take(here).expect("its own idle one gives way");
        assert!(!slots.lock().holders.contains_key(&first.client.id));
        assert_eq!(slots.open(), 3, "the one that lost its place is not closed yet");
    }
}

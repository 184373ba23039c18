//! Requests in order of their turns: clients take turns, and of each its requests in the order in which they came.

use std::collections::{HashMap, VecDeque};

/// What waits, by client.
#[derive(Debug)]
pub struct FairQueue<T> {
    /// Clients that have something waiting, the next one in front.
    clients: VecDeque<u64>,
    waiting: HashMap<u64, VecDeque<T>>,
    len: usize,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { clients: VecDeque::new(), waiting: HashMap::new(), len: 0 }
    }
}

impl<T> FairQueue<T> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The one whose turn it is.
    pub fn front(&self) -> Option<&T> {
        self.waiting.get(self.clients.front()?)?.front()
    }

    /// Takes the one whose turn it is; the next turn is another client's.
    pub fn pop_front(&mut self) -> Option<T> {
        let client = self.clients.pop_front()?;
        let own = self.waiting.get_mut(&client)?;
        let first = own.pop_front();
        if own.is_empty() {
            self.waiting.remove(&client);
        } else {
            self.clients.push_back(client);
        }
        self.len -= 1;
        first
    }

    /// Puts one behind the others of its client.
    pub fn push_back(&mut self, client: u64, item: T) {
        let own = self.waiting.entry(client).or_default();
        if own.is_empty() {
            self.clients.push_back(client);
        }
        own.push_back(item);
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_much_waits_for_himself() {
        let mut queue = FairQueue::default();
        (0..100).for_each(|number| queue.push_back(1, (1, number)));
        queue.push_back(2, (2, 0));
        assert_eq!((queue.len(), queue.front()), (101, Some(&(1, 0))));
        let order: Vec<_> = (0..4).filter_map(|_| queue.pop_front()).collect();
        assert_eq!(order, [(1, 0), (2, 0), (1, 1), (1, 2)]);
        // What is left of a request waits for its client's next turn.
        queue.push_back(3, (3, 0));
        queue.push_back(1, (1, 0));
        assert_eq!([queue.pop_front(), queue.pop_front()], [Some((1, 3)), Some((3, 0))]);
        while queue.pop_front().is_some() {}
        assert_eq!((queue.len(), queue.front()), (0, None));
    }
}

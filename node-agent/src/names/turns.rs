//! How much may be under way at once: in all, and for one instance, so that none keeps the others out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Turns to be taken.
#[derive(Debug)]
pub struct Turns {
    most: usize,
    most_of_one: usize,
    taken: Mutex<BTreeMap<Ipv4Addr, usize>>,
}

/// One turn, given back when dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    of: Ipv4Addr,
}

impl Turns {
    /// So many in all, and so many for one.
    #[must_use]
    pub fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self { most, most_of_one, taken: Mutex::default() })
    }

    /// A turn for `of`, if there is one left.
    #[must_use]
    pub fn take(self: &Arc<Self>, of: Ipv4Addr) -> Option<Turn> {
        let mut taken = self.lock();
        let own = taken.get(&of).copied().unwrap_or_default();
        if own >= self.most_of_one || taken.values().sum::<usize>() >= self.most {
            return None;
        }
        taken.insert(of, own + 1);
        Some(Turn { turns: self.clone(), of })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Ipv4Addr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.turns.lock();
        let left = taken.get(&self.of).copied().unwrap_or_default().saturating_sub(1);
        if left == 0 {
            taken.remove(&self.of);
        } else {
            taken.insert(self.of, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Turns;
    use std::net::Ipv4Addr;

    #[test]
    fn one_instance_cannot_take_every_turn() {
        let turns = Turns::new(3, 2);
        let (a, b) = (Ipv4Addr::new(10, 77, 1, 2), Ipv4Addr::new(10, 77, 1, 3));
        let (first, _second) = (turns.take(a).unwrap(), turns.take(a).unwrap());
        assert!(turns.take(a).is_none(), "two are its own limit");
        let _third = turns.take(b).unwrap();
        assert!(turns.take(b).is_none(), "three are the limit");
        drop(first);
        assert!(turns.take(b).is_some());
    }
}

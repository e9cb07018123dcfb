//! Waking exactly those who wait for one thing.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Listeners by key. Costs nothing for keys that nobody listens to.
pub struct Wakers<K> {
    /// Number of listeners and what they wait on.
    entries: Mutex<HashMap<K, (usize, Arc<Notify>)>>,
}

impl<K> Default for Wakers<K> {
    fn default() -> Self {
        Self { entries: Mutex::new(HashMap::new()) }
    }
}

impl<K: Copy + Eq + Hash> Wakers<K> {
    fn entries(&self) -> MutexGuard<'_, HashMap<K, (usize, Arc<Notify>)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to a key until dropped.
    pub fn listen(&self, key: K) -> Listener<'_, K> {
        let mut entries = self.entries();
        let entry = entries.entry(key).or_insert_with(|| (0, Arc::new(Notify::new())));
        entry.0 += 1;
        Listener { wakers: self, key, notify: Arc::clone(&entry.1) }
    }

    /// Wakes who listens to a key.
    pub fn wake(&self, key: &K) {
        if let Some((_, notify)) = self.entries().get(key) {
            notify.notify_waiters();
        }
    }
}

/// Someone who waits. Take [`Listener::notified`] *before* looking at the state: a wake in between is then not missed.
pub struct Listener<'w, K: Copy + Eq + Hash> {
    wakers: &'w Wakers<K>,
    key: K,
    notify: Arc<Notify>,
}

impl<K: Copy + Eq + Hash> Listener<'_, K> {
    /// Ends with the next wake after this call.
    pub fn notified(&self) -> Notified<'_> {
        self.notify.notified()
    }
}

impl<K: Copy + Eq + Hash> Drop for Listener<'_, K> {
    fn drop(&mut self) {
        let mut entries = self.wakers.entries();
        if let Some(entry) = entries.get_mut(&self.key) {
            entry.0 -= 1;
            if entry.0 == 0 {
                entries.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Wakers;

    #[tokio::test]
    async fn a_wake_between_asking_and_waiting_is_not_missed() {
        let wakers = Wakers::<u32>::default();
        let listener = wakers.listen(7);
        let other = wakers.listen(8);
        let (mine, others) = (listener.notified(), other.notified());
        wakers.wake(&7);
        mine.await;
        assert!(tokio::time::timeout(std::time::Duration::from_millis(20), others).await.is_err());
        drop(listener);
        drop(other);
        assert!(wakers.entries().is_empty());
    }
}

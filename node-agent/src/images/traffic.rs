//! What this node does with images at the moment: what it fetches, who may fetch from it, what it has sent.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use roost_types::ImageDigest;
use roost_types::image_transfer::{ImageGrants, ImageTraffic, MAX_SENT};
use sha2::{Digest, Sha256};

/// One node's downloads, grants and counters. Nothing of it outlives the agent.
#[derive(Debug, Default)]
pub(super) struct Traffic(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    port: Option<u16>,
    generation: u64,
    grants: Vec<Grant>,
    fetching: BTreeMap<ImageDigest, u64>,
    sent: BTreeMap<ImageDigest, u64>,
}

/// A ticket and what it is good for.
#[derive(Debug)]
struct Grant {
    image: ImageDigest,
    to: IpAddr,
    ticket_sha256: String,
    until: Instant,
}

/// A download under way, told of until dropped.
pub(super) struct Fetching<'t>(&'t Traffic, ImageDigest);

impl Traffic {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the controller is told.
    pub(super) fn told(&self) -> ImageTraffic {
        let state = self.state();
        ImageTraffic {
            port: state.port,
            grants: state.generation,
            fetching: state.fetching.clone(),
            sent: state.sent.clone(),
        }
    }

    /// Images are given to others on this port from now on.
    pub(super) fn opened(&self, port: u16) {
        self.state().port = Some(port);
    }

    /// Takes all grants that are good now; others are not good any more.
    pub(super) fn grant(&self, grants: ImageGrants) {
        let now = Instant::now();
        let until = |seconds: u32| now + Duration::from_secs(seconds.into());
        let mut state = self.state();
        state.generation = grants.generation;
        state.grants = grants
            .grants
            .into_iter()
            .map(|grant| Grant {
                image: grant.image,
                to: grant.to.into(),
                ticket_sha256: grant.ticket_sha256,
                until: until(grant.seconds),
            })
            .collect();
    }

    /// Whether somebody at this address may have the image for this ticket. Digests are compared, so that how long it
    /// takes says nothing about the ticket.
    pub(super) fn may_have(&self, image: &ImageDigest, from: IpAddr, ticket: &str) -> bool {
        let sha256 = ImageDigest::from_sha256(&Sha256::digest(ticket).into());
        let (now, state) = (Instant::now(), self.state());
        state.grants.iter().any(|grant| {
            grant.image == *image && grant.to == from && now < grant.until && grant.ticket_sha256 == sha256.hex()
        })
    }

    /// Counts bytes sent to another node. The image that comes first is forgotten when there are too many.
    pub(super) fn sent(&self, image: &ImageDigest, bytes: u64) {
        let mut state = self.state();
        if !state.sent.contains_key(image) && state.sent.len() >= MAX_SENT {
            state.sent.pop_first();
        }
        *state.sent.entry(image.clone()).or_default() += bytes;
    }

    /// Begins a download.
    pub(super) fn fetching(&self, image: &ImageDigest, bytes: u64) -> Fetching<'_> {
        self.state().fetching.insert(image.clone(), bytes);
        Fetching(self, image.clone())
    }
}

impl Fetching<'_> {
    /// So much of it is here.
    pub(super) fn has(&self, bytes: u64) {
        self.0.state().fetching.insert(self.1.clone(), bytes);
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.state().fetching.remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use roost_types::image_transfer::ImageGrant;

    use super::*;

    fn digest(number: u8) -> ImageDigest {
        ImageDigest::from_sha256(&[number; 32])
    }

    #[test]
    fn a_ticket_is_good_for_one_image_and_one_node_for_a_short_time() {
        let traffic = Traffic::default();
        let sha256 = ImageDigest::from_sha256(&Sha256::digest("ticket").into()).hex().to_owned();
        let grant = |seconds| ImageGrants {
            generation: 7,
            grants: vec![ImageGrant {
                image: digest(1),
                to: [10, 0, 0, 2].into(),
                ticket_sha256: sha256.clone(),
                seconds,
            }],
        };
        let to = |last| IpAddr::from([10, 0, 0, last]);
        assert!(!traffic.may_have(&digest(1), to(2), "ticket"), "before it was granted");
        traffic.grant(grant(60));
        assert_eq!(traffic.told().grants, 7);
        assert!(traffic.may_have(&digest(1), to(2), "ticket"));
        assert!(!traffic.may_have(&digest(2), to(2), "ticket"), "another image");
        assert!(!traffic.may_have(&digest(1), to(3), "ticket"), "another node");
        assert!(!traffic.may_have(&digest(1), to(2), "ticke"), "another ticket");
        assert!(!traffic.may_have(&digest(1), to(2), &sha256), "what the other node was told is no ticket");
        traffic.grant(grant(0));
        assert!(!traffic.may_have(&digest(1), to(2), "ticket"), "its time is over");
        traffic.grant(ImageGrants::default());
        assert!(!traffic.may_have(&digest(1), to(2), "ticket"), "it was taken back");
    }

    #[test]
    fn what_is_sent_is_told_of_a_bounded_number_of_images() {
        let traffic = Traffic::default();
        for number in 0..=u8::try_from(MAX_SENT).unwrap() {
            traffic.sent(&digest(number), 10);
            traffic.sent(&digest(number), 5);
        }
        let sent = traffic.told().sent;
        assert_eq!((sent.len(), sent.get(&digest(0)), sent.get(&digest(1))), (MAX_SENT, None, Some(&15)));
    }

    #[test]
    fn a_download_is_told_of_while_it_goes_on() {
        let traffic = Traffic::default();
        let fetching = traffic.fetching(&digest(1), 0);
        fetching.has(10);
        assert_eq!(traffic.told().fetching, BTreeMap::from([(digest(1), 10)]));
        drop(fetching);
        assert!(traffic.told().fetching.is_empty());
    }
}

//! How good a node is for an instance: five scores of 0 to 1, each with its weight, all shown.

use std::collections::BTreeMap;

use roost_types::MilliCelsius;
use roost_types::placement::Score;

use crate::candidate::{Candidate, Request};

/// Heat counts most: it is what the others cannot make up for.
const THERMAL: f64 = 4.0;
/// Instances of one app on different boards survive one board.
const SPREAD: f64 = 2.0;
/// An image that is there need not be fetched.
const IMAGE: f64 = 1.0;
/// Instances of one image on one board share its pages.
const SHARING: f64 = 0.5;
/// Full boards leave whole boards free.
const PACKING: f64 = 0.5;
/// Headroom below hot that counts as perfect, in °C.
const FULL_HEADROOM: f64 = 40.0;
/// What a board that never had a source is given for its headroom: worse than most, better than a warm one.
const UNMONITORED: f64 = 0.2;

/// The scores of a node.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scores {
    /// Headroom of the predicted temperature below hot.
    pub thermal: f64,
    /// No instance of the same app there.
    pub spread: f64,
    /// The image is there.
    pub image: f64,
    /// Memory shared with instances of the same image.
    pub sharing: f64,
    /// How full it would be.
    pub packing: f64,
}

impl Scores {
    /// The weighted mean.
    #[must_use]
    pub fn total(&self) -> f64 {
        let sum = self.thermal * THERMAL
            + self.spread * SPREAD
            + self.image * IMAGE
            + self.sharing * SHARING
            + self.packing * PACKING;
        sum / (THERMAL + SPREAD + IMAGE + SHARING + PACKING)
    }

    /// Every score by name, with its weight.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, Score); 5] {
        [
            ("thermal", Score { value: self.thermal, weight: THERMAL }),
            ("spread", Score { value: self.spread, weight: SPREAD }),
            ("image", Score { value: self.image, weight: IMAGE }),
            ("sharing", Score { value: self.sharing, weight: SHARING }),
            ("packing", Score { value: self.packing, weight: PACKING }),
        ]
    }

    /// Every score by name, as the API shows them.
    #[must_use]
    pub fn named(&self) -> BTreeMap<String, Score> {
        let shown = |score: Score| Score { value: thousandths(score.value), ..score };
        self.parts().into_iter().map(|(name, score)| (name.to_owned(), shown(score))).collect()
    }
}

/// As precise as a person compares; and it survives being written and read as a decimal.
pub(crate) fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Scores a node that passed the filters.
#[must_use]
pub fn score(node: &Candidate<'_>, request: &Request<'_>) -> Scores {
    let capacity = node.capacity.memory_bytes.0.max(1);
    let taken = node.allocated.memory_bytes.0.saturating_add(request.resources.memory_bytes.0);
    #[expect(clippy::cast_precision_loss, reason = "a share of memory needs no more than 52 bits")]
    let packing = (taken as f64 / capacity as f64).clamp(0.0, 1.0);
    Scores {
        thermal: headroom(node.heat.predicted, node.heat.hot),
        spread: 1.0 / f64::from(1 + node.same_app),
        image: if node.has_image { 1.0 } else { 0.0 },
        sharing: 1.0 - 1.0 / f64::from(1 + node.same_image),
        packing,
    }
}

fn headroom(predicted: Option<MilliCelsius>, hot: MilliCelsius) -> f64 {
    predicted.map_or(UNMONITORED, |at| ((hot.as_f64() - at.as_f64()) / FULL_HEADROOM).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::tests::World;

    #[test]
    fn each_score_rises_with_what_it_is_for() {
        let world = World::new("n01");
        let base = score(&world.node(), &world.request());
        let with = |edit: &dyn Fn(&mut Candidate<'_>)| {
            let mut node = world.node();
            edit(&mut node);
            score(&node, &world.request())
        };
        assert!(with(&|n| n.heat.predicted = Some(MilliCelsius::whole(70))).thermal < base.thermal);
        assert!(with(&|n| n.heat.predicted = None).thermal < base.thermal);
        assert!(with(&|n| n.same_app = 1).spread < base.spread);
        assert!(with(&|n| n.has_image = false).image < base.image);
        assert!(with(&|n| n.same_image = 3).sharing > base.sharing);
        assert!(with(&|n| n.allocated.memory_bytes = roost_types::MemoryBytes::mib(512)).packing > base.packing);
    }

    #[test]
    fn every_score_and_the_total_stay_between_0_and_1() {
        let world = World::new("n01");
        for celsius in [-300, 0, 50, 79, 80, 500] {
            let mut node = world.node();
            node.heat.predicted = Some(MilliCelsius::whole(celsius));
            node.capacity.memory_bytes = roost_types::MemoryBytes(0);
            let scores = score(&node, &world.request());
            let all = scores.parts().map(|(_, part)| part.value);
            assert!(all.iter().chain([&scores.total()]).all(|v| (0.0..=1.0).contains(v)), "{scores:?}");
        }
    }
}

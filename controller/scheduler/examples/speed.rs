//! How many placements a second one core decides: `cargo run --release -p roost-scheduler --example speed`.

#[path = "../tests/rack/mod.rs"]
mod rack;

use std::hint::black_box;
use std::time::{Duration, Instant};

use rack::{Condition, Rack};
use roost_scheduler::{Candidate, decide, schedule};
use roost_types::{Eligibility, NodeStatus, ThermalState, Timestamp};

/// A rack at work: one node in eight hot, one in sixteen draining, the others at different temperatures and fills.
fn condition(index: usize) -> Condition {
    let spread = i32::try_from(index * 7919 % 4000).unwrap();
    Condition {
        status: NodeStatus::Ready,
        eligibility: if index % 16 == 5 { Eligibility::Draining } else { Eligibility::Eligible },
        state: if index % 8 == 3 { ThermalState::Hot } else { ThermalState::Nominal },
        predicted: Some(40_000 + spread * 10),
        lost: false,
        used_mib: u64::try_from(index * 31 % 14).unwrap() * 64,
        has_image: index.is_multiple_of(3),
        same_app: u32::try_from(index % 2).unwrap(),
        same_image: u32::try_from(index % 4).unwrap(),
    }
}

/// The best of 60 windows of 20 ms: what the core can do when nothing else takes it.
fn per_second(mut place: impl FnMut()) -> f64 {
    let window = || {
        let (start, mut done) = (Instant::now(), 0_u32);
        while start.elapsed() < Duration::from_millis(20) {
            place();
            done += 1;
        }
        f64::from(done) / start.elapsed().as_secs_f64()
    };
    std::iter::repeat_with(window).take(60).fold(0.0, f64::max)
}

fn main() {
    for count in [12, 100, 1_000, 5_000] {
        let rack = Rack::new(count);
        let request = rack.request();
        let nodes: Vec<Candidate<'_>> = (0..count).map(|n| rack.candidate(n, &condition(n))).collect();
        let decided = per_second(|| drop(black_box(decide(black_box(&nodes), &request))));
        let explained = per_second(|| drop(black_box(schedule(black_box(&nodes), &request, Timestamp(0)))));
        println!("{count} nodes: {decided:.0} decisions/s with every reason kept, {explained:.0}/s written out");
    }
}

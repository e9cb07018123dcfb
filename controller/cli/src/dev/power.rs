//! The relay board: boards whose supply goes through a relay of the hub lose and get their power as the firmware switches.

use std::sync::Arc;

use super::boards::Boards;
use super::hub::Hub;
use super::layout::Layout;

/// Follows the relays for ever. A relay with current cuts its board's power; boards that are off for another reason stay
/// off when their relay never moved.
pub async fn follow(layout: Layout, boards: Arc<Boards>, hub: Arc<Hub>) {
    let plans = layout.plans();
    let mut cut: Vec<bool> = vec![false; usize::from(layout.relays())];
    loop {
        hub.wires.switched.notified().await;
        for (index, was_cut) in (0_u8..).zip(&mut cut) {
            let is_cut = hub.wires.is_on(index);
            if is_cut == *was_cut {
                continue;
            }
            *was_cut = is_cut;
            let plan = &plans[usize::from(index)];
            let done = if is_cut { boards.power_off(plan).await } else { boards.power_on(plan).await };
            if let Err(error) = done {
                eprintln!("relay {} of the hub: {error}", index + 1);
            }
        }
    }
}

use std::time::Duration;

use super::*;
use crate::alerts::desk::Desk;

/// A message that waits.
fn waiting() -> (Desk, NoticeId) {
    let mut desk = Desk::new(&[("ops", Severity::Warning)]);
    desk.prompt = false;
    desk.fire("hub/hub0", Severity::Warning);
    desk.run(11);
    let id = desk.notices()[0].id;
    (desk, id)
}

fn undelivered(desk: &Desk) -> Vec<String> {
    let all = desk.cluster.events_after(0, usize::MAX);
    all.iter().filter(|e| e.kind == EventKind::AlertUndelivered).map(|e| e.message.clone()).collect()
}

#[test]
fn what_fails_is_tried_again_twice_as_late_each_time_and_a_day_long() {
    let (mut desk, id) = waiting();
    let (written, mut pauses) = (desk.now, Vec::new());
    let ops: Name = "ops".parse().unwrap();
    loop {
        let waits = desk.cluster.waiting_notices(&ops).next().cloned();
        let Some(row) = waits else { break };
        assert!(desk.cluster.next_notice(&ops, Timestamp(row.next_attempt_at.0 - 1)).is_none());
        desk.now = desk.now.max(row.next_attempt_at);
        assert_eq!(desk.cluster.next_notice(&ops, desk.now).unwrap().id, id);
        desk.decide(|draft| finish(draft, id, &Outcome::Again("ops is away\r\nX: y".into())));
        desk.restart();
        let row = desk.cluster.notices.get(&id).unwrap();
        pauses.push(row.next_attempt_at.since(desk.now).as_secs_f64());
    }
    for (attempt, pause) in pauses.iter().enumerate().take(pauses.len() - 1) {
        let middle = (5.0 * 2_f64.powi(i32::try_from(attempt).unwrap())).min(600.0);
        assert!((middle * 0.79..=middle * 1.21).contains(pause), "{attempt}: {pause}");
    }
    let row = desk.cluster.notices.get(&id).unwrap();
    assert_eq!(row.state, DeliveryState::Failed);
    let day = Duration::from_secs(86_400);
    assert!(row.ended_at.unwrap().since(written) >= day && row.ended_at.unwrap().since(written) < day + day / 100);
    let error = row.error.as_ref().unwrap();
    assert!(error.contains("given up after 1") && error.contains("ops is away  X: y"), "{error}");
    assert_eq!(undelivered(&desk).len(), 1);
}

#[test]
fn what_is_refused_is_not_tried_again_and_the_next_goes_on() {
    let (mut desk, id) = waiting();
    desk.resolve("hub/hub0");
    desk.run(400);
    let ops: Name = "ops".parse().unwrap();
    assert_eq!(desk.cluster.waiting_notices(&ops).count(), 2);
    desk.decide(|draft| finish(draft, id, &Outcome::Refused("410".into())));
    let next = desk.cluster.next_notice(&ops, desk.now).unwrap().id;
    assert_ne!(next, id);
    assert_eq!(undelivered(&desk), ["ops was not told of 1 alert, the worst warning: 410"]);
    desk.decide(|draft| finish(draft, next, &Outcome::Sent));
    desk.decide(|draft| finish(draft, next, &Outcome::Refused("late".into())));
    let shown = desk.cluster.alert(desk.cluster.alerts().next().unwrap());
    let states: Vec<_> = shown.deliveries.iter().map(|d| (d.reason, d.state, d.attempts)).collect();
    let expected = [(NoticeReason::Resolved, DeliveryState::Sent, 1), (NoticeReason::Fired, DeliveryState::Failed, 1)];
    assert_eq!(states, expected, "newest first; a late answer changes nothing");
}

#[test]
fn the_outbox_is_bounded_and_the_oldest_gives_way() {
    let mut desk = Desk::new(&[("ops", Severity::Warning)]);
    desk.prompt = false;
    for n in 0..(MAX_WAITING + 5) {
        desk.fire(&format!("node/n{n}"), Severity::Critical);
        desk.run(45);
        desk.resolve(&format!("node/n{n}"));
    }
    let ops: Name = "ops".parse().unwrap();
    assert_eq!(desk.cluster.waiting_notices(&ops).count(), MAX_WAITING);
    let failed = desk.notices().iter().take_while(|row| row.state == DeliveryState::Failed).count();
    assert!(failed >= 5 && failed == undelivered(&desk).len(), "{failed}");
}

#[test]
fn ended_messages_are_forgotten_in_the_end() {
    let mut desk = Desk::new(&[("ops", Severity::Warning)]);
    for n in 0..(KEPT_ENDED + 5) {
        desk.fire(&format!("node/n{n}"), Severity::Critical);
        desk.run(45);
    }
    assert!(desk.notices().len() <= KEPT_ENDED);
    let known: usize = desk.cluster.told_by.values().map(imbl::OrdSet::len).sum();
    assert_eq!(known, desk.notices().iter().map(|row| row.alerts().count()).sum::<usize>());
}

#[test]
fn what_waits_for_a_receiver_that_is_gone_is_given_up_at_the_start() {
    let (mut desk, _) = waiting();
    let rows = desk.notices();
    let mut later = Desk::new(&[("other", Severity::Warning)]);
    later.prompt = false;
    later.now = desk.now;
    later.decide(|draft| rows.into_iter().for_each(|row| draft.put(Row::Notice(row))));
    later.decide(abandon);
    assert_eq!(later.notices()[0].state, DeliveryState::Failed);
    assert!(undelivered(&later)[0].contains("not in alerts.yaml"), "{:?}", undelivered(&later));
    desk.decide(abandon);
    assert_eq!(desk.notices()[0].state, DeliveryState::Waiting);
}

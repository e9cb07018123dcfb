//! What a hub is told, so that it does what is wished: each command with a number, until it is acknowledged.
//!
//! ```text
//!  wish ─▶ differs from what the hub does? ─▶ command, seq ─▶ hub
//!               ▲                                │ no answer in 1 s: the same bytes again, 3 times in all
//!               │                                ├ refused: not asked again before the line is opened anew
//!               └── F, P acknowledged, T, S ◀────┘ given up: told as disobedience, tried anew after 10 s
//! ```
//!
//! Sans-IO: bytes and times are arguments. Level-triggered: what the hub itself says it does (`T`, `S`) counts, so a hub
//! that restarted, or lost its host for a while, is told again. Something is said every few seconds, so that the hub's
//! fail-safe knows that its host lives; a host that has nothing new to say for long is dead itself and keeps silent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use roost_model::HubWish;
use roost_protocol::{Ack, AckCode, Action, Command, Fan, Frame, Line, Status};

/// A hub has at most so many commands without an answer: it remembers no more.
const IN_FLIGHT: usize = 4;
/// The same bytes are sent again when no answer came within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How often a command is sent before it is given up.
const TRIES: u32 = 3;
/// A command that was given up is tried anew after this pause: longer than a hub remembers the old one.
const PAUSE: Duration = Duration::from_secs(12);
/// Something is said at least this often; a hub's fail-safe waits 5 s at the least.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// What a command changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Output {
    Fan(u8),
    Relay(u8),
}

/// A command without an answer.
#[derive(Clone, Copy, Debug)]
struct Sent {
    output: Output,
    value: u16,
    line: Line,
    at: Instant,
    tries: u32,
}

/// Why a command is not sent now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    /// The hub refused it with this code: no use to ask again for the same.
    Refused(AckCode),
    /// It was never answered; it is tried anew from then on.
    Unanswered(Instant),
}

/// The commands of one hub.
#[derive(Debug)]
pub struct Commands {
    seq: u16,
    in_flight: BTreeMap<u16, Sent>,
    /// What the hub does, as far as it said so.
    does: BTreeMap<Output, u16>,
    troubles: BTreeMap<(Output, u16), Trouble>,
    said: Option<Instant>,
    /// Troubles changed since they were last told.
    news: bool,
    uptime: u32,
}

impl Commands {
    /// Nothing was said yet; `seq` is a number of chance.
    pub fn new(seq: u16) -> Self {
        Self {
            seq,
            in_flight: BTreeMap::new(),
            does: BTreeMap::new(),
            troubles: BTreeMap::new(),
            said: None,
            news: false,
            uptime: 0,
        }
    }

    /// The line was opened again: nothing of before counts.
    pub fn reopen(&mut self) {
        self.in_flight.clear();
        self.does.clear();
        self.news |= !self.troubles.is_empty();
        self.troubles.clear();
        self.said = None;
        self.uptime = 0;
    }

    /// The lines that are due now.
    pub fn due(&mut self, wish: &HubWish, now: Instant) -> Vec<Line> {
        let mut lines = self.again(now);
        let fans = wish.fans.iter().map(|(fan, duty)| (Output::Fan(*fan), *duty));
        let relays = wish.relays.iter().map(|(relay, on)| (Output::Relay(*relay), u16::from(*on)));
        for (output, value) in relays.chain(fans) {
            if self.in_flight.len() < IN_FLIGHT && self.is_to_be_told(output, value, now) {
                lines.push(self.tell(output, value, now));
            }
        }
        if lines.is_empty() && self.said.is_none_or(|said| now.duration_since(said) >= KEEP_ALIVE) {
            lines.push(self.line(Action::Beat).1);
        }
        if !lines.is_empty() {
            self.said = Some(now);
        }
        lines
    }

    /// What was not answered in time, once more; what was sent often enough is given up.
    fn again(&mut self, now: Instant) -> Vec<Line> {
        let late = |sent: &Sent| now.duration_since(sent.at) >= ANSWER_WITHIN;
        let given_up: Vec<u16> =
            self.in_flight.iter().filter(|(_, sent)| late(sent) && sent.tries >= TRIES).map(|(seq, _)| *seq).collect();
        for seq in given_up {
            if let Some(sent) = self.in_flight.remove(&seq) {
                self.trouble(sent.output, sent.value, Trouble::Unanswered(now + PAUSE));
            }
        }
        let mut lines = Vec::new();
        for sent in self.in_flight.values_mut().filter(|sent| late(sent)) {
            sent.at = now;
            sent.tries += 1;
            lines.push(sent.line);
        }
        lines
    }

    fn is_to_be_told(&self, output: Output, value: u16, now: Instant) -> bool {
        let is_told = self.in_flight.values().any(|sent| sent.output == output);
        let does = self.does.get(&output) == Some(&value);
        let hopeless = match self.troubles.get(&(output, value)) {
            Some(Trouble::Refused(_)) => true,
            Some(Trouble::Unanswered(until)) => now < *until,
            None => false,
        };
        !is_told && !does && !hopeless
    }

    fn tell(&mut self, output: Output, value: u16, now: Instant) -> Line {
        let (seq, line) = self.line(match output {
            Output::Fan(fan) => Action::SetFan { fan, duty_centi: value },
            Output::Relay(relay) => Action::SetRelay { relay, on: value != 0 },
        });
        self.in_flight.insert(seq, Sent { output, value, line, at: now, tries: 1 });
        line
    }

    fn line(&mut self, action: Action) -> (u16, Line) {
        self.seq = self.seq.wrapping_add(1);
        (self.seq, Frame::Command(Command { seq: self.seq, action }).line())
    }

    fn trouble(&mut self, output: Output, value: u16, trouble: Trouble) {
        // A refusal of yesterday's wish is of no interest today.
        self.troubles.retain(|(other, _), _| *other != output);
        self.troubles.insert((output, value), trouble);
        self.news = true;
    }

    /// The hub answered a command.
    pub fn acknowledged(&mut self, ack: Ack, now: Instant) {
        let Some(sent) = self.in_flight.remove(&ack.seq) else { return };
        match ack.code {
            AckCode::Done => {
                self.does.insert(sent.output, sent.value);
                self.obeyed(sent.output);
            }
            AckCode::Unsupported | AckCode::Invalid => {
                self.trouble(sent.output, sent.value, Trouble::Refused(ack.code));
            }
            AckCode::Failed if sent.tries < TRIES => {
                // The hardware may obey the next time: the same bytes are due again soon.
                self.in_flight.insert(ack.seq, Sent { at: now, ..sent });
            }
            AckCode::Failed => self.trouble(sent.output, sent.value, Trouble::Unanswered(now + PAUSE)),
        }
    }

    fn obeyed(&mut self, output: Output) {
        let before = self.troubles.len();
        self.troubles.retain(|(other, _), _| *other != output);
        self.news |= self.troubles.len() != before;
    }

    /// The hub said how a fan is driven.
    pub fn fan(&mut self, fan: Fan) {
        let output = Output::Fan(fan.fan);
        if !self.is_in_flight(output) {
            self.does.insert(output, fan.duty_centi);
        }
    }

    /// The hub said how it is.
    pub fn status(&mut self, status: Status) {
        if status.uptime_seconds < self.uptime {
            self.reopen();
        }
        self.uptime = status.uptime_seconds;
        for relay in 1..=roost_protocol::MAX_RELAYS {
            let (output, bit) = (Output::Relay(relay), 1 << (relay - 1));
            if status.relays_there & bit != 0 && !self.is_in_flight(output) {
                self.does.insert(output, u16::from(status.relays_on & bit != 0));
            }
        }
        if status.failsafe {
            // The fans run at full, whatever they were told.
            self.does.retain(|output, _| matches!(output, Output::Relay(_)));
        }
    }

    fn is_in_flight(&self, output: Output) -> bool {
        self.in_flight.values().any(|sent| sent.output == output)
    }

    /// What the hub does not do, a sentence each, when that changed since the last call.
    pub fn disobedience(&mut self) -> Option<Vec<String>> {
        std::mem::take(&mut self.news).then(|| self.troubles.iter().map(sentence).collect())
    }
}

fn sentence(((output, value), trouble): (&(Output, u16), &Trouble)) -> String {
    let what = match output {
        Output::Fan(fan) => format!("fan {fan} at {}.{:02} %", value / 100, value % 100),
        Output::Relay(relay) => format!("relay {relay} {}", if *value == 0 { "off" } else { "on" }),
    };
    match trouble {
        Trouble::Refused(AckCode::Unsupported) => format!("{what}: its firmware does not know the command"),
        Trouble::Refused(AckCode::Done | AckCode::Invalid | AckCode::Failed) => {
            format!("{what}: it has no such output")
        }
        Trouble::Unanswered(_) => format!("{what}: not done after {TRIES} tries"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(fans: &[(u8, u16)], relays: &[(u8, bool)]) -> HubWish {
        HubWish { fans: fans.to_vec(), relays: relays.to_vec() }
    }

    fn said(lines: &[Line]) -> Vec<String> {
        lines
            .iter()
            .map(|line| String::from_utf8_lossy(line).split('*').next().unwrap_or_default().to_owned())
            .collect()
    }

    fn ack(seq: u16, code: AckCode) -> Ack {
        Ack { seq, code }
    }

    fn later(now: Instant, ms: u64) -> Instant {
        now + Duration::from_millis(ms)
    }

    #[test]
    fn a_wish_is_told_once_and_again_only_until_it_is_acknowledged() {
        let (mut commands, now) = (Commands::new(99), Instant::now());
        let wish = wish(&[(1, 4500)], &[(3, true)]);
        assert_eq!(said(&commands.due(&wish, now)), ["$P,100,3,1", "$F,101,1,4500"]);
        assert!(commands.due(&wish, later(now, 900)).is_empty(), "it has a second to answer");
        commands.acknowledged(ack(100, AckCode::Done), now);
        assert_eq!(said(&commands.due(&wish, later(now, 1000))), ["$F,101,1,4500"], "the same bytes");
        commands.acknowledged(ack(101, AckCode::Done), now);
        assert!(commands.due(&wish, later(now, 2000)).is_empty());
        assert_eq!(commands.disobedience(), None);
    }

    #[test]
    fn a_silent_hub_is_told_three_times_then_it_is_said_then_anew_with_another_number() {
        let (mut commands, now) = (Commands::new(0), Instant::now());
        let wish = wish(&[(2, 10_000)], &[]);
        let mut told = Vec::new();
        for second in 0..12 {
            told.extend(said(&commands.due(&wish, later(now, second * 1000))));
        }
        let fans = told.iter().filter(|line| line.starts_with("$F")).count();
        assert_eq!((fans, told.iter().filter(|line| *line == "$F,1,2,10000").count()), (3, 3), "{told:?}");
        assert!(told.iter().any(|line| line.starts_with("$B")), "the line is kept alive: {told:?}");
        let disobeys = commands.disobedience().unwrap();
        assert_eq!(disobeys, ["fan 2 at 100.00 %: not done after 3 tries"]);
        assert_eq!(commands.disobedience(), None, "told once");
        let anew = said(&commands.due(&wish, later(now, 16_000)));
        assert!(anew[0].starts_with("$F,") && anew[0] != "$F,1,2,10000", "{anew:?}");
        let seq = anew[0].split(',').nth(1).unwrap().parse().unwrap();
        commands.acknowledged(ack(seq, AckCode::Done), now);
        assert_eq!(commands.disobedience(), Some(Vec::new()), "it obeys again");
    }

    #[test]
    fn what_is_refused_is_not_asked_again_but_another_wish_is() {
        let (mut commands, now) = (Commands::new(0), Instant::now());
        commands.due(&wish(&[], &[(8, true)]), now);
        commands.acknowledged(ack(1, AckCode::Invalid), now);
        assert_eq!(commands.disobedience().unwrap(), ["relay 8 on: it has no such output"]);
        let lines = commands.due(&wish(&[], &[(8, true)]), later(now, 60_000));
        assert!(said(&lines).iter().all(|line| line.starts_with("$B")), "{lines:?}");
        let lines = commands.due(&wish(&[], &[(8, false)]), later(now, 60_000));
        assert!(said(&lines)[0].starts_with("$P,"), "{lines:?}");
        commands.reopen();
        let lines = commands.due(&wish(&[], &[(8, true)]), later(now, 61_000));
        assert!(said(&lines)[0].starts_with("$P,"), "another hub may be at the line now: {lines:?}");
    }

    #[test]
    fn hardware_that_fails_is_tried_three_times() {
        let (mut commands, mut now) = (Commands::new(0), Instant::now());
        let wish = wish(&[], &[(1, true)]);
        let mut sent = 0;
        for _ in 0..6 {
            sent += said(&commands.due(&wish, now)).iter().filter(|line| line.starts_with("$P")).count();
            commands.acknowledged(ack(1, AckCode::Failed), now);
            now = later(now, 1000);
        }
        assert_eq!(sent, 3);
        assert!(commands.disobedience().unwrap()[0].contains("3 tries"));
    }

    #[test]
    fn at_most_four_commands_have_no_answer() {
        let (mut commands, now) = (Commands::new(0), Instant::now());
        let wish = wish(&[(1, 1), (2, 1), (3, 1), (4, 1)], &[(1, true), (2, true)]);
        assert_eq!(commands.due(&wish, now).len(), 4);
        commands.acknowledged(ack(2, AckCode::Done), now);
        assert_eq!(commands.due(&wish, later(now, 10)).len(), 1);
    }

    #[test]
    fn what_the_hub_says_it_does_counts() {
        let (mut commands, now) = (Commands::new(0), Instant::now());
        let wish = wish(&[(1, 3000)], &[(2, true)]);
        let status = |uptime, on, failsafe| Status {
            seq: 0,
            uptime_seconds: uptime,
            relays_on: on,
            relays_there: 0xFF,
            failsafe,
        };
        commands.status(status(100, 0b10, false));
        commands.fan(Fan { seq: 0, fan: 1, duty_centi: 3000, rpm: None });
        assert_eq!(said(&commands.due(&wish, now)), ["$B,1"], "it does all that already");
        commands.status(status(110, 0b10, true));
        assert_eq!(said(&commands.due(&wish, now)), ["$F,2,1,3000"], "its fail-safe drove the fans to full");
        commands.acknowledged(ack(2, AckCode::Done), now);
        commands.status(status(1, 0, false));
        assert_eq!(said(&commands.due(&wish, now)), ["$P,3,2,1", "$F,4,1,3000"], "it restarted");
    }
}

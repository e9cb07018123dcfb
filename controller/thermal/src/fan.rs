//! How hard the fans of a zone are driven: a closed loop over its hottest board, and a curve over its air.
//!
//! ```text
//!  hottest board − (its warm limit − margin) ─▶ PI, anti-windup ─┐
//!  inlet: warm … hot ─▶ least … full ────────────────────────────┼─ the most ─▶ deadband, slew ─▶ duty
//!  unknown · brake · critical ─▶ full ───────────────────────────┘
//! ```
//!
//! The loop holds the hottest board below warm with as little air as that needs. The curve acts before the boards have
//! warmed: air that is warm already will heat them. Whatever is not known is cooled at full.
//!
//! Not here: which fan cools which zone, the hub that drives it, and whether it turns.

use std::time::Duration;

use roost_types::rack::Limits;
use roost_types::{MilliCelsius, MilliPercent, ThermalState, Timestamp};

/// Full drive.
pub const FULL: MilliPercent = MilliPercent::whole(100);

/// The numbers fans are driven by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FanPolicy {
    /// Never less than this: fans that barely turn may stall, and still air is not measured.
    pub least: MilliPercent,
    /// The hottest board is held this far below warm.
    pub margin: MilliCelsius,
    /// Drive for each °C above that.
    pub gain: MilliPercent,
    /// Within this time the loop adds as much again as its gain did: the time constant of a board's heat sink.
    pub integral: Duration,
    /// The fastest rise, a second. Fans spin up at once and are forgiven for it.
    pub rise: MilliPercent,
    /// The fastest fall, a second. Slow, so that they do not hunt.
    pub fall: MilliPercent,
    /// Smaller changes are not made, but to the ends: sensors are noisy and ears are not deaf.
    pub deadband: MilliPercent,
}

impl Default for FanPolicy {
    /// Tuned on the rack simulator, where full drive cools a busy board by some 30 °C within minutes: a gain of 4 % for
    /// each °C over a heat sink's time constant is well damped over the whole range of drives.
    fn default() -> Self {
        Self {
            least: MilliPercent::whole(30),
            margin: MilliCelsius::whole(10),
            gain: MilliPercent::whole(4),
            integral: Duration::from_secs(150),
            rise: MilliPercent::whole(10),
            fall: MilliPercent::whole(1),
            deadband: MilliPercent::whole(2),
        }
    }
}

impl FanPolicy {
    /// The same for a rack whose physics run `scale` times as fast; 0 counts as 1.
    #[must_use]
    pub fn with_time_scale(mut self, scale: u32) -> Self {
        let scale = scale.max(1);
        self.integral /= scale;
        for rate in [&mut self.rise, &mut self.fall] {
            rate.0 = rate.0.saturating_mul(i32::try_from(scale).unwrap_or(i32::MAX)).min(FULL.0);
        }
        self
    }
}

/// Why a zone gets all the air there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alarm {
    /// Nobody knows how hot it is.
    Unknown,
    /// Half of the rack is hot at once: cooling has failed.
    Brake,
    /// It, or a board in it, is critical.
    Critical,
}

/// What a zone's fans must know of it.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Need {
    /// What outweighs every number.
    pub alarm: Option<Alarm>,
    /// By how much the worst board is above its warm limit (below: negative), in thousandths of a °C.
    pub over_warm: Option<MilliCelsius>,
    /// The air at the inlet, and its limits.
    pub inlet: Option<(MilliCelsius, Limits)>,
}

impl Need {
    /// Adds a board to what the zone needs: the one that is furthest above its own warm limit counts.
    pub fn board(&mut self, state: ThermalState, estimate: Option<MilliCelsius>, limits: Option<Limits>) {
        if state == ThermalState::Critical {
            self.alarm.get_or_insert(Alarm::Critical);
        }
        let over = estimate.zip(limits).map(|(at, limits)| MilliCelsius(at.0.saturating_sub(limits.warm.0)));
        self.over_warm = self.over_warm.max(over);
    }
}

/// The fans of a zone as they are driven.
#[derive(Clone, PartialEq, Debug)]
pub struct FanControl {
    duty: MilliPercent,
    /// What the loop has added over time, in percent.
    integral: f64,
    stepped: Option<Timestamp>,
    reason: String,
}

impl Default for FanControl {
    /// At full, as a hub that nobody tells anything does.
    fn default() -> Self {
        Self { duty: FULL, integral: 0.0, stepped: None, reason: "nothing was measured yet".to_owned() }
    }
}

impl FanControl {
    /// Decides the drive anew.
    pub fn step(&mut self, now: Timestamp, policy: &FanPolicy, need: &Need) -> MilliPercent {
        let passed = self.stepped.map_or(Duration::ZERO, |before| now.since(before)).as_secs_f64();
        self.stepped = Some(now);
        let (wish, reason) = self.wish(passed, policy, need);
        self.reason = reason;
        self.duty = self.approach(wish, passed, policy, need.alarm.is_some());
        self.duty
    }

    /// How hard they are driven now.
    #[must_use]
    pub fn duty(&self) -> MilliPercent {
        self.duty
    }

    /// Why, with the numbers of the last step.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    fn wish(&mut self, passed: f64, policy: &FanPolicy, need: &Need) -> (f64, String) {
        let by_board = need.over_warm.map(|over| self.by_board(passed, policy, over));
        let by_air = need.inlet.map(|(inlet, limits)| (by_air(policy, inlet, &limits), inlet, limits));
        if let Some(alarm) = need.alarm {
            return (FULL.as_f64(), alarm.sentence().to_owned());
        }
        let board = |over: MilliCelsius| format!("the hottest board is {} its warm limit", above_or_below(over));
        let air = |inlet, limits: Limits| format!("inlet {inlet}, warm {}, hot {}", limits.warm, limits.hot);
        match (by_board.zip(need.over_warm), by_air) {
            (Some((wish, over)), Some((curve, _, _))) if wish >= curve => (wish, board(over)),
            (_, Some((curve, inlet, limits))) if by_board.is_some() || curve > policy.least.as_f64() => {
                (curve, air(inlet, limits))
            }
            (Some((wish, over)), _) => (wish, board(over)),
            // Air that is cool says little of boards that nobody hears.
            (None, Some((_, inlet, limits))) => (FULL.as_f64() / 2.0, air(inlet, limits)),
            (None, None) => (FULL.as_f64(), Alarm::Unknown.sentence().to_owned()),
        }
    }

    /// The PI loop. What it has added is held within what it can do, and does not grow while the fans are at an end.
    fn by_board(&mut self, passed: f64, policy: &FanPolicy, over: MilliCelsius) -> f64 {
        let (least, room) = (policy.least.as_f64(), FULL.as_f64() - policy.least.as_f64());
        let error = over.as_f64() + policy.margin.as_f64();
        let proportional = policy.gain.as_f64() * error;
        let added = proportional * passed / policy.integral.as_secs_f64().max(0.001);
        let at_top = self.integral + proportional >= room && added > 0.0;
        let at_bottom = self.integral + proportional <= 0.0 && added < 0.0 && self.integral <= 0.0;
        if !at_top && !at_bottom {
            self.integral = (self.integral + added).clamp(0.0, room);
        }
        (least + proportional + self.integral).clamp(least, FULL.as_f64())
    }

    /// The drive nearer to what is wished, no faster than allowed; an alarm is answered at once.
    fn approach(&self, wish: f64, passed: f64, policy: &FanPolicy, alarm: bool) -> MilliPercent {
        let now = self.duty.as_f64();
        let is_end = wish <= policy.least.as_f64() || wish >= FULL.as_f64();
        if !is_end && (wish - now).abs() < policy.deadband.as_f64() {
            return self.duty;
        }
        let next = if alarm {
            wish
        } else if wish > now {
            wish.min(now + policy.rise.as_f64() * passed)
        } else {
            wish.max(now - policy.fall.as_f64() * passed)
        };
        MilliPercent::from_f64(next)
    }
}

impl Alarm {
    const fn sentence(self) -> &'static str {
        match self {
            Self::Unknown => "full: nobody knows how hot it is",
            Self::Brake => "full: half of the rack is hot at once",
            Self::Critical => "full: it is critical",
        }
    }
}

fn above_or_below(over: MilliCelsius) -> String {
    if over.0 < 0 { format!("{} below", MilliCelsius(-over.0)) } else { format!("{over} above") }
}

/// From the least at warm to full at hot.
fn by_air(policy: &FanPolicy, inlet: MilliCelsius, limits: &Limits) -> f64 {
    let (least, full) = (policy.least.as_f64(), FULL.as_f64());
    let share = (inlet.as_f64() - limits.warm.as_f64()) / (limits.hot.as_f64() - limits.warm.as_f64()).max(0.001);
    least + (full - least) * share.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const C: fn(i32) -> MilliCelsius = MilliCelsius::whole;
    const LIMITS: Limits =
        Limits { warm: MilliCelsius::whole(27), hot: MilliCelsius::whole(35), critical: MilliCelsius::whole(45) };

    fn need(over_warm: i32, inlet: i32) -> Need {
        Need { alarm: None, over_warm: Some(C(over_warm)), inlet: Some((C(inlet), LIMITS)) }
    }

    /// Steps four times a second.
    fn run(control: &mut FanControl, seconds: std::ops::Range<i64>, need: &Need) -> Vec<f64> {
        let quarters = (seconds.start * 4)..(seconds.end * 4);
        quarters.map(|at| control.step(Timestamp(at * 250), &FanPolicy::default(), need).as_f64()).collect()
    }

    #[test]
    fn cool_boards_in_cool_air_get_the_least() {
        let mut control = FanControl::default();
        assert_eq!(control.duty(), FULL);
        let duties = run(&mut control, 0..120, &need(-30, 22));
        assert!(duties.windows(2).all(|two| two[1] <= two[0] && two[0] - two[1] < 0.26), "it falls slowly");
        assert_eq!(control.duty(), FanPolicy::default().least);
        assert!(control.reason().contains("30.0 °C below its warm limit"), "{}", control.reason());
    }

    #[test]
    fn a_board_above_its_goal_gets_more_until_it_has_what_it_needs() {
        let mut control = FanControl::default();
        run(&mut control, 0..100, &need(-30, 22));
        let first = *run(&mut control, 100..110, &need(-5, 22)).last().unwrap();
        let later = *run(&mut control, 110..260, &need(-5, 22)).last().unwrap();
        assert!((48.0..55.0).contains(&first) && later > first + 15.0, "{first} {later}");
        let hot = run(&mut control, 260..600, &need(8, 22));
        assert!((hot.last().unwrap() - 100.0).abs() < 1e-9);
        // What it added while it was at its end is not in the way of a fall.
        let back = *run(&mut control, 600..720, &need(-25, 22)).last().unwrap();
        assert!(back < 40.0, "it winds up: {back}");
    }

    #[test]
    fn warm_air_drives_them_before_the_boards_are_warm() {
        for (inlet, duty) in [(26, 30.0), (27, 30.0), (31, 65.0), (35, 100.0), (41, 100.0)] {
            let mut control = FanControl::default();
            let last = *run(&mut control, 0..200, &need(-30, inlet)).last().unwrap();
            assert!((last - duty).abs() < 2.0, "{inlet} °C: {last} %");
        }
    }

    #[test]
    fn alarms_and_ignorance_are_full_at_once() {
        for alarm in [Alarm::Unknown, Alarm::Brake, Alarm::Critical] {
            let mut control = FanControl::default();
            run(&mut control, 0..200, &need(-30, 22));
            let duty = run(&mut control, 200..201, &Need { alarm: Some(alarm), ..need(-30, 22) })[0];
            assert!((duty - 100.0).abs() < 1e-9 && control.reason().starts_with("full"), "{alarm:?}");
        }
        let mut control = FanControl::default();
        run(&mut control, 0..100, &Need::default());
        assert_eq!(control.duty(), FULL);
    }

    #[test]
    fn noise_moves_nothing() {
        let mut control = FanControl::default();
        run(&mut control, 0..400, &need(-9, 22));
        let duties: Vec<f64> = (400..500)
            .flat_map(|at| {
                run(
                    &mut control,
                    at..at + 1,
                    &Need {
                        over_warm: Some(MilliCelsius(-10_000 + if at % 2 == 0 { 150 } else { -150 })),
                        ..need(0, 22)
                    },
                )
            })
            .collect();
        let changes = duties.windows(2).filter(|two| (two[0] - two[1]).abs() > 1e-9).count();
        assert!(changes <= 12, "{changes} changes");
    }

    #[test]
    fn the_worst_board_counts_and_a_critical_one_is_an_alarm() {
        let mut need = Need::default();
        need.board(ThermalState::Nominal, Some(C(50)), Some(Limits { warm: C(70), hot: C(80), critical: C(95) }));
        need.board(ThermalState::Nominal, Some(C(45)), Some(Limits { warm: C(50), hot: C(60), critical: C(70) }));
        need.board(ThermalState::Nominal, None, None);
        assert_eq!((need.over_warm, need.alarm), (Some(C(-5)), None));
        need.board(ThermalState::Critical, Some(C(96)), None);
        assert_eq!(need.alarm, Some(Alarm::Critical));
    }

    #[test]
    fn a_time_scale_makes_it_as_fast_as_its_rack() {
        let fast = FanPolicy::default().with_time_scale(20);
        assert_eq!(
            (fast.integral, fast.rise, fast.fall),
            (Duration::from_millis(7_500), FULL, MilliPercent::whole(20))
        );
        assert_eq!(FanPolicy::default().with_time_scale(0), FanPolicy::default());
    }
}

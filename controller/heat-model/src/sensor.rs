//! What a sensor says of a temperature: nearly the truth, or a lie.

use crate::random::Random;

/// How a sensor goes wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Lie {
    /// It says again and again what it said last.
    Stuck,
    /// It is off by this, K.
    Offset(f64),
    /// It says nothing.
    Silent,
}

/// One sensor: a bias from the factory, noise, and the step it measures in.
#[derive(Clone, PartialEq, Debug)]
pub struct Sensor {
    bias: f64,
    noise: f64,
    step: f64,
    lie: Option<Lie>,
    shown: Option<f64>,
}

impl Sensor {
    /// A sensor with a bias and a standard deviation of its noise in K, that measures in steps of so many K.
    #[must_use]
    pub const fn new(bias: f64, noise: f64, step: f64) -> Self {
        Self { bias, noise, step, lie: None, shown: None }
    }

    /// From now on it lies, or is well again.
    pub const fn lie(&mut self, lie: Option<Lie>) {
        self.lie = lie;
    }

    /// What it says when the truth is this, °C; none when it is silent.
    pub fn read(&mut self, truth: f64, random: &mut Random) -> Option<f64> {
        let measured = truth + self.bias + self.noise * random.normal();
        let measured = (measured / self.step).round() * self.step;
        let said = match self.lie {
            None => Some(measured),
            Some(Lie::Stuck) => self.shown.or(Some(measured)),
            Some(Lie::Offset(by)) => Some(measured + by),
            Some(Lie::Silent) => None,
        };
        if self.lie != Some(Lie::Silent) {
            self.shown = said;
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_the_truth_within_its_noise_or_lies_as_told() {
        let mut random = Random::new(1);
        let mut sensor = Sensor::new(0.5, 0.1, 0.01);
        let mean = (0..1000).filter_map(|_| sensor.read(30.0, &mut random)).sum::<f64>() / 1000.0;
        assert!((mean - 30.5).abs() < 0.02, "{mean}");
        let last = sensor.read(30.0, &mut random);
        sensor.lie(Some(Lie::Stuck));
        assert_eq!(sensor.read(50.0, &mut random), last);
        sensor.lie(Some(Lie::Offset(-20.0)));
        assert!((sensor.read(50.0, &mut random).unwrap() - 30.5).abs() < 1.0);
        sensor.lie(Some(Lie::Silent));
        assert_eq!(sensor.read(50.0, &mut random), None);
        sensor.lie(None);
        assert!((sensor.read(50.0, &mut random).unwrap() - 50.5).abs() < 1.0);
    }
}
